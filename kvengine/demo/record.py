"""The parent's own record of what the database must hold, and the comparison with it.

It is recomputed in memory from the events whose commits have returned, so it
owes nothing to the database but the stamps.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeVar

from kvengine.demo.aggregate import (
    AIRCRAFT,
    AIRPORT,
    CARRIER,
    FLIGHT,
    Entries,
    changes,
    entries_of,
    flight_of,
)
from kvengine.demo.columns import FlightEvent
from kvengine.store import Store, StoredObject

OBJECTS = (AIRCRAFT, AIRPORT, CARRIER)

CLOCK_SLACK = 0.25
"""Seconds around an expiry in which a flight may read as present or as absent."""

FORGET_AFTER = 30.0
"""Seconds after its expiry for which the record still knows a flight."""

Name = TypeVar("Name")


class Kept(NamedTuple):
    """What the database must hold of one object."""

    version: int
    entries: Entries


class Record:
    """The state of every object after the events recorded so far.

    ``retention`` in seconds. ``workflows`` counts the flights that were started,
    ``flight_bytes`` their names and values, both with the expired ones.
    """

    def __init__(self, retention: float) -> None:
        self.retention = retention
        self.events = 0
        self.last_stamp = 0
        self.workflows = 0
        self.flight_bytes = 0
        self.objects: dict[tuple[str, str], Kept] = {}
        self.flights: OrderedDict[str, Kept] = OrderedDict()
        """In the order of their expiry."""

    def add(self, event: FlightEvent, stamp: int) -> None:
        """Record an event whose commit returned ``stamp``."""
        for change in changes(event, self._entries):
            self.objects[change.service, change.key] = Kept(stamp, change.after)
        flight = entries_of(flight_of(event))
        self.workflows += event.flight_id not in self.flights
        self.flights[event.flight_id] = Kept(stamp, flight)
        self.flights.move_to_end(event.flight_id)
        self._forget(stamp)
        self.flight_bytes += logical_bytes(FLIGHT, event.flight_id, flight)
        self.events += 1
        self.last_stamp = stamp

    def expires_at(self, kept: Kept) -> float:
        """When a flight expires, in seconds since the epoch."""
        return kept.version / 1e6 + self.retention

    def _forget(self, stamp: int) -> None:
        """Drop the oldest flight if it expired long ago, so that a year of them fits in memory."""
        oldest = next(iter(self.flights.values()))
        if self.expires_at(oldest) + FORGET_AFTER < stamp / 1e6:
            self.flights.popitem(last=False)

    def _entries(self, service: str, key: str) -> Entries:
        kept = self.objects.get((service, key))
        return {} if kept is None else kept.entries


class Comparison(NamedTuple):
    """What a comparison saw: objects and living flights that agree, and each difference."""

    objects: int
    flights: int
    differences: list[str]


def compare(db: Store, record: Record) -> Comparison:
    """Hold the whole database against the record: entries, versions, presence, absence."""
    differences: list[str] = []
    found = {(service, stored.key): stored for service in OBJECTS for stored in db.scan(service)}
    differences += differing(record.objects, found)
    before = time.time()
    flights = {stored.key: stored for stored in db.scan(FLIGHT)}
    after = time.time()
    known = {key: kept for key, kept in record.flights.items() if key in flights}
    differences += differing(known, flights)
    differences += wrongly_expired(record, flights, before, after)
    return Comparison(len(found), len(flights), differences)


def differing(expected: Mapping[Name, Kept], found: Mapping[Name, StoredObject]) -> Iterable[str]:
    """Each object that is missing, is there without a reason, or holds something else."""
    for name in expected.keys() | found.keys():
        kept, stored = expected.get(name), found.get(name)
        if kept is None:
            yield f"{name}: is there, and no returned commit wrote it"
        elif stored is None:
            yield f"{name}: is lost"
        elif stored.entries != kept.entries:
            yield f"{name}: holds {stored.entries}, not {kept.entries}"
        elif stored.version != kept.version:
            yield f"{name}: is of commit {stored.version}, not {kept.version}"


def wrongly_expired(
    record: Record, flights: Mapping[str, StoredObject], before: float, after: float
) -> Iterable[str]:
    """Flights absent before their time or there after it; they were read between two times."""
    for key, kept in record.flights.items():
        expires_at = record.expires_at(kept)
        if key in flights:
            if expires_at < before - CLOCK_SLACK:
                yield f"flight {key}: is there {before - expires_at:.1f} s after its expiry"
        elif expires_at > after + CLOCK_SLACK:
            yield f"flight {key}: is lost {expires_at - after:.1f} s before its expiry"


def logical_bytes(service: str, key: str, entries: Entries) -> int:
    """Bytes of an object's names, each once for every entry, and of its values."""
    names = len(service.encode()) + len(key.encode())
    return sum(names + len(name.encode()) + len(value) for name, value in entries.items())
