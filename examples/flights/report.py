"""What a person sees: lines, a progress bar on a terminal, the figures at the end."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

import kvengine
from examples.flights.aggregate import (
    AIRCRAFT,
    AIRPORT,
    CARRIER,
    DELAY_STEPS,
    Aircraft,
    Airport,
    Carrier,
    fields,
)
from kvengine.store import Stats, Store

KINDS: dict[str, type[Aircraft | Airport | Carrier]] = {
    CARRIER: Carrier,
    AIRPORT: Airport,
    AIRCRAFT: Aircraft,
}
BUSY = {CARRIER: "flights", AIRPORT: "departures", AIRCRAFT: "flights"}
"""By which entry an object is busier than another."""

LINES_A_RUN = 10


class Advance(Protocol):
    """Tells how many of the steps are done in all."""

    def __call__(self, done: int, /) -> None: ...


def say(text: str = "") -> None:
    """A line on standard output, at once."""
    print(text, flush=True)


def heading(text: str) -> None:
    say(f"\n{text}")


def fact(name: str, value: str) -> None:
    """One aligned line: what it is, and its value."""
    say(f"  {name:<22}{value}")


def show_progress(total: int, done: int) -> AbstractContextManager[Advance]:
    """Progress from ``done`` to ``total``: a bar on a terminal with rich, lines elsewhere."""
    if sys.stdout.isatty():
        try:
            return _bar(total, done)
        except ImportError:
            pass
    return _lines(total, done)


def _bar(total: int, done: int) -> AbstractContextManager[Advance]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

    columns = (BarColumn(), MofNCompleteColumn(), "commits", TimeElapsedColumn())

    @contextmanager
    def bar() -> Generator[Advance]:
        with Progress("  {task.percentage:>3.0f}%", *columns) as progress:
            task = progress.add_task("commits", total=total, completed=done)
            yield lambda completed: progress.update(task, completed=completed)

    return bar()


@contextmanager
def _lines(total: int, done: int) -> Generator[Advance]:
    shown = done * LINES_A_RUN // total

    def advance(completed: int, /) -> None:
        nonlocal shown
        if completed * LINES_A_RUN // total > shown:
            shown = completed * LINES_A_RUN // total
            say(f"  {100 * completed // total:>3}%  {completed:,} of {total:,} commits")

    yield advance


def size(count: float) -> str:
    """Bytes as a person reads them."""
    for unit in ("bytes", "kB", "MB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def levels(stats: Stats) -> None:
    """A line for each level that holds segments."""
    for level in stats.levels:
        if level.segments:
            fact(
                f"level {level.level}",
                f"{level.segments} segments, {size(level.bytes)}, {level.objects:,} rows",
            )
    fact("WAL and memtable", f"{size(stats.wal_bytes)}, {stats.memtable_objects:,} rows")


def busiest(db: kvengine.Engine) -> None:
    """The state of the busiest carrier, airport and aircraft, as the database holds it."""
    for service, kind in KINDS.items():
        found = [
            (db.object(service, key).get(BUSY[service], 0, type=int), key)
            for key in db.object_keys(service)
        ]
        if not found:
            continue
        _, key = max(found)
        heading(f"{service}/{key}, the busiest of {len(found):,} (minutes, miles)")
        with db.object(service, key).session(kind, read_only=True) as state:
            for name in fields(kind):
                value = getattr(state, name)
                fact(name, histogram(value) if name == "delays" else _plain(value))


def count(db: Store, service: str) -> int:
    """How many objects of a service exist."""
    return sum(1 for _ in db.object_keys(service))


def histogram(delays: list[int]) -> str:
    """Shares of the steps of a histogram of delays, in percent."""
    total = sum(delays) or 1
    labels = ["on time", *(f"<={step}" for step in DELAY_STEPS[1:]), "more"]
    shares = zip(labels, delays, strict=True)
    return ", ".join(f"{label} {100 * share / total:.0f}%" for label, share in shares)


def _plain(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else "unknown" if value is None else str(value)
