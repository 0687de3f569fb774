"""``kvengine repair``: a new database of what a damaged one still holds."""

from __future__ import annotations

import click

from kvengine.cli.exits import NO, Exit
from kvengine.cli.output import counted
from kvengine.cli.tool import PATH, Tool, tool_command
from kvengine.inspection.escape import safe


@click.command()
@click.argument("directory", type=PATH)
@tool_command
def command(tool: Tool, directory: str) -> None:
    """Make a new database at DIRECTORY of all that can be read of this one.

    The damaged one is not touched. Ends with 1 where something was lost.
    """
    from kvengine.storage.repair.repair import repair

    instead = "what pg_dump or a backup of the server holds is restored"
    report = repair(tool.directory(instead), tool.directory(instead, directory))
    what = f"{counted(report.objects, 'object')}, {counted(report.entries, 'entry')}"
    tool.out.say(f"{what} in {safe(report.into)}")
    if not report.lost:
        tool.out.say("nothing was lost")
    lost = [str(one) for one in report.lost]
    for one in lost:
        tool.out.say(f"lost: {safe(one)}")
    for one in report.notes:
        tool.out.say(f"note: {safe(one)}")
    tool.out.record(
        {
            "into": report.into,
            "objects": report.objects,
            "entries": report.entries,
            "lost": lost,
            "notes": list(report.notes),
        }
    )
    if lost:
        raise Exit(NO)
