"""What a typed state stands on: the entries of one object, as bytes."""

from __future__ import annotations


class Cells:
    """Entries to read and write. A session is one; `Detached` is one in memory alone."""

    __slots__ = ()

    def _read(self, state_key: str) -> bytes | None:
        raise NotImplementedError

    def _write(self, state_key: str, data: bytes, ttl: int | None) -> None:
        """Set an entry; ``ttl`` in microseconds from the commit, None for one that stays."""
        raise NotImplementedError

    def _erase(self, state_key: str) -> None:
        raise NotImplementedError

    def _commit(self) -> int | None:
        raise NotImplementedError

    def clear_all(self) -> None:
        raise NotImplementedError

    def complete(self) -> None:
        raise NotImplementedError


class Detached(Cells):
    """The entries of a state that no session holds: for tests of what works on states.

    There is nothing to commit to, completing it changes nothing, and no entry expires.
    """

    def __init__(self) -> None:
        self._entries: dict[str, bytes] = {}

    def _read(self, state_key: str) -> bytes | None:
        return self._entries.get(state_key)

    def _write(self, state_key: str, data: bytes, ttl: int | None) -> None:  # noqa: ARG002
        self._entries[state_key] = data

    def _erase(self, state_key: str) -> None:
        self._entries.pop(state_key, None)

    def _commit(self) -> int | None:
        return None

    def clear_all(self) -> None:
        self._entries.clear()

    def complete(self) -> None:
        pass
