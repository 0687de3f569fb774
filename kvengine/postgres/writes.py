"""The write verbs as scripts: what is to be written, as steps, and the statement that commits it.

A *step* is a change of one object, or a range of objects that is cleared. One object that changes
once is a single call of the function ``commit``; anything else goes to ``commit_batch``. Both are
one statement, and so one transaction and one round trip.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from psycopg.types.numeric import Int8

from kvengine.errors import (
    KVEngineError,
    OutcomeUnknown,
    SessionLost,
    ValueTooLarge,
    VersionConflict,
)
from kvengine.options import Durability
from kvengine.postgres import failures
from kvengine.postgres.reads import NAMES, Bound, encoded
from kvengine.postgres.scripts import Script, Statement, Time
from kvengine.storage.batch import (
    Batch,
    Clear,
    ClearAll,
    ClearRange,
    Complete,
    Expire,
    Operation,
    Set,
    object_name,
)
from kvengine.storage.names import Name, least_name
from kvengine.store import Limits

T_co = TypeVar("T_co", covariant=True)

_COMMIT = (
    "SELECT stamp, t, taken, actual FROM {schema}.commit("
    "%s, %s, %s, %s, %s::bytea[], %s::bytea[], %s::bigint[], %s::bytea[], %s, %s, %s,"
    " %s, %s, %s, %s, %s, %s)"
)
_COMMIT_BATCH = (
    "SELECT stamp, t, service, key, actual FROM {schema}.commit_batch("
    "%s::bytea[], %s::bytea[], %s::bytea[], %s::bytea[], %s::boolean[], %s::text[], %s::bigint[],"
    " %s::bigint[], %s::bigint[], %s::bytea[], %s::bytea[], %s::bigint[],"
    " %s::bytea[], %s::bytea[], %s::bigint[], %s, %s, %s, %s)"
)
_POP = "SELECT t, popped FROM {schema}.pop(%s, %s, %s, %s, %s, %s, %s)"
_LANDED = (
    "UPDATE {schema}.objects SET token = token WHERE service = %s AND key = %s AND token = %s"
    " RETURNING version"
)
"""It writes, although it changes nothing: its answer comes when the standbys have what came before.

A commit whose server was stopped while it waited for them can be seen before they have it.
"""
_SET_RETENTION = (
    "INSERT INTO {schema}.retentions VALUES (%s, %s)"
    " ON CONFLICT (service) DO UPDATE SET retention = excluded.retention"
)

_GREATEST = 2**63 - 1

_LOST = -1
"""What the server returns as an object's version if the session has lost its turn."""


class Step:
    """A change of one object, with at most one ending, which comes after all else.

    ``entries``: by state key, the value (None: clear it) and when it ends: a time, minus a time to
    live, or None for never. All in the form that the server takes.
    """

    __slots__ = ("a", "b", "cleared", "ending", "entries", "name")

    def __init__(self, name: Name, *, cleared: bool = False) -> None:
        self.name: Name = name
        self.cleared: bool = cleared
        self.entries: dict[str, tuple[bytes | None, int | None]] = {}
        self.ending: str | None = None
        self.a: int | None = None
        self.b: int | None = None

    def end(self, operation: Expire | Complete) -> None:
        """Take an expiry or a completion as the ending."""
        if isinstance(operation, Complete):
            self.ending, self.a, self.b = "complete", operation.retention, operation.completed_at
        else:
            self.ending = "expire"
            self.a = operation.at if operation.ttl is None else _ttl(operation.ttl)


