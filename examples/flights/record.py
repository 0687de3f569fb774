"""The parent's own record of what the database must hold, and the comparison with it.

It is recomputed in memory, by the same functions on states that no database
knows, from the commits that have returned: what each is follows from the
events. So it owes nothing to the database but the stamps.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from examples.flights.aggregate import (
    AIRCRAFT,
    AIRPORT,
    CARRIER,
    FLIGHT,
    READER,
    Aircraft,
    Airport,
    Carrier,
    Flight,
    Telling,
    Told,
    end,
    plan,
    tellings,
    values,
)
from examples.flights.columns import FlightEvent
from kvengine.store import Store, StoredObject

KINDS: Mapping[str, type[Told]] = {
    AIRCRAFT: Aircraft,
    AIRPORT: Airport,
    CARRIER: Carrier,
    FLIGHT: Flight,
    READER[0]: Told,
}

DEFAULTS = {service: values(kind()) for service, kind in KINDS.items()}
"""The values of an object that nothing was ever told."""

OBJECTS = (AIRCRAFT, AIRPORT, CARRIER, READER[0])
"""The services whose objects are kept for ever."""

CLOCK_SLACK = 0.25
"""Seconds around an expiry in which a flight may read as present or as absent."""

FORGET_AFTER = 30.0
"""Seconds after its expiry for which the record still knows a flight."""

Name = tuple[str, str]


def commits_of(event: FlightEvent) -> list[Telling]:
    """The commits that an event makes, in order: the flight's plan, the others, its end."""
    flight = event.flight_id
    return [
        Telling(FLIGHT, flight, Flight, plan),
        *tellings(event),
        Telling(*READER, Told, read_on),
        Telling(FLIGHT, flight, Flight, end),
    ]


def read_on(reader: Told, event: FlightEvent) -> None:
    """The reader keeps nothing but the number."""


@dataclass(slots=True)
class Kept:
    """What the database must hold of one object. ``expires_at`` in seconds since the epoch."""

    version: int
    state: Told
    expires_at: float | None = None


class UnderWay(NamedTuple):
    """An event of whose commits the first ``done`` have been made."""

    number: int
    done: int
    commits: int


class Record:
    """The state of every object after the commits recorded so far.

    ``retention`` in seconds. ``workflows`` counts the flights that were begun,
    ``flight_bytes`` the names and values of those that ended, both with the
    expired ones.
    """

    def __init__(self, events: Iterable[FlightEvent], retention: float) -> None:
        self.retention = retention
        self.commits = 0
        self.last_stamp = 0
        self.workflows = 0
        self.flight_bytes = 0
        self.under_way = UnderWay(0, 0, 0)
        self.objects: dict[Name, Kept] = {}
        self.flights: OrderedDict[str, Kept] = OrderedDict()
        """In the order of their expiry."""
        self._to_come = self._follow(events)

    def add(self, stamp: int) -> None:
        """Record the next commit, which returned ``stamp``."""
        event, telling = next(self._to_come)
        kept = self._begin_flight(event) if telling.effect is plan else self._kept(telling)
        telling.effect(kept.state, event)
        kept.state.last_event = self.under_way.number
        kept.version = stamp
        if telling.effect is end:
            kept.expires_at = stamp / 1e6 + self.retention
            self.flight_bytes += logical_bytes(FLIGHT, event.flight_id, encoded(kept.state))
            self._forget(stamp)
        self.commits += 1
        self.last_stamp = stamp

    def _follow(self, events: Iterable[FlightEvent]) -> Iterator[tuple[FlightEvent, Telling]]:
        """Every commit to come, and what it tells of."""
        for number, event in enumerate(events, 1):
            steps = commits_of(event)
            for done, telling in enumerate(steps, 1):
                self.under_way = UnderWay(number, done, len(steps))
                yield event, telling

    def _begin_flight(self, event: FlightEvent) -> Kept:
        """A flight begins, afresh where an earlier one is still known."""
        self.workflows += event.flight_id not in self.flights
        kept = self.flights[event.flight_id] = Kept(0, Flight())
        self.flights.move_to_end(event.flight_id)
        return kept

    def _kept(self, telling: Telling) -> Kept:
        if telling.service == FLIGHT:
            return self.flights[telling.key]
        name = (telling.service, telling.key)
        kept = self.objects.get(name)
        if kept is None:
            kept = self.objects[name] = Kept(0, telling.kind())
        return kept

    def _forget(self, stamp: int) -> None:
        """Drop the oldest flight if it expired long ago, so that a year of them fits in memory."""
        oldest = next(iter(self.flights.values()))
        if oldest.expires_at is not None and oldest.expires_at + FORGET_AFTER < stamp / 1e6:
            self.flights.popitem(last=False)


