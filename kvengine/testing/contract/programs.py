"""Random programs of all verbs: the store, and its snapshots, read as plain dicts would."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from random import Random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kvengine.errors import VersionConflict
from kvengine.objects.store import Store
from kvengine.storage.batch import Batch, Complete
from kvengine.store import StoredObject
from kvengine.testing.contract.home import FUTURE, LONG, PAST, Home
from kvengine.testing.contract.moment import KEYS, SERVICES, STATE_KEYS, Moment, agree
from kvengine.testing.contract.reference import SECOND, Operation, Reference

NOW = 1_000_000_000 * SECOND
"""The time of the reference, in microseconds: programs have no times but those far from now."""

_services, _keys = st.sampled_from(SERVICES[:3]), st.sampled_from(KEYS)
_state_keys = st.sampled_from(STATE_KEYS)
_seeds = st.integers(0, 2**32 - 1)
_times = st.sampled_from((None, None, None, PAST, FUTURE, FUTURE + 0.25))

operations: st.SearchStrategy[Operation] = st.one_of(
    *[
        st.tuples(
            st.just("set"),
            _services,
            _keys,
            _state_keys,
            st.sampled_from((b"", b"v", b"v" * 40, b"v" * 250)),
            st.just(None),
            _times,
        )
    ]
    * 3,
    st.tuples(st.just("clear"), _services, _keys, _state_keys),
    st.tuples(st.just("clear_all"), _services, _keys),
    st.tuples(st.just("expire"), _services, _keys, _times, st.just(None)),
    st.tuples(st.just("complete"), _services, _keys, st.sampled_from((0, int(LONG) * SECOND))),
    st.tuples(st.just("clear_service"), _services),
    st.tuples(st.just("clear_range"), _services, _keys, st.one_of(st.none(), _keys)),
)
actions: st.SearchStrategy[tuple[Any, ...]] = st.one_of(
    st.tuples(st.just("verb"), operations),
    st.tuples(st.just("verb"), operations),
    st.tuples(
        st.just("write"),
        st.lists(operations, max_size=5),
        st.sampled_from((None, None, "right", "wrong")),
    ),
    st.tuples(st.just("pop"), _services, _keys, _state_keys),
    st.tuples(st.just("snapshot")),
    st.tuples(st.just("close_snapshot")),
    st.tuples(st.just("walk"), st.booleans()),
    st.tuples(st.just("walk_on"), st.sampled_from((1, 5, 999))),
)
programs: st.SearchStrategy[list[tuple[tuple[Any, ...], int]]] = st.lists(
    st.tuples(actions, _seeds), min_size=1, max_size=25
)


class Programs(Home):
    """Every verb of bytes, in programs that nobody has thought of."""

    programs: int = 60
    """How many random programs are run. A store that takes its time may do with fewer."""

    def test_programs_read_as_plain_dicts(self, store: Store, another: Callable[[], Store]) -> None:
        """No program of any verbs ever reads other than `Reference`, by any client or snapshot."""
        clients = [store, another()]

        @settings(
            max_examples=self.programs,
            deadline=None,
            database=None,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        )
        @given(programs)
        def check(program: list[tuple[tuple[Any, ...], int]]) -> None:
            run = _Run(clients)
            try:
                for action, seed in program:
                    run.step(action, seed)
                run.finish()
            finally:
                run.close()

        check()


class _Run:
    """One program: each action goes to the store and to the reference, and answers must agree."""

    def __init__(self, clients: Sequence[Store]) -> None:
        self.clients = clients
        self.reference = Reference()
        self.highest: dict[object, int] = {}
        """The greatest version that each object has had."""
        self.snapshots: list[Moment] = []
        self.walks: list[tuple[Iterator[StoredObject], Iterator[StoredObject]]] = []
        self.count = 0
        for service in SERVICES:  # of the program before
            self.store.clear_service(service)
        self.live = [Moment(client, self.reference, lambda: NOW) for client in clients]

    @property
    def store(self) -> Store:
        """Return the client whose turn it is."""
        return self.clients[self.count % len(self.clients)]

    def step(self, action: tuple[Any, ...], seed: int) -> None:
        """Do one action, and compare some reads after it."""
        name, *arguments = action
        getattr(self, name)(*arguments)
        self.count += 1
        random = Random(seed)
        random.choice([*self.live, *self.snapshots]).compare_some(random)

    def finish(self) -> None:
        """Compare all that there is, and what is left of every walk."""
        for moment in (*self.live, *self.snapshots):
            moment.compare_all()
        while self.walks:
            self.walk_on(999)

    def close(self) -> None:
        """Close what a program that failed has left open."""
        for moment in self.snapshots:
            moment.reader.close()
        for walk, _ in self.walks:
            getattr(walk, "close", int)()

    # --- the actions

    def verb(self, operation: Operation) -> None:
        """A write verb, as one commit."""
        name, *arguments = operation
        found: Any = None
        if name == "set":
            *names, _, at = arguments
            stamp = self.store.set(*names, expires_at=at)
        elif name == "expire":
            service, key, at, _ = arguments
            found = self.store.expire(service, key, at=at)
            stamp = self.store.version(service, key)
        elif name == "complete":
            service, key, retention = arguments
            self.store.workflow(service, key, retention=retention / SECOND).complete()
            stamp = self.store.version(service, key)
        else:
            stamp = getattr(self.store, str(name))(*arguments)
        existed = self._committed([operation], stamp)
        if name == "expire":
            agree(f"{operation}", found, existed)

    def write(self, operations: list[Operation], expect: str | None) -> None:
        """A batch. ``expect``: the versions that its objects have, or one that differs."""
        batch = Batch()
        for name, *arguments in operations:
            if name == "set":
                *names, _, at = arguments
                batch.set(*names, expires_at=at)
            elif name == "expire":
                service, key, at, _ = arguments
                batch.expire(service, key, at=at)
            elif name == "complete":
                service, key, retention = arguments
                batch.operations.append(Complete((service, key), retention))
            else:
                getattr(batch, str(name))(*arguments)
        versions = None
        if expect is not None:
            named = [
                each[1:3] for each in operations if each[0] not in ("clear_service", "clear_range")
            ]
            versions = {(s, k): self.reference.version(s, k, NOW) for s, k in named}
            if expect == "wrong":
                versions["a", "a"] = self.reference.version("a", "a", NOW) + 1
        try:
            stamp = self.store.write(batch, expect=versions)
        except VersionConflict as error:
            found = (error.service, error.key, error.expected, error.actual)
            agree(
                "a conflict", found, ("a", "a", (versions or {}).get(("a", "a")), self._version())
            )
            return
        agree("whether it is written", expect == "wrong", False)
        self._committed(operations, stamp)

    def _version(self) -> int:
        return self.reference.version("a", "a", NOW)

    def pop(self, service: str, key: str, state_key: str) -> None:
        """An entry is cleared, and its value is what it was."""
        wanted = self.reference.get(service, key, state_key, NOW)
        agree("pop", self.store.pop(service, key, state_key), wanted)
        if wanted is not None:
            clear = ("clear", service, key, state_key)
            self._committed([clear], self.store.version(service, key))

    def snapshot(self) -> None:
        """A snapshot is taken, unless there are two."""
        if len(self.snapshots) < 2:
            snapshot = self.store.snapshot()
            self.snapshots.append(Moment(snapshot, self.reference.copy(), lambda: NOW))

    def close_snapshot(self) -> None:
        """The oldest snapshot is compared once more, and closed."""
        if self.snapshots:
            moment = self.snapshots.pop(0)
            moment.compare_all()
            moment.reader.close()

    def walk(self, reverse: bool) -> None:
        """A walk over everything is begun, unless there are two."""
        if len(self.walks) < 2:
            wanted = list(self.reference.scan(None, "", NOW))
            found = self.store.scan(reverse=reverse)
            self._advance(found, iter(wanted[:: -1 if reverse else 1]), 1)

    def walk_on(self, count: int) -> None:
        """The oldest walk goes on, so many objects."""
        if not self.walks:
            return
        self._advance(*self.walks.pop(0), count)

    def _advance(
        self, walk: Iterator[StoredObject], wanted: Iterator[StoredObject], count: int
    ) -> None:
        """Compare what follows of a walk, so many objects, and keep it if there may be more."""
        found = list(islice(walk, count))
        agree("a walk", found, list(islice(wanted, count)))
        if len(found) == count:
            self.walks.append((walk, wanted))

    def _committed(self, operations: Sequence[Operation], stamp: int) -> bool:
        """Commit to the reference what the store has committed, and check that versions grow.

        Return whether the last expire found its object.
        """
        before = {name: thing.version for name, thing in self.reference.things.items()}
        _, existed = self.reference.commit(operations, NOW, stamp=stamp)
        for name, thing in self.reference.things.items():
            if thing.version != before.get(name) and thing.exists(NOW):
                agree(
                    f"a version of {name} that grows",
                    thing.version > self.highest.get(name, 0),
                    True,
                )
                self.highest[name] = thing.version
            if thing.completed_at == NOW and thing.exists(NOW):
                self._learn(*name)
        return existed

    def _learn(self, service: str, key: str) -> None:
        """Take the times of a completion from the store, which alone knows when it was."""
        thing, found = self.reference.things[service, key], self.store.load(service, key)
        assert found is not None and found.completed_at is not None, (service, key)
        thing.completed_at = round(found.completed_at * SECOND)
        if thing.expires_at == NOW + int(LONG) * SECOND:
            thing.expires_at = thing.completed_at + int(LONG) * SECOND
