"""What the objects of one open store share: the store, their queues, their serdes."""

from __future__ import annotations

from collections.abc import Callable

from kvengine.objects.sessions.turns import Turns
from kvengine.serdes.registry import Serdes
from kvengine.storage.names import Name
from kvengine.storage.row import Resolved
from kvengine.store import Store

Known = Callable[[Name], Resolved | None]
"""An object as it is now, where the store has it at hand in whole. Nobody changes it."""


class Host:
    """An open store as the home of objects."""

    __slots__ = ("known", "max_value_size", "serdes", "store", "turns")

    def __init__(
        self,
        store: Store,
        serdes: Serdes,
        *,
        max_value_size: int,
        known: Known | None = None,
    ) -> None:
        """``known``: a shorter way than `Store.load` that a store may have."""
        self.known = known
        self.store = store
        self.turns = Turns()
        self.max_value_size = max_value_size
        self.serdes = serdes

    def forget_turns(self) -> None:
        """In a forked child: nobody here has a session."""
        self.turns = Turns()
