"""Flight events out of a CSV file, and where in it a bad row is wrong.

A file is UTF-8 text, plain or gzip, one event a line under a header that names
the columns of ``COLUMNS`` in any order; others are ignored. Empty fields and
``NA`` are missing values.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from examples.flights.columns import COLUMNS, MISSING, BadRow, FlightEvent

SHIPPED = Path(__file__).parent / "data" / "flights-january.csv.gz"
"""The events that come with the example."""

GZIP_MAGIC = b"\x1f\x8b"


class EventFileError(Exception):
    """The file cannot be read as events at all; the message says why."""


class Header(NamedTuple):
    """Where the columns of COLUMNS stand in a row, and how many fields a row has."""

    places: tuple[int, ...]
    width: int


def fields_of(text: str, line: int) -> list[str]:
    """The fields of one line; BadRow where its quoting is broken."""
    try:
        rows = list(csv.reader([text], strict=True))
    except csv.Error as error:
        raise BadRow(line, "", f"not a CSV row ({error})") from error
    return rows[0] if rows else []


def parse_header(text: str) -> Header:
    """Where each column stands; EventFileError that names those which are absent."""
    try:
        names = [name.strip() for name in fields_of(text, 1)]
    except BadRow as error:
        raise EventFileError(str(error)) from error
    absent = [column.name for column in COLUMNS if column.name not in names]
    if absent:
        raise EventFileError(f"line 1: the header lacks {', '.join(absent)}")
    return Header(tuple(names.index(column.name) for column in COLUMNS), len(names))


def parse_row(text: str, line: int, header: Header) -> FlightEvent:
    """The event of one line; BadRow with the first thing that is wrong."""
    fields = fields_of(text, line)
    if len(fields) != header.width:
        raise BadRow(line, "", f"{len(fields)} fields where the header has {header.width}")
    values: list[object] = []
    for column, place in zip(COLUMNS, header.places, strict=True):
        field = fields[place].strip()
        if column.may_miss and field in MISSING:
            values.append(None)
            continue
        try:
            values.append(column.parse(field))
        except ValueError as error:
            raise BadRow(line, f"{place + 1} ({column.name})", str(error)) from error
    event = FlightEvent(*values)  # type: ignore[arg-type]  # parsed by COLUMNS, field by field
    check_whole(event, line, header)
    return event


def check_whole(event: FlightEvent, line: int, header: Header) -> None:
    """BadRow where fields that are fine alone contradict each other."""

    def bad(name: str, reason: str) -> BadRow:
        names = [column.name for column in COLUMNS]
        return BadRow(line, f"{header.places[names.index(name)] + 1} ({name})", reason)

    if event.origin == event.dest:
        raise bad("dest", f"{event.dest!r} is the origin too")
    if (event.departed is None) != (event.departure_delay is None):
        raise bad("dep_delay", "dep_time and dep_delay must both be there or both be missing")
    if event.departed is None and event.arrived is not None:
        raise bad("arr_time", "an arrival without a departure")
    if event.arrived is None and event.arrival_delay is not None:
        raise bad("arr_delay", "a delay at arrival without an arrival")
    if event.departed is None and event.air_minutes is not None:
        raise bad("air_time", "minutes in the air without a departure")


def pass_over(_: BadRow) -> None:
    """Leave a bad row out, and say nothing: for ``on_bad_row``."""


def read_events(
    path: str | Path, *, on_bad_row: Callable[[BadRow], None] | None = None
) -> Iterator[FlightEvent]:
    """The events of a file in order, read as they are asked for.

    A bad row goes to ``on_bad_row`` and is left out; without that it is raised.
    EventFileError where the file cannot be opened, decompressed or has no
    usable header. Blank lines are skipped.
    """
    line = 0
    header: Header | None = None
    try:
        with open_text(path) as stream:
            for line, text in enumerate(stream, 1):
                if header is None:
                    header = parse_header(text)
                elif not text.isspace():
                    try:
                        event = parse_row(text, line, header)
                    except BadRow as error:
                        if on_bad_row is None:
                            raise
                        on_bad_row(error)
                    else:
                        yield event
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise EventFileError(f"{path}: damaged gzip data after line {line}: {error}") from error
    except EventFileError as error:
        raise EventFileError(f"{path}: {error}") from error
    except OSError as error:
        raise EventFileError(f"{path}: {error.strerror or error}") from error
    if header is None:
        raise EventFileError(f"{path}: the file is empty")


@contextmanager
def open_text(path: str | Path) -> Generator[io.TextIOWrapper]:
    """Lines of a plain or gzip file. Bytes that are not UTF-8 become lone surrogates."""
    with open(path, "rb") as raw:
        magic = raw.read(len(GZIP_MAGIC))
        raw.seek(0)
        stream = gzip.GzipFile(fileobj=raw) if magic == GZIP_MAGIC else raw
        with io.TextIOWrapper(stream, "utf-8-sig", errors="surrogateescape") as text:
            yield text
