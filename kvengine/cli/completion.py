"""What a shell completes: paths of names, services. Nothing is changed, and no error is shown."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Any

import click

from kvengine.cli import names
from kvengine.cli.tool import located

MOST = 200
"""Candidates that are offered."""


def place_argument(metavar: str, *, required: bool = True) -> Callable[..., Any]:
    """The argument ``place`` of a command, for `Tool.names`; a shell completes it."""
    return click.argument(
        "place", nargs=-1, required=required, metavar=metavar, shell_complete=complete_place
    )


def complete_place(context: click.Context, parameter: click.Parameter, typed: str) -> list[str]:
    """Paths that begin with what was typed; behind earlier arguments, names as they are."""
    most = (parameter.metavar or "").count("/") + 1
    before = [part for part in context.params.get("place") or () if isinstance(part, str)]
    if before:
        return _offered(context, lambda store: _below(store, before, typed))
    return _offered(context, lambda store: _paths(store, typed, most))


def complete_service(context: click.Context, parameter: click.Parameter, typed: str) -> list[str]:
    """Services that begin with what was typed."""
    del parameter
    return _offered(context, lambda store: _below(store, [], typed))


def _offered(context: click.Context, found: Callable[[Any], Iterator[str]]) -> list[str]:
    from kvengine.inspection.access import reach

    with suppress(Exception), reach(_database(context)) as access:
        return [each for each in islice(found(access.store), MOST) if each.isprintable()]
    return []


def _database(context: click.Context) -> str:
    """As `Tool.address`, of a line that is not complete."""
    at: click.Context | None = context
    while at is not None:
        if at.params.get("db"):
            return located(str(at.params["db"]))
        at = at.parent
    return located(os.environ.get("KVENGINE_DB") or ".")


def _paths(store: Any, typed: str, most: int) -> Iterator[str]:
    """Paths of up to ``most`` parts; of the only service that fits, its objects too.

    With one path that ends in a slash a shell would add a blank.
    """
    parts = names.split_path(typed)
    found = list(_below(store, parts[:-1], parts[-1]))
    if most > len(parts) == len(found) == 1:
        yield names.path_of(found[0])
        parts, found = [found[0], ""], list(_below(store, found, ""))
    for each in found if len(parts) <= most else ():
        yield names.path_of(*parts[:-1], each)


def _below(store: Any, parents: list[str], prefix: str) -> Iterator[str]:
    """Services, keys of a service, or state keys of an object, that begin with ``prefix``."""
    if len(parents) == 2:
        yield from store.state_keys(*parents, prefix=prefix, limit=MOST)
    elif parents:
        yield from store.object_keys(parents[0], prefix=prefix, limit=MOST)
    else:
        for service in store.services(start=prefix, limit=MOST):
            if service.startswith(prefix):
                yield service
