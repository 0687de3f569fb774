"""Snapshots, and the read verbs that they share with the engine."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Self

from kvengine.storage.moment import Moment
from kvengine.storage.reader import MomentReader, Reader
from kvengine.store import StoredObject


class ReadVerbs:
    """The read verbs of Store and Snapshot (documented in store.Reads)."""

    _reader: Reader

    def get(self, service: str, key: str, state_key: str) -> bytes | None:
        return self._reader.get(service, key, state_key)

    def get_many(self, service: str, key: str, state_keys: Iterable[str]) -> dict[str, bytes]:
        return self._reader.get_many(service, key, state_keys)

    def get_all(self, service: str, key: str) -> dict[str, bytes]:
        return self._reader.get_all(service, key)

    def load(self, service: str, key: str, *, max_bytes: int | None = None) -> StoredObject | None:
        return self._reader.load(service, key, max_bytes=max_bytes)

    def state_keys(
        self, service: str, key: str, *, prefix: str = "", start: str = "", limit: int | None = None
    ) -> list[str]:
        return self._reader.state_keys(service, key, prefix=prefix, start=start, limit=limit)

    def expires_at(self, service: str, key: str) -> float | None:
        return self._reader.expires_at(service, key)

    def version(self, service: str, key: str) -> int:
        return self._reader.version(service, key)

    def in_memory(self, service: str, key: str) -> bool:
        return self._reader.in_memory(service, key)

    def services(self, *, start: str = "", limit: int | None = None) -> list[str]:
        return self._reader.services(start=start, limit=limit)

    def object_keys(
        self,
        service: str,
        *,
        prefix: str = "",
        start: str | None = None,
        reverse: bool = False,
        limit: int | None = None,
    ) -> Iterator[str]:
        return self._reader.object_keys(
            service, prefix=prefix, start=start, reverse=reverse, limit=limit
        )

    def scan(self, service: str | None = None, *, prefix: str = "") -> Iterator[StoredObject]:
        return self._reader.scan(service, prefix=prefix)


class Snapshot(ReadVerbs):
    """Every read verb, as of one moment; `now` is fixed too. A context manager.

    Costs nothing to take and stops no writer; the files it names live until it
    is closed. One that is never closed warns (ResourceWarning) when collected.
    """

    def __init__(self, moment: Moment, closed: Callable[[], None]) -> None:
        """``closed`` is called once, when the snapshot is closed."""
        self._reader = MomentReader(moment)
        self._closed = closed
        self._moment = moment  # last: from now on it is the caller's to close

    @property
    def stamp(self) -> int:
        """The stamp of the last commit that the snapshot sees."""
        return self._moment.stamp

    def close(self) -> None:
        """Let go of what the snapshot holds. May be called again."""
        if self._moment.close():
            self._closed()

    def __enter__(self) -> Self:
        self._moment.check_open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        moment = getattr(self, "_moment", None)
        if moment is not None and moment.token:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)
