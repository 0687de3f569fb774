"""Import: JSON lines as `export` writes them, into a database.

Lines are written in batches (writer.py: what a mode does to an object), each one commit.
After an error, or a kill, everything up to some line is written and nothing behind it; with mode
"replace" the same lines may simply come again, and ``start_line`` saves the time for those done.

Exports may follow one another in one input. Each ends with a line that counts it, and a count
that does not hold is an error: lines were lost. So is an input that ends without such a line,
unless ``partial``: for what other tools have picked from an export, or a person has written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import BinaryIO

from kvengine.errors import KVEngineError, ValueTooLarge
from kvengine.inspection.document import BadDocument, completion_of, expiry_of, read_document
from kvengine.inspection.transfer.export import end_of, is_end, values_of
from kvengine.inspection.transfer.walk import Counts, microseconds
from kvengine.inspection.transfer.writer import (
    BATCH_BYTES,
    BATCH_OBJECTS,
    Incoming,
    Mode,
    Target,
    TooLargeForStore,
    Writer,
    Written,
)
from kvengine.options import MIB, Durability
from kvengine.real_time import wall
from kvengine.storage.names import check_name

MAX_LINE = 512 * MIB
"""Bytes: twice the largest value of a database that was opened with no other limit."""


class BadLine(BadDocument):
    """A line that cannot be imported; up to line ``applied`` everything is written."""

    def __init__(self, line: int, applied: int, reason: str) -> None:
        super().__init__(line, applied, reason)
        self.line = line
        self.applied = applied
        self.reason = reason

    def __str__(self) -> str:
        return f"line {self.line}: {self.reason} (mend it, and go on from line {self.applied + 1})"


class Incomplete(KVEngineError):
    """The input ends without an end line. All that it has is written, as ``written`` tells."""

    def __init__(self, reason: str, written: Written) -> None:
        super().__init__(reason)
        self.written = written


def import_lines(
    lines: BinaryIO | Iterable[bytes],
    store: Target,
    *,
    mode: Mode = "replace",
    start_line: int = 1,
    partial: bool = False,
    plain: bool = False,
    dry_run: bool = False,
    max_line: int = MAX_LINE,
    batch_objects: int = BATCH_OBJECTS,
    batch_bytes: int = BATCH_BYTES,
    durability: Durability | None = None,
    now: Callable[[], float] = wall,
    progress: Callable[[Written], object] | None = None,
) -> Written:
    """Write the documents of ``lines`` (an open file or pipe of bytes, or any lines) to a store.

    ``start_line``: lines before it are only counted. ``plain``: entries are JSON values as they
    are, ``{"name": "Alice"}``, not the forms that `export` writes. ``dry_run``: check and count,
    and write nothing. ``max_line``: a longer line is refused, in bytes. ``progress`` is told after
    each batch. BadLine (a ValueError), ObjectExists with mode "new", Incomplete at the end (all it
    has is written), or what a write of the store raises; ``progress`` was told what is written.
    """
    if start_line < 1:
        raise ValueError(f"start_line must be 1 or more, not {start_line}")
    writer = Writer(
        store,
        mode,
        now=now,
        durability=durability,
        batch_objects=batch_objects,
        batch_bytes=batch_bytes,
        dry_run=dry_run,
        progress=progress,
    )
    writer.reached(start_line - 1)
    section = _Section()
    number = 0
    try:
        for number, text in enumerate(_bounded(lines, max_line), 1):
            try:
                if len(text) > max_line:
                    raise BadDocument(
                        f"it is over {max_line:,} bytes; if it is meant, raise max_line"
                    )
                _take(text, number, start_line, section, writer, plain=plain)
            except BadDocument as error:
                writer.flush()
                writer.reached(number - 1)
                raise BadLine(number, writer.written.line, str(error)) from None
        writer.flush()
    except TooLargeForStore as error:
        raise BadLine(error.one.line, writer.written.line, str(error)) from error
    writer.reached(number)
    if not (section.closed or partial):
        raise Incomplete(
            f"the input ends behind line {number} without the end line of an export: it was cut,"
            " or is a part of one, which is imported with partial=True",
            writer.written,
        )
    return writer.written


class _Section:
    """The lines since the last end line: what that of this export must count."""

    def __init__(self) -> None:
        self.counts = Counts()
        self.unread = 0
        self.closed = False

    def add(self, entries: dict[str, bytes] | None) -> None:
        """One more document; None: of entries that nobody looked at."""
        self.closed = False
        if entries is None:
            self.unread += 1
        else:
            self.counts = self.counts.plus(entries)

    def end(self, told: Counts) -> None:
        """BadDocument where lines are missing, or are too many."""
        objects = self.counts.objects + self.unread
        if told.objects != objects or (not self.unread and told != self.counts):
            raise BadDocument(
                f"the end line tells of {told.objects:,} objects with {told.entries:,} entries"
                f" ({told.bytes:,} bytes), not of the {objects:,} before it"
                f"{self._more()}: lines were lost, or changed"
            )
        self.counts, self.unread, self.closed = Counts(), 0, True

    def _more(self) -> str:
        if self.unread:
            return ""
        return f" with {self.counts.entries:,} entries ({self.counts.bytes:,} bytes)"


def _take(
    text: bytes, number: int, start: int, section: _Section, writer: Writer, *, plain: bool
) -> None:
    """One line: a document, an end line, or a blank."""
    if is_end(text):
        section.end(end_of(text))
    elif not text.strip():
        return
    elif number < start:
        section.add(None)
    else:
        one = incoming(text, number, plain=plain)
        section.add(one.entries)
        writer.add(one)


def incoming(text: bytes, number: int = 0, *, plain: bool = False) -> Incoming:
    """A line as an object to write; BadDocument says what is wrong."""
    data = read_document(text)
    if plain:
        data["entries"] = {name: {"value": value} for name, value in data["entries"].items()}
    if data.get("complete") is False:
        raise BadDocument("this document holds only part of its object: export it in whole")
    entries = values_of(data)
    expiries = {}
    try:
        name = (check_name("service", data["service"]), check_name("key", data["key"]))
        for state_key, form in data["entries"].items():
            at = expiry_of(form, f"entry {check_name('state key', state_key)!r}")
            if at is not None:
                expiries[state_key] = microseconds(at)
    except ValueTooLarge as error:
        raise BadDocument(str(error)) from None
    at = expiry_of(data, "document")
    done = completion_of(data)
    return Incoming(
        name,
        None if at is None else microseconds(at),
        entries,
        expiries,
        number,
        None if done is None else microseconds(done),
    )


def _bounded(lines: BinaryIO | Iterable[bytes], most: int) -> Iterable[bytes]:
    """The lines; of one that is over ``most`` bytes little more than those is read."""
    read = getattr(lines, "readline", None)
    return lines if read is None else iter(lambda: read(most + 1), b"")
