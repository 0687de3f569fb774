"""``kvengine backup``: a generation more, or those that there are."""

from __future__ import annotations

import click

from kvengine.cli.exits import NO, Exit
from kvengine.cli.output import counted, moment, size
from kvengine.cli.tool import PATH, Tool, tool_command
from kvengine.inspection.escape import safe
from kvengine.storage.clock import SECOND


@click.command()
@click.argument("directory", type=PATH)
@click.option("--keep", type=click.IntRange(min=1), help="Remove all but the newest so many.")
@click.option("--recheck", is_flag=True, help="Read again what is there, copy anew what rotted.")
@click.option("--list", "listing", is_flag=True, help="Show the generations, make none.")
@click.option("--verify", is_flag=True, help="Check every generation, make none.")
@tool_command
def command(
    tool: Tool, directory: str, keep: int | None, recheck: bool, listing: bool, verify: bool
) -> None:
    """Back up a database as of now into DIRECTORY, while it is in use.

    Segments that an earlier generation holds are not copied again. Nothing but
    --keep removes a generation.
    """
    if verify:
        _verify(tool, directory)
        return
    if listing:
        _list(tool, directory)
        return
    from kvengine.inspection.backup.backup import backup

    access = tool.open_directory(
        "pg_dump or pg_basebackup makes a backup", write=True, or_read=True
    )
    with access, tool.out.progress("copying") as advance:
        made = backup(
            access.store,
            directory,
            keep=keep,
            recheck=recheck,
            progress=lambda so_far: advance(so_far.done, so_far.total),
        )
    tool.out.record(made._asdict())
    tool.out.say(
        f"generation {made.generation}: {counted(made.files, 'file')}, {size(made.bytes)};"
        f" copied {counted(made.copied_files, 'file')}, {size(made.copied_bytes)}"
    )
    for number in made.removed:
        tool.out.say(f"removed generation {number}")
    for note in made.notes:
        tool.out.note(f"note: {note}")


def _list(tool: Tool, directory: str) -> None:
    from kvengine.inspection.backup.files import generations

    rows = []
    for one in generations(directory):
        record = one.record
        if record is None:
            tool.out.record({"generation": one.number, "damage": one.damage})
            rows.append([str(one.number), "", "", "", safe(f"damaged: {one.damage}")])
            continue
        total = sum(file.size for file in record.files)
        tool.out.record(
            {
                "generation": one.number,
                "time": record.time,
                "stamp": record.stamp,
                "files": len(record.files),
                "bytes": total,
            }
        )
        taken, last = moment(int(record.time * SECOND)), moment(record.stamp)
        rows.append([str(one.number), taken, f"{len(record.files):,}", size(total), last])
    tool.out.table((">generation", "taken", ">files", ">bytes", "last commit"), rows)


def _verify(tool: Tool, directory: str) -> None:
    from kvengine.inspection.backup.verify import verify_backup

    with tool.out.progress("verifying") as advance:
        damage = verify_backup(
            directory, progress=lambda so_far: advance(so_far.done, so_far.total)
        )
    for one in damage:
        tool.out.record(one._asdict())
        tool.out.say(f"damage: {safe(str(one))}", fg="red")
    if damage:
        raise Exit(NO)
    tool.out.say("sound: every file of every generation")
