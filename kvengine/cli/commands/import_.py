"""``kvengine import``: objects from JSON lines."""

from __future__ import annotations

import sys

import click

from kvengine.cli.exits import FAILED, USAGE, Exit
from kvengine.cli.output import counted
from kvengine.cli.tool import PATH, Tool, tool_command
from kvengine.inspection.transfer.writer import Written

MODES = ("replace", "merge", "skip", "new")
HELP = "What to do with an object that is there."


@click.command()
@click.argument("file", type=PATH, default="-")
@click.option("--mode", type=click.Choice(MODES), default="replace", show_default=True, help=HELP)
@click.option("--start-line", type=click.IntRange(min=1), default=1, help="Go on at this line.")
@click.option("--partial", is_flag=True, help="The lines are part of an export, or hand-made.")
@click.option("--plain", is_flag=True, help="Entries are JSON values as they are.")
@click.option("--create", is_flag=True, help="Make the database if there is none.")
@click.option("-n", "--dry-run", is_flag=True, help="Check and count, write nothing.")
@tool_command
def command(
    tool: Tool,
    file: str,
    mode: str,
    start_line: int,
    partial: bool,
    plain: bool,
    create: bool,
    dry_run: bool,
) -> None:
    """Read objects from FILE, as export writes them.

    Without FILE, or for -, from standard input. With --plain a line is
    {"service": "S", "key": "k", "entries": {"name": "Alice", "visits": 3}}.

    replace: an object becomes what its line says. merge: entries are set, others stay.
    skip: objects that are there stay as they are. new: they are an error.
    """
    from kvengine.inspection.transfer.import_ import BadLine, Incomplete, import_lines
    from kvengine.inspection.transfer.writer import TooLargeForStore

    if file == "-" and sys.stdin.isatty():
        raise Exit(USAGE, "import what? Give FILE, or lines on standard input")
    with (
        click.open_file(file, "rb") as lines,
        tool.open(write=not dry_run, create=create, absent="--create makes one") as access,
    ):
        try:
            with tool.out.progress("importing") as advance:
                written = import_lines(
                    lines,
                    access.store,
                    mode=mode,  # type: ignore[arg-type]
                    start_line=start_line,
                    partial=partial or plain,
                    plain=plain,
                    dry_run=dry_run,
                    progress=lambda so_far: advance(so_far.line, 0),
                )
        except BadLine as error:
            told = str(error).replace("go on from line", "go on with --start-line")
            wrote = error.applied >= start_line and not dry_run
            too_large = isinstance(error.__cause__, TooLargeForStore)
            code = FAILED if wrote or too_large else USAGE
            raise Exit(code, told.replace("plain=True", "--plain")) from None
        except Incomplete as error:
            _report(tool, error.written, dry_run=dry_run)
            raise Exit(FAILED, str(error).replace("partial=True", "--partial")) from None
    _report(tool, written, dry_run=dry_run)


def _report(tool: Tool, written: Written, *, dry_run: bool) -> None:
    """Counts, in a sentence or as JSON."""
    tool.out.record({**written._asdict(), "dry_run": dry_run})
    prefix = "dry run, nothing was written: " if dry_run else ""
    parts = [f"{counted(written.objects, 'object')}, {counted(written.entries, 'entry')}"]
    if written.skipped:
        parts.append(f"left alone, for they were there: {counted(written.skipped, 'object')}")
    if written.expired_objects or written.expired_entries:
        parts.append(
            f"left out as expired: {counted(written.expired_objects, 'object')},"
            f" {counted(written.expired_entries, 'other entry')}"
        )
    tool.out.say(prefix + "; ".join(parts))
