"""The demo's input: what is read as an event, and how a bad row is reported."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import pytest

from examples.flights.__main__ import main
from examples.flights.columns import BadRow, FlightEvent
from examples.flights.events import SHIPPED, EventFileError, read_events
from tests.examples.rows import CANCELLED, FIELDS, HEADER, row, write


def read(path: Path, *lines: str) -> list[FlightEvent]:
    return list(read_events(write(path / "events.csv", *lines)))


def test_a_row_becomes_an_event(tmp_path: Path) -> None:
    (event,) = read(tmp_path, HEADER, row())
    assert event.flight_id == "UA1545/2013-01-01T10:00:00Z/EWR-IAH"
    assert (event.departed, event.departure_delay, event.arrival_delay) == (517, 2, 11)
    assert (event.aircraft, event.distance, event.air_minutes) == ("N14228", 1400, 227)


@pytest.mark.parametrize("missing", ["", "NA"])
def test_missing_values_of_a_cancelled_flight_are_none(tmp_path: Path, missing: str) -> None:
    fields = dict.fromkeys([*CANCELLED, "tailnum"], missing)
    (event,) = read(tmp_path, HEADER, row(**fields))
    assert event.aircraft is None
    assert event.departed is None
    assert event.air_minutes is None


def test_columns_in_another_order_and_others_beside_them(tmp_path: Path) -> None:
    names = ["year", *reversed(FIELDS)]
    line = ",".join({"year": "2013", **FIELDS}[name] for name in names)
    assert read(tmp_path, ",".join(names), line) == read(tmp_path, HEADER, row())


def test_gzip_bom_quotes_blank_lines_and_carriage_returns(tmp_path: Path) -> None:
    (plain,) = read(tmp_path, HEADER, row())
    text = f"\ufeff{HEADER}\r\n\r\n{row(carrier=chr(34) + 'UA' + chr(34))}\r\n\r\n"
    packed = tmp_path / "events.bin"
    packed.write_bytes(gzip.compress(text.encode()))
    assert list(read_events(packed)) == [plain]


BAD_ROWS = {
    "a field too few": (row().rpartition(",")[0], ""),
    "a field too many": (f"{row()},1", ""),
    "a quote that never closes": (f'"{row()}', ""),
    "not UTF-8": (row(carrier="U\udcff"), "2 (carrier)"),
    "no hour": (row(time_hour=""), "1 (time_hour)"),
    "not an hour": (row(time_hour="2013-01-01 10:00"), "1 (time_hour)"),
    "an hour that does not exist": (row(time_hour="2013-02-30T10:00:00Z"), "1 (time_hour)"),
    "no carrier": (row(carrier="NA"), "2 (carrier)"),
    "a flight that is no number": (row(flight="15x"), "3 (flight)"),
    "a flight of zero": (row(flight="0"), "3 (flight)"),
    "a control character": (row(tailnum="N\x0012"), "4 (tailnum)"),
    "no origin": (row(origin=""), "5 (origin)"),
    "no destination": (row(dest=""), "6 (dest)"),
    "a destination that is the origin": (row(dest="EWR"), "6 (dest)"),
    "no scheduled time": (row(sched_dep_time=""), "7 (sched_dep_time)"),
    "a time past midnight": (row(sched_dep_time="2401"), "7 (sched_dep_time)"),
    "a time of 75 minutes": (row(dep_time="575"), "8 (dep_time)"),
    "a delay without a departure": (row(dep_time=""), "9 (dep_delay)"),
    "a departure without a delay": (row(dep_delay=""), "9 (dep_delay)"),
    "a delay in words": (row(dep_delay="late"), "9 (dep_delay)"),
    "a delay with a fraction": (row(dep_delay="2.5"), "9 (dep_delay)"),
    "digits of another script": (row(dep_delay="٢"), "9 (dep_delay)"),
    "an underscore in a number": (row(distance="1_400"), "14 (distance)"),
    "an arrival without a departure": (
        row(**CANCELLED | {"arr_time": "830"}),
        "11 (arr_time)",
    ),
    "an arrival delay without an arrival": (row(arr_time=""), "12 (arr_delay)"),
    "a negative time in the air": (row(air_time="-1"), "13 (air_time)"),
    "time in the air without a departure": (
        row(**CANCELLED | {"air_time": "20"}),
        "13 (air_time)",
    ),
    "no distance": (row(distance="NA"), "14 (distance)"),
    "a distance around the world": (row(distance="25001"), "14 (distance)"),
    "a number of ten digits": (row(distance="1" * 10), "14 (distance)"),
}


@pytest.mark.parametrize(("bad", "column"), BAD_ROWS.values(), ids=BAD_ROWS.keys())
def test_a_bad_row_names_its_line_and_column(tmp_path: Path, bad: str, column: str) -> None:
    path = write(tmp_path / "events.csv", HEADER, row(), bad, row(flight="2"))
    with pytest.raises(BadRow) as caught:
        list(read_events(path))
    assert (caught.value.line, caught.value.column) == (3, column)
    seen: list[BadRow] = []
    assert [event.number for event in read_events(path, on_bad_row=seen.append)] == [1545, 2]
    assert [(each.line, each.column) for each in seen] == [(3, column)]


def test_the_column_is_counted_in_the_file_at_hand(tmp_path: Path) -> None:
    with pytest.raises(BadRow) as caught:
        read(tmp_path, f"year,{HEADER}", f"2013,{row(carrier='')}")
    assert caught.value.column == "3 (carrier)"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"carrier,flight\n", "lacks time_hour, tailnum"),
        (b'"carrier\n', "not a CSV row"),
        (gzip.compress(HEADER.encode() * 50)[:-12], "damaged gzip"),
        (b"\x1f\x8b\x00\x00junk", "damaged gzip"),
    ],
)
def test_a_file_that_is_no_event_file_is_refused(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    path = tmp_path / "events.csv"
    path.write_bytes(content)
    with pytest.raises(EventFileError, match=reason):
        list(read_events(path))


def test_a_missing_file_and_a_directory_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EventFileError, match="No such file"):
        list(read_events(tmp_path / "none.csv"))
    with pytest.raises(EventFileError, match="directory"):
        list(read_events(tmp_path))


def test_the_shipped_events_are_january(tmp_path: Path) -> None:
    """27,004 flights, each a workflow of its own, none of them a bad row."""
    events = list(read_events(SHIPPED))
    assert len(events) == len({event.flight_id for event in events}) == 27_004
    assert sum(event.departed is None for event in events) == 521
    assert {event.origin for event in events} == {"EWR", "JFK", "LGA"}


def test_the_command_line_reports_a_bad_row_without_a_traceback(tmp_path: Path) -> None:
    path = write(tmp_path / "events.csv", HEADER, row(), row(distance="far"))
    command = [sys.executable, "-m", "examples.flights", "--events", str(path)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 2
    assert f"{path}: line 3, column 14 (distance): 'far' is not a whole number" in run.stderr
    assert "--skip-bad-rows" in run.stderr
    assert "Traceback" not in run.stderr


def test_a_directory_in_use_and_a_file_without_events_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = write(tmp_path / "empty.csv", HEADER)
    assert main(["--events", str(empty)]) == 2
    assert "no events" in capsys.readouterr().err
    one = write(tmp_path / "one.csv", HEADER, row())
    assert main(["--events", str(one), "--directory", str(tmp_path)]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert main(["--events", str(one), "--directory", str(one)]) == 2
    assert str(one) in capsys.readouterr().err
