"""``kvengine verify``: every byte and every invariant of a database."""

from __future__ import annotations

import click

from kvengine.cli.exits import NO, UNAVAILABLE, Exit
from kvengine.cli.output import counted, size
from kvengine.cli.tool import PATH, Tool, tool_command
from kvengine.inspection.escape import safe


@click.command()
@click.argument("directory", type=PATH, required=False)
@tool_command
def command(tool: Tool, directory: str | None) -> None:
    """Check every byte and every invariant, beside an owner too; nothing is changed.

    Ends with 1 where it found damage. A note is something that the next open drops or
    leaves alone, and no damage.
    """
    from kvengine.errors import NotADatabase
    from kvengine.inspection.audit.verify import audit
    from kvengine.inspection.dump.kinds import check_database

    path = tool.directory("pg_amcheck checks the tables", directory)
    check_database(path)  # of another format no byte is damaged: it is another release's
    try:
        with tool.out.progress("verifying") as advance:
            found = audit(path, progress=advance)
    except NotADatabase as error:
        raise Exit(UNAVAILABLE, str(error)) from None
    for one in found.findings:
        tool.out.record(
            {"kind": one.kind, "path": one.path, "offset": one.offset, "reason": one.reason}
        )
        colour = "red" if one.kind == "damage" else "yellow"
        tool.out.say(f"{one.kind}: {safe(str(one))}", fg=colour)
    tool.out.record(
        {
            "kind": "summary",
            "damage": len(found.damage),
            "notes": len(found.notes),
            "files": found.files,
            "bytes": found.bytes,
            "objects": found.objects,
            "entries": found.entries,
        }
    )
    read = (
        f"{counted(found.files, 'file')}, {size(found.bytes)}, {counted(found.objects, 'object')}"
        f" and {counted(found.entries, 'entry')} as files hold them"
    )
    if found.damage:
        tool.out.say(f"damaged: {counted(len(found.damage), 'finding')} in {read}", fg="red")
        raise Exit(NO)
    tool.out.say(f"sound: {read}")