def steps_of(operations: Iterable[Operation]) -> list[Step | ClearRange]:
    """Return what the operations come to, in order, with as few steps as they allow."""
    steps: dict[int, Step | ClearRange] = {}
    last: dict[Name, int] = {}
    """Where the last step of each object is, as long as no range was cleared since."""

    def new(name: Name, *, cleared: bool = False) -> Step:
        last[name] = len(steps)
        steps[len(steps)] = step = Step(name, cleared=cleared)
        return step

    for operation in operations:
        if isinstance(operation, ClearRange):
            steps[len(steps)] = operation
            last.clear()
            continue
        name = operation.name
        clears = isinstance(operation, Complete) and not operation.retention
        if clears or isinstance(operation, ClearAll):
            if name in last:
                steps[last[name]] = Step(name, cleared=True)
            else:
                new(name, cleared=True)
            continue
        step = steps[last[name]] if name in last else None
        if not isinstance(step, Step) or step.ending is not None:
            step = new(name)
        if isinstance(operation, Set):
            ends = operation.at if operation.ttl is None else _ttl(operation.ttl)
            step.entries[operation.state_key] = operation.value, ends
        elif isinstance(operation, Clear):
            step.entries[operation.state_key] = None, None
        elif isinstance(operation, (Expire, Complete)):
            step.end(operation)
    return list(steps.values())


def _ttl(microseconds: int) -> int:
    """Return a time to live as the server takes it: below zero, and one of zero as a time."""
    return -microseconds if microseconds else 0


class Target(Protocol):
    """What a commit is sent to: the schema, its clock and limits, and how safe commits are."""

    schema: str
    limits: Limits
    durability: Durability

    @property
    def clock(self) -> Time: ...


class Turn(NamedTuple):
    """The turn of a session as its commits state it: the place of its claim.

    ``leaves``: whether the turn is given back with the commit.
    """

    place: int
    leaves: bool


class Sent(Generic[T_co]):
    """What is sent to change something: it makes a script for each attempt at it."""

    lost: Exception | None = None
    """Why the answer of an attempt was lost, if one was."""

    def __call__(self) -> Script[T_co]:
        raise NotImplementedError


