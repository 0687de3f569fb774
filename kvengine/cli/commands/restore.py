"""``kvengine restore``: a generation of a backup as a database."""

from __future__ import annotations

import click

from kvengine.cli.exits import DAMAGED, Exit
from kvengine.cli.output import counted, moment, size
from kvengine.cli.tool import PATH, Tool, tool_command
from kvengine.inspection.escape import safe


@click.command()
@click.argument("directory", type=PATH)
@click.argument("into", type=PATH)
@click.option("--generation", type=click.IntRange(min=1), metavar="N", help="Not the newest.")
@tool_command
def command(tool: Tool, directory: str, into: str, generation: int | None) -> None:
    """Make INTO, absent or empty, the database that a backup in DIRECTORY holds.

    Every checksum is checked; where one does not hold, nothing is there that opens.
    """
    from kvengine.inspection.backup.files import DamagedBackup
    from kvengine.inspection.backup.restore import restore

    tool.directory("pg_restore restores a backup; copy moves a restored directory there", into)
    try:
        with tool.out.progress("restoring") as advance:
            made = restore(
                directory,
                into,
                generation,
                progress=lambda so_far: advance(so_far.done, so_far.total),
            )
    except DamagedBackup as error:
        raise Exit(DAMAGED, str(error)) from None
    tool.out.record(made._asdict())
    tool.out.say(
        f"generation {made.generation} in {safe(into)}: {counted(made.files, 'file')},"
        f" {size(made.bytes)}, up to {moment(made.stamp)}"
    )
