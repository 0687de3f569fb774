"""What the objects of one open store share: the store, their queues, their serdes."""

from __future__ import annotations

from collections.abc import Callable

from kvengine.objects.sessions.turns import Turns
from kvengine.options import Durability
from kvengine.serdes.registry import Serdes
from kvengine.storage.names import Name
from kvengine.storage.resolved import Resolved
from kvengine.store import Store

CommitEntries = Callable[[Name, dict[str, bytes | None], int, Durability | None], int]
"""Commits new values of one object, None for a cleared entry, if it has the version given.

Returns the stamp. Names and values have been checked.
"""


Known = Callable[[Name, bool], Resolved | None]
"""An object as it is now, where the store has it at hand in whole. Nobody changes it.

The flag says whether to count the question: a store may keep at hand what is asked for often.
"""


class Host:
    """An open store as the home of objects."""

    __slots__ = ("commit_entries", "known", "max_value_size", "serdes", "store", "turns")

    def __init__(
        self,
        store: Store,
        serdes: Serdes,
        *,
        max_value_size: int,
        known: Known | None = None,
        commit_entries: CommitEntries | None = None,
    ) -> None:
        """``known``: a shorter way than `Store.load` that a store may have; ``commit_entries``:
        one than `Store.write`.
        """
        self.commit_entries = commit_entries
        self.known = known
        self.store = store
        self.turns = Turns()
        self.max_value_size = max_value_size
        self.serdes = serdes

    def forget_turns(self) -> None:
        """In a forked child: nobody here has a session."""
        self.turns = Turns()
