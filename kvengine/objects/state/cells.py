"""What a typed state stands on: the entries of one object, as bytes."""

from __future__ import annotations

from typing import Protocol


class Cells(Protocol):
    """Entries to read and write. A session is one; `Detached` is one in memory alone."""

    def _read(self, state_key: str, /) -> bytes | None: ...

    def _write(self, state_key: str, data: bytes, /) -> None: ...

    def _erase(self, state_key: str, /) -> None: ...

    def _commit(self) -> int | None: ...

    def clear_all(self) -> None: ...

    def complete(self) -> None: ...


class Detached:
    """The entries of a state that no session holds: for tests of what works on states.

    There is nothing to commit to, and completing it changes nothing.
    """

    def __init__(self) -> None:
        self._entries: dict[str, bytes] = {}

    def _read(self, state_key: str, /) -> bytes | None:
        return self._entries.get(state_key)

    def _write(self, state_key: str, data: bytes, /) -> None:
        self._entries[state_key] = data

    def _erase(self, state_key: str, /) -> None:
        self._entries.pop(state_key, None)

    def _commit(self) -> int | None:
        return None

    def clear_all(self) -> None:
        self._entries.clear()

    def complete(self) -> None:
        pass