class Comparison(NamedTuple):
    """What a comparison saw: objects and living flights that agree, and each difference."""

    objects: int
    flights: int
    differences: list[str]


def compare(db: Store, record: Record) -> Comparison:
    """Hold the whole database against the record: values, versions, presence, absence."""
    differences: list[str] = []
    found = {(stored.service, stored.key): stored for name in OBJECTS for stored in db.scan(name)}
    differences += differing(record.objects, found)
    before = time.time()
    flights = {(FLIGHT, stored.key): stored for stored in db.scan(FLIGHT)}
    after = time.time()
    known = {(FLIGHT, key): kept for key, kept in record.flights.items()}
    living = {name: kept for name, kept in known.items() if name in flights}
    differences += differing(living, flights)
    differences += wrongly_expired(known, flights.keys(), before, after)
    return Comparison(len(found), len(flights), differences)


def differing(expected: Mapping[Name, Kept], found: Mapping[Name, StoredObject]) -> Iterable[str]:
    """Each object that is missing, is there without a reason, or holds something else."""
    for name in expected.keys() | found.keys():
        kept, stored = expected.get(name), found.get(name)
        if kept is None:
            yield f"{name}: is there, and no returned commit wrote it"
        elif stored is None:
            yield f"{name}: is lost"
        elif (holds := stored_values(stored)) != (wanted := values(kept.state)):
            yield f"{name}: holds {holds}, not {wanted}"
        elif stored.version != kept.version:
            yield f"{name}: is of commit {stored.version}, not {kept.version}"
        elif not same_time(stored.expires_at, kept.expires_at):
            yield f"{name}: expires at {stored.expires_at}, not at {kept.expires_at}"


def stored_values(stored: StoredObject) -> dict[str, object]:
    """The values of all entries as plain JSON says, over those of fields without an entry."""
    entries = {name: msgspec.json.decode(value) for name, value in stored.entries.items()}
    return {**DEFAULTS[stored.service], **entries}


def same_time(one: float | None, other: float | None) -> bool:
    """Whether both are None, or differ by no more than the clocks may."""
    if one is None or other is None:
        return one is other
    return abs(one - other) < CLOCK_SLACK


def wrongly_expired(
    record: Mapping[Name, Kept], flights: Iterable[Name], before: float, after: float
) -> Iterable[str]:
    """Flights absent before their time or there after it; they were read between two times."""
    there = set(flights)
    for (_, key), kept in record.items():
        expires_at = kept.expires_at
        if (FLIGHT, key) in there:
            if expires_at is not None and expires_at < before - CLOCK_SLACK:
                yield f"flight {key}: is there {before - expires_at:.1f} s after its expiry"
        elif expires_at is None:
            yield f"flight {key}: is lost before it ended"
        elif expires_at > after + CLOCK_SLACK:
            yield f"flight {key}: is lost {expires_at - after:.1f} s before its expiry"


def encoded(state: Told) -> dict[str, bytes]:
    """The entries of a state as they are stored."""
    return {name: msgspec.json.encode(value) for name, value in values(state).items()}


def logical_bytes(service: str, key: str, entries: Mapping[str, bytes]) -> int:
    """Bytes of an object's names, each once for every entry, and of its values."""
    names = len(service.encode()) + len(key.encode())
    return sum(names + len(name.encode()) + len(value) for name, value in entries.items())
