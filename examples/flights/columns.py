"""What a row of flight events holds: its columns, their limits, and what a bad row is."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

import msgspec

MISSING = ("", "NA")
HOUR = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")


class FlightEvent(msgspec.Struct, frozen=True, gc=False):
    """One flight. Delays and ``air_time`` in minutes, ``distance`` in miles, times local hhmm.

    ``departed`` and ``departure_delay`` are None together, for a cancelled
    flight; then nothing after them is known either. ``arrival_delay`` is None
    for a flight that left and did not arrive as planned.
    """

    hour: str
    carrier: str
    number: int
    aircraft: str | None
    origin: str
    dest: str
    scheduled_departure: int
    departed: int | None
    departure_delay: int | None
    scheduled_arrival: int
    arrived: int | None
    arrival_delay: int | None
    air_minutes: int | None
    distance: int

    @property
    def flight_id(self) -> str:
        """Carrier and number, scheduled hour and route: one flight of all years."""
        return f"{self.carrier}{self.number}/{self.hour}/{self.origin}-{self.dest}"


class BadRow(Exception):
    """A row that is not an event: ``line`` counts from 1, the header included.

    ``column`` is the name of the field that is wrong, "" where the row as a
    whole is.
    """

    def __init__(self, line: int, column: str, reason: str) -> None:
        super().__init__(line, column, reason)
        self.line = line
        self.column = column
        self.reason = reason

    def __str__(self) -> str:
        where = f"line {self.line}, column {self.column}" if self.column else f"line {self.line}"
        return f"{where}: {self.reason}"


def required_text(text: str) -> str:
    """The text itself; ValueError where it is missing or not UTF-8."""
    if text in MISSING:
        raise ValueError("is missing")
    if not text.isprintable():
        raise ValueError(f"{text!r} is not printable UTF-8 text")
    return text


def number(text: str, least: int, most: int) -> int:
    """A whole number in ASCII digits within the limits, both included."""
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 9:
        raise ValueError(f"{text!r} is not a whole number" if text else "is missing")
    value = int(text)
    if not least <= value <= most:
        raise ValueError(f"{value} is not between {least} and {most}")
    return value


def hour(text: str) -> str:
    """An hour like ``2013-01-31T09:00:00Z``, unchanged."""
    required_text(text)
    try:
        if HOUR.fullmatch(text):
            datetime.fromisoformat(text)
            return text
    except ValueError:
        pass
    raise ValueError(f"{text!r} is not a time like 2013-01-31T09:00:00Z")


def clock_time(text: str) -> int:
    """A time of day as hhmm, from 0 to 2400."""
    value = number(text, 0, 2400)
    if value % 100 > 59:
        raise ValueError(f"{text!r} is not a time of day as hhmm")
    return value


def flight_number(text: str) -> int:
    return number(text, 1, 99_999)


def minutes(text: str) -> int:
    return number(text, -100_000, 100_000)


def minutes_in_air(text: str) -> int:
    return number(text, 0, 100_000)


def miles(text: str) -> int:
    return number(text, 0, 25_000)


class Column(NamedTuple):
    """A column of the file: its parser raises ValueError with what is wrong."""

    name: str
    parse: Callable[[str], object]
    may_miss: bool


COLUMNS = (
    Column("time_hour", hour, False),
    Column("carrier", required_text, False),
    Column("flight", flight_number, False),
    Column("tailnum", required_text, True),
    Column("origin", required_text, False),
    Column("dest", required_text, False),
    Column("sched_dep_time", clock_time, False),
    Column("dep_time", clock_time, True),
    Column("dep_delay", minutes, True),
    Column("sched_arr_time", clock_time, False),
    Column("arr_time", clock_time, True),
    Column("arr_delay", minutes, True),
    Column("air_time", minutes_in_air, True),
    Column("distance", miles, False),
)
"""In the order of the fields of FlightEvent."""
