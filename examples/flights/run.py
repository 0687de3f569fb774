"""The demo itself: apply, kill, recover and check, finish, watch retention return the space."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import kvengine
from examples.flights import report
from examples.flights.aggregate import FLIGHT
from examples.flights.columns import BadRow, FlightEvent
from examples.flights.events import EventFileError, pass_over, read_events
from examples.flights.record import OBJECTS, Record, commits_of, compare, logical_bytes
from examples.flights.supervise import WorkerFailed, WorkerProcess
from examples.flights.worker import EXPIRY_GRACE, MEMTABLE_SIZE, WorkerSettings, open_database
from kvengine.store import Stats, Store

SHOWN_BAD_ROWS = 5
SHOWN_DIFFERENCES = 10

SPACE_WAIT = 30.0
"""Seconds after the grace in which the space of expired flights must come back."""

SPACE_FACTOR, SPACE_FLOOR = 2, MEMTABLE_SIZE + 250_000
"""It is back when the directory is below this multiple of the live bytes, plus a WAL."""


class DemoFailed(Exception):
    """The database did not keep a promise; the message says which."""


class Survey(NamedTuple):
    """How many events a file holds, and how many commits they will make."""

    events: int
    commits: int


def survey(path: str | Path, *, skip_bad_rows: bool) -> Survey:
    """What the file holds. It is read to its end before anything is written.

    Bad rows are raised, or counted and shown; EventFileError where no event is left.
    """
    bad: list[BadRow] = []
    events = commits = 0
    for event in read_events(path, on_bad_row=bad.append if skip_bad_rows else None):
        events += 1
        commits += len(commits_of(event))
    for row in bad[:SHOWN_BAD_ROWS]:
        report.fact("skipped", str(row))
    if bad:
        report.fact("bad rows skipped", f"{len(bad):,}")
    if not events:
        raise EventFileError(f"{path}: no events")
    return Survey(events, commits)


class Demo:
    """One run over the events of a file; the stamps that the worker has reported so far."""

    def __init__(self, settings: WorkerSettings, total: Survey) -> None:
        self.settings = settings
        self.total = total
        self.stamps: list[int] = []
        self.record = Record(self.events(), settings.retention)
        self.busy_seconds = 0.0

    def run(self) -> None:
        """All steps; DemoFailed at the first promise that is not kept."""
        began = time.monotonic()
        total = self.total.commits
        report.heading(f"1. A worker handles events, session after session: {total // 2:,} commits")
        self.apply(total // 2, then_kill=True)
        report.heading("2. Reopened: is every returned commit there?")
        self.check(in_flight=1)
        report.heading(f"3. A new worker goes on from event {self.record.under_way.number:,}")
        self.apply(total, then_kill=False)
        self.check(in_flight=0)
        seconds = time.monotonic() - began
        report.heading("4. Retention: flights expire, and their space comes back")
        with self.open() as db:
            stats = self.watch_retention(db)
            self.summary(db, stats, seconds)

    def open(self) -> kvengine.Engine:
        return open_database(self.settings.directory, self.settings.durability)

    def apply(self, target: int, *, then_kill: bool) -> None:
        """Let a worker make ``target`` commits in all; WorkerFailed if it ends before."""
        with WorkerProcess(self.settings) as worker:
            with report.show_progress(self.total.commits, len(self.stamps)) as advance:
                self._listen(worker, target, advance)
            if then_kill:
                self.stamps += worker.kill()
                report.fact("kill -9", f"worker {worker.pid}, {len(self.stamps):,} commits in")
            else:
                worker.finish()
        if len(self.stamps) < target:
            raise WorkerFailed(f"the worker ended after {len(self.stamps):,} commits")

    def _listen(self, worker: WorkerProcess, target: int, advance: Callable[[int], None]) -> None:
        """Collect and record stamps up to ``target``; the time between the first and the last."""
        first: float | None = None
        for stamps in worker.stamps():
            first = first or time.monotonic()
            self.stamps += stamps
            self._record()
            advance(len(self.stamps))
            if len(self.stamps) >= target:
                break
        if first is not None:
            self.busy_seconds += time.monotonic() - first

    def check(self, *, in_flight: int) -> None:
        """Reopen and compare all of it with the record; DemoFailed for any difference.

        The events say what each commit was, so the stamps that were reported
        fix the state of every object. Up to ``in_flight`` commits beyond those
        that returned may be there: the one that was under way when the worker
        died. Its stamp is the last in the database.
        """
        began = time.monotonic()
        with self.open() as db:
            opened = time.monotonic() - began
            returned, last = len(self.stamps), db.stats().last_stamp
            found = bisect_right(self.stamps, last) + (last > max(self.stamps[-1:], default=0))
            if not returned <= found <= returned + in_flight:
                raise DemoFailed(f"{returned:,} commits returned, {found:,} are in the database")
            if found > returned:
                self.stamps.append(last)
            self._record()
            seen = compare(db, self.record)
        report.fact("recovered in", f"{opened:.2f} s")
        report.fact("commits", f"{returned:,} returned, {found:,} found")
        report.fact("last event", "{:,}: {} of its {} commits".format(*self.record.under_way))
        report.fact("compared", f"{seen.objects:,} objects, {seen.flights:,} living flights")
        if seen.differences:
            shown = "\n  ".join(seen.differences[:SHOWN_DIFFERENCES])
            raise DemoFailed(f"differences: {len(seen.differences):,}\n  {shown}")
        report.fact("differences", "none")

    def _record(self) -> None:
        """Bring the record up to the last stamp; DemoFailed where no commit is left to be made."""
        returned, wanted = len(self.stamps), self.total.commits
        if returned > wanted:
            raise DemoFailed(f"{returned:,} commits were reported, the events make {wanted:,}")
        for stamp in self.stamps[self.record.commits :]:
            self.record.add(stamp)

    def events(self) -> Iterator[FlightEvent]:
        """The events that are applied, in order."""
        ignore = pass_over if self.settings.skip_bad_rows else None
        return read_events(self.settings.events, on_bad_row=ignore)

    def watch_retention(self, db: Store) -> Stats:
        """Wait for the last flight to expire, and for the space; the figures after it."""
        before = db.stats()
        alive = report.count(db, FLIGHT)
        last = self.record.last_stamp / 1e6 + self.record.retention
        report.fact("on disk before", size_and_flights(before, alive))
        time.sleep(max(last - time.time(), 0) + 0.05)
        alive = report.count(db, FLIGHT)
        report.fact("retention over", f"{alive:,} flights readable, at once")
        if alive:
            raise DemoFailed(f"{alive:,} flights are readable after their expiry")
        live = live_bytes(db)
        after = wait_for_space(db, SPACE_FACTOR * live + SPACE_FLOOR)
        report.fact("on disk after", size_and_flights(after, alive))
        written = report.size(self.record.flight_bytes)
        report.fact("flights had written", f"{written} of names and values")
        report.fact("live objects hold", f"{report.size(live)} of names and values")
        return after

    def summary(self, db: kvengine.Engine, stats: Stats, seconds: float) -> None:
        """The figures at the end."""
        report.heading("Result")
        rate = self.total.events / seconds
        report.fact("events/s", f"{rate:,.0f}, with start, kill, recovery and checks")
        report.fact("commits/s", f"{len(self.stamps) / max(self.busy_seconds, 1e-9):,.0f} at work")
        report.fact("durability", self.settings.durability)
        report.fact("bytes on disk", report.size(stats.bytes_on_disk))
        report.levels(stats)
        report.fact("expired workflows", f"{self.record.workflows:,} of {self.record.workflows:,}")
        report.busiest(db)


def size_and_flights(stats: Stats, alive: int) -> str:
    return f"{report.size(stats.bytes_on_disk)}, {alive:,} flights readable"


def live_bytes(db: Store) -> int:
    """Bytes of names and values of all virtual objects."""
    return sum(
        logical_bytes(stored.service, stored.key, stored.entries)
        for service in OBJECTS
        for stored in db.scan(service)
    )


def wait_for_space(db: Store, limit: int) -> Stats:
    """Wait without any call that helps until the directory is within ``limit`` bytes.

    DemoFailed when the time for that is over.
    """
    began = time.monotonic()
    while (stats := db.stats()).bytes_on_disk > limit:
        if time.monotonic() - began > EXPIRY_GRACE + SPACE_WAIT:
            raise DemoFailed(
                f"{report.size(stats.bytes_on_disk)} on disk, {SPACE_WAIT:.0f} s after the grace;"
                f" at most {report.size(limit)} were promised"
            )
        time.sleep(0.1)
    report.fact("space back after", f"{time.monotonic() - began:.1f} s")
    return stats
