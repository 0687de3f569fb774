"""A client of a database: what its verbs send, apart from how it is sent.

`PostgresStore` blocks until the answer is there, `AsyncPostgresStore` awaits it.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from kvengine.errors import DatabaseClosed, ForkedError, ReadOnly
from kvengine.objects.sessions.load import begin_with
from kvengine.objects.sessions.session import SessionVerbs
from kvengine.options import Durability
from kvengine.postgres.address import Address
from kvengine.postgres.claims import Claims
from kvengine.postgres.clock import ServerClock
from kvengine.postgres.held import FIRST_BYTES, HeldReads
from kvengine.postgres.reads import encoded
from kvengine.postgres.scripts import Script
from kvengine.postgres.walk import WalkingReads
from kvengine.postgres.writes import Commit, Expiry, Pop, SetRetention, Turn, steps_of
from kvengine.storage.batch import Batch, Operation, check_write, expire_operation, object_name
from kvengine.storage.names import Name, check_name
from kvengine.storage.times import DAY, check_agrees, retention_time
from kvengine.store import Limits


class Client(WalkingReads):
    """The verbs as scripts, over the data of one schema, as of now."""

    def __init__(
        self,
        address: Address,
        *,
        durability: Durability,
        limits: Limits,
        lease: float,
        read_only: bool = False,
    ) -> None:
        """``lease``: seconds after which the objects in sessions of a client that died are free."""
        self.address: Address = address
        self.schema: str = address.quoted_schema
        self.clock: ServerClock = ServerClock()
        self.limits: Limits = limits
        self.durability: Durability = durability
        self.claims: Claims = Claims(self.schema, lease)
        self.read_only: bool = read_only
        self.is_closed: bool = False
        self._retentions: dict[str, int] = {}
        self._pid = os.getpid()
        super().__init__(self.schema, self.clock)

    def check_open(self) -> None:
        """Raise DatabaseClosed after the store was closed, ForkedError in a forked child."""
        if self.is_closed:
            raise DatabaseClosed("this database is closed")
        if self.is_forked:
            raise ForkedError(
                "a forked child used the connections of its parent; call kvengine.connect() in it"
            )

    def check_writable(self) -> None:
        """Raise ReadOnly if the store was connected to read."""
        if self.read_only:
            raise ReadOnly("this store was connected with read_only=True: it writes nothing")

    @property
    def is_forked(self) -> bool:
        """Whether this is a child of the process that connected."""
        return os.getpid() != self._pid

    def begin_snapshot(self) -> str:
        """Return the SQL that begins the transaction of a snapshot and tells the time of it."""
        bounds = self.clock.bounds()
        floor, estimate = ("NULL" if part is None else str(part) for part in bounds[:2])
        return (
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;"
            f" SELECT {self.schema}.believed({self.schema}.moment(), {floor}, {estimate})"
        )

    # --- writing

    def commit(self, *operations: Operation) -> Commit[int]:
        """Return the commit of some operations."""
        self.check_writable()
        return Commit(self, steps_of(operations))

    def expire(
        self,
        service: str,
        key: str,
        *,
        at: float | datetime | None = None,
        ttl: float | timedelta | None = None,
    ) -> Expiry:
        self.check_writable()
        return Expiry(self, steps_of([expire_operation(service, key, at, ttl)]))

    def pop(self, service: str, key: str, state_key: str) -> Pop:
        self.check_writable()
        return Pop(self, object_name(service, key), check_name("state_key", state_key))

    def batch_commit(
        self,
        batch: Batch,
        expect: Mapping[Name, int] | None,
        durability: Durability | None,
        turn: Turn | None = None,
    ) -> Commit[int]:
        """Return the commit of a batch. Raise as `kvengine.Store.write`, with nothing sent."""
        check_write(batch, expect, durability)
        self.check_open()
        self.check_writable()
        batch.check_open()
        batch.check_values(self.limits.value)
        return Commit(self, steps_of(batch.operations), expect, durability, turn)

    # --- sessions

    def begin(self, session: SessionVerbs, always: Collection[str]) -> Script[HeldReads | None]:
        """Begin a session with its object, and return whom it asks for what it did not load.

        ``always``: state keys to load in any case. A read-only session loads all: it has no turn
        that would keep the object as it is.
        """
        name, settings = session._handle._name, session._settings
        if settings.read_only or (settings.preload is True and settings.preload_limit is None):
            begin_with(session, (yield from self.load(*name)), True)
            return None
        held = HeldReads(self.schema, name)
        most = max(settings.preload_limit or 0, FIRST_BYTES)
        found = yield from held.begin(self.clock, most)
        complete = found is None or not found.partial
        begin_with(session, found, complete)
        if complete:
            return None
        named = settings.preload if isinstance(settings.preload, tuple) else ()
        missing = [each for each in {*always, *named} if session._missing(each)]
        if missing:
            session._learn((yield from held.get_many(*name, missing)), missing)
        return held

    def session_commit(self, session: SessionVerbs, batch: Batch, leaves: bool) -> Commit[int]:
        """Return the commit of a session; ``leaves``: which gives its object back too."""
        name = session._handle._name
        place = self.claims.place(name)
        turn = None if place is None else Turn(place, leaves)
        expect = {name: session._version}
        return self.batch_commit(batch, expect, session._settings.durability, turn)

    # --- retentions

    def retention(self, service: str) -> Script[timedelta]:
        encoded("service", service)
        self._retentions = yield from self.retentions()
        return timedelta(microseconds=self._retentions.get(service, DAY))

    def stored_retentions(self) -> Script[dict[str, timedelta]]:
        self._retentions = yield from self.retentions()
        stored = sorted(self._retentions.items())
        return {service: timedelta(microseconds=kept) for service, kept in stored}

    def set_retention(self, service: str, retention: float | timedelta) -> SetRetention:
        self.check_writable()
        kept = retention_time(retention)
        done = SetRetention(self, service, kept)
        self._retentions[service] = kept
        return done

    def retention_of(self, service: str) -> int | None:
        """Return the retention of a service as this client saw it last, None if none is set."""
        return self._retentions.get(service)

    def agree(self, retention: Mapping[str, float | timedelta]) -> Script[None]:
        """Store the retentions that were stated. Raise ValueError if there are other ones."""
        self._retentions = yield from self.retentions()
        for service, given in retention.items():
            stored = self._retentions.get(service)
            check_agrees(service, retention_time(given), stored)
            if stored is None and not self.read_only:
                yield from self.set_retention(service, given)()

    def __repr__(self) -> str:
        return f"<kvengine.postgres.Client {self.address.shown!r}>"
