"""What a command prints: text for people, or JSON lines; colour and bars on a terminal alone."""

from __future__ import annotations

import os
import shutil
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import click

from kvengine.inspection.document import line
from kvengine.inspection.escape import safe
from kvengine.real_time import monotonic
from kvengine.storage.clock import SECOND

_LINE_SECONDS = 10.0
"""Between two lines of progress, where there is no terminal for a bar."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Advance(Protocol):
    """Told how much is done, of how much (0: not known), and of what if that has changed."""

    def __call__(self, done: int, total: int, what: str = "", /) -> None: ...


class Output:
    """Standard output of one command. ``json``: what it prints are JSON lines and nothing else."""

    def __init__(self, *, json: bool) -> None:
        self.json = json

    def say(self, text: str = "", **style: Any) -> None:
        """A line for people; nothing where JSON was asked for."""
        if not self.json:
            plain = not style or "NO_COLOR" in os.environ
            click.echo(text if plain else click.style(text, **style))

    def record(self, data: object) -> None:
        """A line of JSON, where it was asked for."""
        if self.json:
            click.echo(line(data))

    def note(self, text: str) -> None:
        """A line beside the result, on standard error."""
        click.echo(safe(text), err=True)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Columns for people. Those whose name begins with ">" are aligned to the right."""
        if self.json:
            return
        if sys.stdout.isatty():
            _rich_table(columns, rows)
        else:
            for text in aligned([[one.lstrip(">") for one in columns], *rows], columns):
                click.echo(text)

    @contextmanager
    def progress(self, what: str, *, lines: bool = False) -> Iterator[Advance]:
        """A bar on a terminal; nothing elsewhere, nor beside JSON.

        ``lines``: for what may take hours, a line now and then where there is no terminal.
        """
        if self.json:
            yield _nowhere
            return
        if not (sys.stderr.isatty() and sys.stdout.isatty()):
            yield _Lines(self, what) if lines else _nowhere
            return
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(what, total=None)

            def advance(done: int, total: int, what: str = what, /) -> None:
                bar.update(task, completed=done, total=total or None, description=what)

            yield advance


class _Lines:
    """Progress as lines on standard error, none of them in the first seconds."""

    def __init__(self, out: Output, what: str) -> None:
        self._out = out
        self._what = what
        self._next = monotonic() + _LINE_SECONDS

    def __call__(self, done: int, total: int, what: str = "", /) -> None:
        self._what = what or self._what
        now = monotonic()
        if now >= self._next:
            self._next = now + _LINE_SECONDS
            of = f" of {total:,}" if total else ""
            self._out.note(f"{self._what}: {done:,}{of}")


def aligned(rows: Sequence[Sequence[str]], columns: Sequence[str]) -> Iterator[str]:
    """Rows as lines, padded to the widest cell of each column; nothing is cut."""
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            cell.rjust(width) if name.startswith(">") else cell.ljust(width)
            for cell, width, name in zip(row, widths, columns, strict=True)
        )
        yield "  ".join(cells).rstrip()


def columns() -> int:
    """Columns of the terminal, or $COLUMNS; 80 where there is neither."""
    return shutil.get_terminal_size((80, 24)).columns


def cells(text: str) -> int:
    """Columns that a text takes on a terminal; what is East Asian takes two each."""
    return len(text) if text.isascii() else sum(map(_cells, text))


def cut(text: str, room: int) -> str:
    """As much of a text as ``room`` columns hold."""
    if text.isascii():
        return text[:room]
    taken = 0
    for at, character in enumerate(text):
        taken += _cells(character)
        if taken > room:
            return text[:at]
    return text


def _cells(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def moment(microseconds: int | None) -> str:
    """A time for people, in UTC to the second."""
    if microseconds is None:
        return "never"
    try:
        return (_EPOCH + timedelta(microseconds=microseconds)).strftime("%Y-%m-%d %H:%M:%SZ")
    except (OverflowError, ValueError):
        return f"{microseconds} microseconds"


def counted(number: int, noun: str) -> str:
    """``1 object``, ``2,000 objects``, ``3 entries``."""
    if number == 1:
        return f"1 {noun}"
    return f"{number:,} {noun[:-1]}ies" if noun.endswith("y") else f"{number:,} {noun}s"


def expiry(at: float | None) -> str:
    return moment(None if at is None else int(at * SECOND))


def size(count: int) -> str:
    """Bytes for people."""
    if count < 10_000:
        return f"{count:,} B"
    scaled, units = count / 1024, ["TiB", "GiB", "MiB", "KiB"]
    while scaled >= 1000 and len(units) > 1:
        scaled /= 1024
        units.pop()
    return f"{scaled:,.1f} {units[-1]}"


def _nowhere(done: int, total: int, what: str = "", /) -> None:
    """Progress that nobody looks at."""
    del done, total, what


def _rich_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(
            name.lstrip(">"),
            justify="right" if name.startswith(">") else "left",
            overflow="fold",
        )
    for row in rows:
        table.add_row(*map(Text, row))
    Console(highlight=False).print(table)
