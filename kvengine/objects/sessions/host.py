"""What the objects of one open store share: the store, their queues, their serdes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from kvengine.objects.sessions.turns import Turns
from kvengine.options import Durability
from kvengine.serdes.registry import Serdes
from kvengine.storage.names import Name
from kvengine.storage.resolved import Resolved
from kvengine.store import Store, StoredObject


class Late(Protocol):
    """One object, or all, as of one moment: whom a session asks for what it did not load."""

    def get(self, service: str, key: str, state_key: str, /) -> bytes | None: ...

    def get_many(
        self, service: str, key: str, state_keys: Iterable[str], /
    ) -> dict[str, bytes]: ...

    def get_all(self, service: str, key: str, /) -> dict[str, bytes]: ...

    def load(self, service: str, key: str, /, *, max_bytes: int) -> StoredObject | None: ...

    def state_keys(
        self,
        service: str,
        key: str,
        /,
        *,
        prefix: str = "",
        start: str = "",
        limit: int | None = None,
    ) -> list[str]: ...

    def in_memory(self, service: str, key: str, /) -> bool: ...

    def close(self) -> None: ...


CommitEntries = Callable[[Name, "dict[str, bytes | None]", int, "Durability | None", Any], int]
"""Commits new values of one object, None for a cleared entry, if it has the version given.

Returns the stamp. Names and values have been checked. Last: the `Held` that the version is of, or
None; the version need not be looked up while that is still as it was.
"""

Known = Callable[[Name, bool], "Resolved | None"]
"""An object as it is now, where the store has it at hand in whole. Nobody changes it.

The flag says whether to count the question: a store may keep at hand what is asked for often.
"""


class Held(Late, Protocol):
    """One object as of one moment. ``version``: 0 where it is absent."""

    version: int
    expires_at: float | None


Hold = Callable[[Name], Held]
"""Takes the moment of one object, for less than a snapshot costs."""


class Host:
    """An open store as the home of objects."""

    __slots__ = ("commit_entries", "hold", "known", "max_value_size", "serdes", "store", "turns")

    def __init__(
        self,
        store: Store,
        serdes: Serdes,
        *,
        max_value_size: int,
        known: Known | None = None,
        hold: Hold | None = None,
        commit_entries: CommitEntries | None = None,
    ) -> None:
        """``known``: a shorter way than `Store.load` that a store may have; ``hold``: one than
        `Store.snapshot`; ``commit_entries``: one than `Store.write`.
        """
        self.hold = hold
        self.commit_entries = commit_entries
        self.known = known
        self.store = store
        self.turns = Turns()
        self.max_value_size = min(max_value_size, sys.maxsize)
        self.serdes = serdes

    def forget_turns(self) -> None:
        """In a forked child: nobody here has a session."""
        self.turns = Turns()
