"""``kvengine copy``: objects from one database into another."""

from __future__ import annotations

import os

import click

from kvengine.cli import absent
from kvengine.cli.completion import complete_service
from kvengine.cli.exits import USAGE, Exit
from kvengine.cli.tool import PATH, Tool, tool_command
from kvengine.cli.written import MODES, report


@click.command()
@click.argument("source", type=PATH, metavar="SRC")
@click.argument("target", type=PATH, metavar="DST")
@click.option("--service", shell_complete=complete_service, help="Only the objects of this one.")
@click.option("--prefix", default="", help="Only keys that begin with it; needs --service.")
@click.option("--mode", type=click.Choice(MODES), default="replace", show_default=True)
@click.option("-n", "--dry-run", is_flag=True, help="Check and count, write nothing.")
@tool_command
def command(
    tool: Tool,
    source: str,
    target: str,
    service: str | None,
    prefix: str,
    mode: str,
    dry_run: bool,
) -> None:
    """Copy the objects of the database SRC, all of one moment, into the database DST.

    DST is made if need be. The modes are those of import.
    """
    if prefix and service is None:
        raise click.UsageError("--prefix is for object keys: give --service too")
    import kvengine
    from kvengine.inspection.transfer.copy import copy

    places = os.path.abspath(source), os.path.abspath(target)
    if os.path.realpath(places[0]) == os.path.realpath(places[1]):
        raise Exit(USAGE, "SRC and DST are one directory")
    only = None if service is None else tool.name("--service", service)
    with tool.open(places[0]) as reads:
        absent.check_service(reads.store, only)
        if not dry_run and not os.path.exists(os.path.join(places[1], "CURRENT")):
            kvengine.open(places[1], background="none").close()
        with tool.open(places[1], write=not dry_run) as writes:
            with tool.out.progress("copying") as advance:
                written = copy(
                    reads.store,
                    writes.store,
                    service=only,
                    prefix=tool.name("--prefix", prefix),
                    mode=mode,  # type: ignore[arg-type]
                    dry_run=dry_run,
                    progress=lambda so_far: advance(so_far.objects, 0),
                )
    report(tool, written, dry_run=dry_run)
