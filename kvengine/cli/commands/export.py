"""``kvengine export``: objects as JSON lines."""

from __future__ import annotations

import os
import sys
from typing import BinaryIO

import click

from kvengine.cli import absent
from kvengine.cli.completion import complete_service
from kvengine.cli.exits import USAGE, Exit
from kvengine.cli.output import counted
from kvengine.cli.tool import PATH, Tool, tool_command
from kvengine.inspection.escape import safe
from kvengine.inspection.transfer.walk import Counts


@click.command()
@click.argument("file", type=PATH, default="-")
@click.option("--service", shell_complete=complete_service, help="Only the objects of this one.")
@click.option("--prefix", default="", help="Only keys that begin with it; needs --service.")
@click.option("--resume", is_flag=True, help="Go on with a file that was broken off.")
@tool_command
def command(tool: Tool, file: str, service: str | None, prefix: str, resume: bool) -> None:
    """Write every object of one moment to FILE, a line of JSON for each.

    Without FILE, or for -, to standard output.

    The last line counts the lines before it, so that a cut file is noticed.
    """
    if prefix and service is None:
        raise click.UsageError("--prefix is for object keys: give --service too")
    if resume and file == "-":
        raise Exit(USAGE, "--resume needs a file: of a pipe nobody knows what arrived")
    only = None if service is None else tool.name("--service", service)
    with tool.open() as access:
        absent.check_service(access.store, only)
        if file == "-":
            out = sys.stdout.buffer
            counts = _export(tool, access.store, out, only, prefix)
            out.flush()
            return
        with _opened(file, resume) as target:
            counts = _export(tool, access.store, target, only, prefix, resume=resume)
            target.flush()
            os.fsync(target.fileno())
    tool.out.record(counts._asdict())
    what = f"{counted(counts.objects, 'object')}, {counted(counts.entries, 'entry')}"
    tool.out.say(f"{what} in {safe(file)}")


def _opened(file: str, resume: bool) -> BinaryIO:
    try:
        return open(file, "r+b" if resume else "xb")
    except FileExistsError:
        raise Exit(
            USAGE, f"{file} exists: choose another, or --resume it where it broke off"
        ) from None


def _export(
    tool: Tool,
    store: object,
    target: BinaryIO,
    service: str | None,
    prefix: str,
    *,
    resume: bool = False,
) -> Counts:
    from kvengine.inspection.transfer import export

    after, counted = None, Counts()
    if resume:
        found = export.resume(target)
        if found.complete:
            return found.counts
        target.truncate(found.size)
        target.seek(found.size)
        after, counted = found.after, found.counts
    with tool.out.progress("exporting") as advance:
        return export.export(
            store,  # type: ignore[arg-type]
            lambda text: target.write(text.encode() + b"\n"),
            service=service,
            prefix=tool.name("--prefix", prefix),
            after=after,
            counted=counted,
            progress=lambda counts: advance(counts.objects, 0),
        )
