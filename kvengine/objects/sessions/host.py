"""What the objects of one open store share: the store, their queues, their serdes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable
from typing import Any, Protocol

from kvengine.objects.sessions.turns import Turns
from kvengine.serdes.codec import Codec
from kvengine.serdes.registry import Serdes
from kvengine.storage.batch import Batch
from kvengine.storage.commit import Committer
from kvengine.storage.names import Name
from kvengine.storage.reader import Reader
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
        reverse: bool = False,
        limit: int | None = None,
    ) -> list[str]: ...

    def expires_at(self, service: str, key: str, state_key: str, /) -> float | None: ...

    def _in_memory(self, service: str, key: str, /) -> bool: ...

    def close(self) -> None: ...


class Held(Late, Protocol):
    """One object as of one moment. ``version``: 0 where it is absent.

    ``ends_at``: when it expires, in seconds since the epoch.
    """

    version: int
    ends_at: float | None


class Shared(Protocol):
    """How a store that other clients use too excludes their sessions."""

    def begin(self, session: Any, always: Collection[str], timeout: float | None, /) -> Any:
        """Wait until this client has the object, unless the session is read-only, and begin it.

        ``always``: state keys to load in any case. Return whom to ask for what was not loaded, None
        if there is nothing. Raise SessionTimeout past ``timeout`` seconds.
        """
        ...

    def commit(self, session: Any, batch: Batch, leaves: bool, /) -> int:
        """Commit if the object is as the session began; ``leaves``: and give it back."""
        ...

    def leave(self, name: Name, /) -> Any:
        """Give the object back, if this client still has it. May be called again.

        For asyncio, return what is to be awaited for it, or None.
        """
        ...


Hold = Callable[[Name], Held]
"""Takes the moment of one object, for less than a snapshot costs."""


class Host:
    """An open store as the home of objects."""

    __slots__ = (
        "committer",
        "hold",
        "max_value_size",
        "reader",
        "retention_of",
        "serdes",
        "shared",
        "store",
        "turns",
    )

    def __init__(
        self,
        store: Store,
        serdes: Serdes,
        *,
        max_value_size: int,
        retention_of: Callable[[str], int | None],
        reader: Reader | None = None,
        hold: Hold | None = None,
        committer: Committer | None = None,
        shared: Shared | None = None,
    ) -> None:
        """``retention_of``: how long the store keeps completed workflows of a service, in
        microseconds; it returns None if none is set.

        What an embedded store has: ``reader`` knows objects that it has at hand in whole;
        ``hold`` costs less than `Store.snapshot`, and ``committer`` less than `Store.write`. What
        one has that other clients use too: ``shared`` excludes their sessions.
        """
        self.shared: Shared | None = shared
        self.reader: Reader | None = reader
        self.hold: Hold | None = hold
        self.committer: Committer | None = committer
        self.store: Store = store
        self.turns: Turns = Turns()
        self.max_value_size: int = min(max_value_size, sys.maxsize)
        self.serdes: Serdes = serdes
        self.retention_of: Callable[[str], int | None] = retention_of

    def forget_turns(self) -> None:
        """In a forked child: nobody here has a session."""
        self.turns = Turns()


class Handle(Codec):
    """What a session is of: an object by its name, its serde, its store.

    ``_retention``: of a workflow, in microseconds; None for a virtual object.
    """

    __slots__ = ("_host", "_retention")

    _host: Host
    _retention: int | None
