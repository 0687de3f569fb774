"""``kvengine dump``: one file of a database, without the rest of it."""

from __future__ import annotations

from types import ModuleType

import click

from kvengine.cli.exits import NO, USAGE, Exit
from kvengine.cli.tool import PATH, Tool, tool_command
from kvengine.inspection.escape import safe


@click.command()
@click.argument("kind", type=click.Choice(["segment", "wal", "manifest", "blob"]))
@click.argument("file", type=PATH)
@click.option("--rows", type=click.IntRange(min=0), help="Show so many rows or records.")
@click.option("--all", "everything", is_flag=True, help="Show all of them.")
@click.option("--verify", is_flag=True, help="Check all of the file, not only what is shown.")
@tool_command
def command(
    tool: Tool, kind: str, file: str, rows: int | None, everything: bool, verify: bool
) -> None:
    """Show a segment, WAL or manifest file. Of a segment no rows unless they are asked for.

    The file alone is enough, damaged or not; it is only read. Ends with 1 where damage
    was met. No release so far writes blob files. CURRENT is shown as a manifest.
    """
    tool.directory("psql shows the tables", file)
    if kind == "blob":
        raise Exit(USAGE, "no release so far writes blob files: there is nothing to dump")
    if rows is not None and everything:
        raise Exit(USAGE, "give --rows or --all, not both")
    from kvengine.inspection.dump import kinds

    try:
        kinds.expect(file, kind)
    except kinds.WrongKind as error:
        raise Exit(USAGE, str(error)) from None
    module = _module(kind)
    found = module.read(file)
    limit = rows if rows is not None or everything else (0 if kind == "segment" else None)
    if tool.out.json:
        for item in module.records(found, limit):
            tool.out.record(item)
    else:
        for text in module.describe(found, limit):
            tool.out.say(text)
    damage = module.damage(file) if verify else found.damage
    for one in damage:
        tool.out.note(f"damage at offset {one.offset:,}: {safe(one.reason)}")
    if damage:
        raise Exit(NO)
    if verify:
        tool.out.say("verified: every checksum holds")


def _module(kind: str) -> ModuleType:
    from kvengine.inspection.dump import manifest, segment, wal

    return {"segment": segment, "wal": wal, "manifest": manifest}[kind]