class Commit(Sent[T_co]):
    """A commit, which may be sent again: it is applied once at most if it expects something.

    ``token`` names it in the objects that it writes, so that a later attempt can tell whether it is
    in. ``stamp``, ``taken``: what came of it.
    """

    def __init__(
        self,
        target: Target,
        steps: list[Step | ClearRange],
        expect: Mapping[Name, int] | None = None,
        durability: Durability | None = None,
        turn: Turn | None = None,
    ) -> None:
        """``turn``: of the session whose commit it is. Raise ValueTooLarge past the limits."""
        self.steps: list[Step | ClearRange] = steps
        self.expect: Mapping[Name, int] = expect or {}
        self.token: bytes = os.urandom(12)
        self.stamp: int | None = None
        self.taken: bool = False
        self._target = target
        self._durable = (durability or target.durability) == "sync"
        self._turn = turn
        self._check(target.limits)

    @property
    def is_conditional(self) -> bool:
        """Whether a second run finds another version than it expects if the first one landed.

        An object that is expected to be absent does not count: it may have been there and be gone
        again. Other versions are never used twice.
        """
        return any(isinstance(step, Step) and self.expect.get(step.name) for step in self.steps)

    def _check(self, limits: Limits) -> None:
        """Raise ValueTooLarge for what the store does not take."""
        total = 0
        for step in self.steps:
            if isinstance(step, ClearRange):
                for service, key in (_bound(step.start), _bound(step.stop)):
                    # The end of a service is one byte longer than its name, and no name itself.
                    check_names(len(service) + len(key) if key else len(service.rstrip(b"\0")))
                continue
            both = size_of_names(*step.name)
            if not step.entries:
                check_names(both)
            for state_key, (value, _) in step.entries.items():
                size = len(state_key.encode())
                check_names(both + size)
                total += both + size + (len(value) if value is not None else 0)
        for name in self.expect:
            check_names(size_of_names(*object_name(*name)))
        if total > limits.commit:
            raise ValueTooLarge(
                f"commit is {total:,} bytes, over max_commit_size {limits.commit:,}"
            )

    def __call__(self) -> Script[T_co]:
        """Commit, and return the stamp, 0 if nothing was to be written.

        Raise VersionConflict or SessionLost, with nothing written, if an object is not as expected.

        If the answer of an attempt before was `lost`, find out what came of it. Raise
        OutcomeUnknown if that cannot be told: the commit is not the last one of its object, and may
        not be sent again, since what was sent may still arrive.
        """
        yield from self._attempt()
        answer: T_co = self._answer()
        return answer

    def _answer(self) -> Any:
        """Return what the verb is to return."""
        return self.stamp or 0

    def _attempt(self) -> Script[None]:
        if self.lost is None:
            yield from self._once()
        elif not (yield from self._landed()):
            if not self.is_conditional:
                raise failures.unknown(self.lost)
            try:  # of two that expect the same version, one finds it
                yield from self._once()
            except (VersionConflict, SessionLost):  # the first one may have given the turn back
                if not (yield from self._landed()):
                    raise failures.unknown(self.lost) from None

    def _expected(self, name: Name) -> int | None:
        """Return the version to expect as the server takes it: one out of range is none it has."""
        version = self.expect.get(name)
        return None if version is None else min(max(version, -1), _GREATEST)

    def _once(self) -> Script[None]:
        only = self.steps[0] if len(self.steps) == 1 else None
        if isinstance(only, Step) and self.expect.keys() <= {only.name}:
            yield from self._one(only)
        else:
            yield from self._all()

    def _one(self, step: Step) -> Script[None]:
        names, values, ends, gone = _columns(step)
        service, key = step.name
        turn = self._turn
        expected = self._expected(step.name)
        bounds = self._target.clock.bounds()
        ((stamp, now, taken, actual),) = yield Statement(
            _COMMIT.format(schema=self._target.schema),
            (
                service.encode(),
                key.encode(),
                expected,
                step.cleared,
                names,
                values,
                ends,
                gone,
                step.ending,
                step.a,
                step.b,
                self.token,
                turn.place if turn is not None else None,
                turn is not None and turn.leaves,
                self._durable,
                bounds.floor,
                bounds.estimate,
            ),
        )
        self._target.clock.saw(now, bounds.sent)
        if actual == _LOST:
            raise SessionLost(
                f"the session of object {step.name!r} lost its turn: this client did not renew its"
                " lease in time, and another one has the object; nothing was written"
            )
        if actual is not None:
            raise VersionConflict(service, key, self.expect[step.name], actual)
        self.stamp, self.taken = stamp, taken

    def _all(self) -> Script[None]:
        columns: list[list[Any]] = [[] for _ in range(12)]
        objects, entries = columns[:8], columns[8:]
        for number, step in enumerate(self.steps, 1):
            for column, value in zip(objects, _row(step), strict=True):
                column.append(value)
            if isinstance(step, Step):
                for state_key, (value, ends) in step.entries.items():
                    row = (number, state_key.encode(), value, ends)
                    for column, part in zip(entries, row, strict=True):
                        column.append(part)
        expected = [(*_encoded(name), self._expected(name)) for name in self.expect]
        bounds = self._target.clock.bounds()
        ((stamp, now, service, key, actual),) = yield Statement(
            _COMMIT_BATCH.format(schema=self._target.schema),
            (
                *columns[:6],
                _bigints(columns[6]),
                _bigints(columns[7]),
                _bigints(columns[8]),
                *columns[9:11],
                _bigints(columns[11]),
                [service for service, _, _ in expected],
                [key for _, key, _ in expected],
                _bigints([version for _, _, version in expected]),
                self.token,
                self._durable,
                bounds.floor,
                bounds.estimate,
            ),
        )
        self._target.clock.saw(now, bounds.sent)
        if actual is not None:
            name = (service.decode(), key.decode())
            raise VersionConflict(*name, self.expect[name], actual)
        self.stamp, self.taken = stamp, True

    def _landed(self) -> Script[bool]:
        """Return whether this is the last commit of an object that it wrote."""
        for step in self.steps:
            if isinstance(step, Step):
                values = (*_encoded(step.name), self.token)
                rows = yield Statement(_LANDED.format(schema=self._target.schema), values)
                if rows:
                    self.stamp, self.taken = rows[0][0], True
                    return True
        return False


