"""What is not there: said alike by all commands, with what may have been meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from itertools import islice
from typing import TYPE_CHECKING

from kvengine.cli import names
from kvengine.cli.exits import NO, Exit
from kvengine.inspection import escape
from kvengine.store import StoredObject

if TYPE_CHECKING:
    from kvengine.store import Reads

_LOOKED_AT = 1000
"""Names among which a near one is sought: those in front, and those that begin alike."""


def has_service(store: Reads, service: str) -> bool:
    """Whether a service has an object."""
    return store.services(start=service, limit=1) == [service]


def check_service(store: Reads, service: str | None) -> None:
    """`Exit` NO for a service without objects; None is any."""
    if service is not None and not has_service(store, service):
        raise Exit(NO, no_service(store, service))


def no_service(store: Reads, service: str) -> str:
    """Say that a service is not there."""
    return f"no service {escape.text(service)}{_meant(service, store.services(limit=_LOOKED_AT))}"


def no_object(store: Reads, service: str, key: str) -> str:
    """Say that an object is not there, or not even its service."""
    if not has_service(store, service):
        parts = names.split_path(service) if service.count("/") == 1 else [""]
        if has_service(store, parts[0]):  # a path, with an argument behind it
            meant = "/".join([service, names.path_of(key)])
            return f"no service {escape.text(service)}; did you mean {escape.safe(meant)}?"
        return no_service(store, service)
    keys = set(store.object_keys(service, limit=_LOOKED_AT))
    alike = store.object_keys(service, prefix=key[: (len(key) + 1) // 2])
    keys.update(islice(alike, _LOOKED_AT))
    return f"no object {escape.text(service)} {escape.text(key)}{_meant(key, keys)}"


def no_entry(found: StoredObject, name: str) -> str:
    """Say that an object has no such entry."""
    where = f"{escape.text(found.service)} {escape.text(found.key)}"
    return f"no entry {escape.text(name)} in {where}{_meant(name, found.entries)}"


def _meant(name: str, among: Iterable[str]) -> str:
    near = get_close_matches(name, sorted(among), n=1)
    return f"; did you mean {escape.text(near[0])}?" if near else ""
