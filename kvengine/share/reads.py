"""The read verbs, asked of the owner: of now, or of a snapshot that it holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from kvengine.closing import Closing
from kvengine.share.link import Link, RemoteWalk
from kvengine.store import StoredObject, StoredWorkflow

_T = TypeVar("_T")
_Keys = tuple[int | None, list[str]]
_Objects = tuple[int | None, list[StoredObject]]
_Workflows = tuple[int | None, list[StoredWorkflow]]


class RemoteReads:
    """The read verbs, asked of the owner: of now, or of a snapshot that it holds."""

    _link: Link
    _at: int | None = None

    def _ask(self, verb: str, kind: type[_T] | Any, **arguments: Any) -> Any:
        if self._at is not None:
            arguments["at"] = self._at
        return self._link.ask(verb, kind, arguments)

    def get(self, service: str, key: str, state_key: str) -> bytes | None:
        found: bytes | None = self._ask(
            "get", bytes | None, service=service, key=key, state_key=state_key
        )
        return found

    def get_many(self, service: str, key: str, state_keys: Iterable[str]) -> dict[str, bytes]:
        if isinstance(state_keys, str):
            raise TypeError("state_keys must be an iterable of str, not one str")
        found: dict[str, bytes] = self._ask(
            "get_many", dict[str, bytes], service=service, key=key, state_keys=list(state_keys)
        )
        return found

    def get_all(self, service: str, key: str) -> dict[str, bytes]:
        found: dict[str, bytes] = self._ask("get_all", dict[str, bytes], service=service, key=key)
        return found

    def load(self, service: str, key: str, *, max_bytes: int | None = None) -> StoredObject | None:
        found: StoredObject | None = self._ask(
            "load", StoredObject | None, service=service, key=key, max_bytes=max_bytes
        )
        return found

    def load_many(self, service: str, keys: Iterable[str]) -> dict[str, StoredObject]:
        if isinstance(keys, str):
            raise TypeError("keys must be an iterable of str, not one str")
        found: dict[str, StoredObject] = self._ask(
            "load_many", dict[str, StoredObject], service=service, keys=list(keys)
        )
        return found

    def exists(self, service: str, key: str) -> bool:
        return bool(self._ask("exists", bool, service=service, key=key))

    def state_keys(
        self,
        service: str,
        key: str,
        *,
        prefix: str = "",
        start: str = "",
        reverse: bool = False,
        limit: int | None = None,
    ) -> list[str]:
        found: list[str] = self._ask(
            "state_keys",
            list[str],
            service=service,
            key=key,
            prefix=prefix,
            start=start,
            reverse=reverse,
            limit=limit,
        )
        return found

    def expires_at(self, service: str, key: str, state_key: str | None = None) -> float | None:
        found: float | None = self._ask(
            "expires_at", float | None, service=service, key=key, state_key=state_key
        )
        return found

    def version(self, service: str, key: str) -> int:
        found: int = self._ask("version", int, service=service, key=key)
        return found

    def services(self, start: str = "", limit: int | None = None) -> list[str]:
        found: list[str] = self._ask("services", list[str], start=start, limit=limit)
        return found

    def object_keys(
        self,
        service: str,
        *,
        prefix: str = "",
        start: str | None = None,
        stop: str | None = None,
        reverse: bool = False,
        limit: int | None = None,
    ) -> Iterator[str]:
        bounds = {"prefix": prefix, "start": start, "stop": stop}
        page = self._ask(
            "object_keys", _Keys, service=service, **bounds, reverse=reverse, limit=limit
        )
        return RemoteWalk(self._link, page, _Keys)

    def scan(
        self,
        service: str | None = None,
        *,
        prefix: str = "",
        start: str | None = None,
        stop: str | None = None,
        reverse: bool = False,
        limit: int | None = None,
    ) -> Iterator[StoredObject]:
        bounds = {"prefix": prefix, "start": start, "stop": stop}
        page = self._ask("scan", _Objects, service=service, **bounds, reverse=reverse, limit=limit)
        return RemoteWalk(self._link, page, _Objects)

    def workflows(self, service: str, completed: bool | None = None) -> Iterator[StoredWorkflow]:
        page = self._ask("workflows", _Workflows, service=service, completed=completed)
        return RemoteWalk(self._link, page, _Workflows)

    def count(self, service: str, *, prefix: str = "") -> int:
        return int(self._ask("count", int, service=service, prefix=prefix))


class LiveSnapshot(RemoteReads, Closing):
    """Every read verb as of one moment, held by the owner. A context manager."""

    def __init__(self, link: Link, at: int) -> None:
        self._link = link
        self._at = at

    def close(self) -> None:
        """Let the owner forget it. May be called again."""
        at, self._at = self._at, -1
        if at != -1 and not self._link.closed:
            self._link.ask("release", None, {"at": at})
