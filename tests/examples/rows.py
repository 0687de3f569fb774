"""Event files made by hand, and the kinds of flight there are."""

from __future__ import annotations

from pathlib import Path

from examples.flights.columns import COLUMNS, FlightEvent

HEADER = ",".join(column.name for column in COLUMNS)
FIELDS = {
    "time_hour": "2013-01-01T10:00:00Z",
    "carrier": "UA",
    "flight": "1545",
    "tailnum": "N14228",
    "origin": "EWR",
    "dest": "IAH",
    "sched_dep_time": "515",
    "dep_time": "517",
    "dep_delay": "2",
    "sched_arr_time": "819",
    "arr_time": "830",
    "arr_delay": "11",
    "air_time": "227",
    "distance": "1400",
}
CANCELLED = dict.fromkeys(["dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"], "")


def row(**changed: str) -> str:
    return ",".join({**FIELDS, **changed}.values())


def write(path: Path, *lines: str) -> Path:
    path.write_bytes("".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"))
    return path


ARRIVED = FlightEvent(
    hour="2013-01-01T10:00:00Z",
    carrier="UA",
    number=1545,
    aircraft="N14228",
    origin="EWR",
    dest="IAH",
    scheduled_departure=515,
    departed=517,
    departure_delay=2,
    scheduled_arrival=819,
    arrived=830,
    arrival_delay=11,
    air_minutes=227,
    distance=1400,
)
"""The event of ``row()``."""