class Expiry(Commit[bool]):
    """An `expire`, which returns whether the object existed."""

    def _answer(self) -> bool:
        return self.taken


class Pop(Sent[bytes | None]):
    """A `pop`, which is sent once: nobody could tell whether a second one popped the same value."""

    def __init__(self, target: Target, name: Name, state_key: str) -> None:
        check_names(size_of_names(*name, state_key))
        self._target = target
        self._name = name
        self._state_key = state_key

    def __call__(self) -> Script[bytes | None]:
        """Clear an entry, and return the value that it had, or None."""
        if self.lost is not None:
            raise failures.unknown(self.lost)
        clock, durable = self._target.clock, self._target.durability == "sync"
        bounds = clock.bounds()
        service, key = _encoded(self._name)
        token = os.urandom(12)
        ((now, found),) = yield Statement(
            _POP.format(schema=self._target.schema),
            (service, key, self._state_key.encode(), token, durable, *bounds[:2]),
        )
        clock.saw(now, bounds.sent)
        value: bytes | None = found
        return value


class SetRetention(Sent[None]):
    """How long completed workflows of a service are kept from now on, in microseconds."""

    def __init__(self, target: Target, service: str, retention: int) -> None:
        self._target = target
        self._values = encoded("service", service), retention

    def __call__(self) -> Script[None]:
        yield Statement(_SET_RETENTION.format(schema=self._target.schema), self._values)


@contextmanager
def writing(batch: Batch) -> Iterator[None]:
    """Close a batch for the time of its commit, and open it again if nothing was written."""
    batch.close()  # what is being committed must not change
    try:
        yield
    except OutcomeUnknown:
        raise  # it may be in: nobody is to write it a second time
    except KVEngineError:
        batch._reopen()
        raise


def size_of_names(*names: str) -> int:
    """Return the bytes of UTF-8 of some names together."""
    return sum(len(name) if name.isascii() else len(name.encode()) for name in names)


def check_names(size: int) -> None:
    """Raise ValueTooLarge if names of so many bytes together are more than PostgreSQL takes."""
    if size > NAMES:
        raise ValueTooLarge(
            f"service, key and state key are {size:,} bytes of UTF-8 together; on PostgreSQL they"
            f" have at most {NAMES:,} (db.limits.names)"
        )


def _row(step: Step | ClearRange) -> tuple[Any, ...]:
    """Return a step as a row of the arguments of ``commit_batch``."""
    if isinstance(step, Step):
        return (*_encoded(step.name), None, None, step.cleared, step.ending, step.a, step.b)
    return (*_bound(step.start), *_bound(step.stop), False, None, None, None)


def _columns(step: Step) -> tuple[list[bytes] | None, ...] | Any:
    """Return the entries of a step as arrays, None for each that is empty."""
    names: list[bytes] = []
    values: list[bytes] = []
    ends: list[int | None] = []
    gone: list[bytes] = []
    timed = False
    for state_key, (value, end) in step.entries.items():
        if value is None:
            gone.append(state_key.encode())
        else:
            names.append(state_key.encode())
            values.append(value)
            ends.append(end)
            timed = timed or end is not None
    return names or None, values or None, _bigints(ends) if timed else None, gone or None


def _encoded(name: Name) -> Bound:
    return name[0].encode(), name[1].encode()


def _bound(encoded: bytes) -> Bound:
    """Return the first object at or above the bound of a range."""
    name = least_name(encoded)
    if name is None:
        raise KVEngineError("a range that has no end is of no service")
    return _encoded(name)


def _bigints(numbers: list[int | None] | list[int]) -> list[Int8 | None]:
    """Return numbers as the driver sends them in one form, however large they are."""
    return [None if number is None else Int8(number) for number in numbers]
