"""``kvengine copy``: the objects of one database into another, on whatever home either is."""

from __future__ import annotations

import os
import re

import click

from kvengine.cli import absent
from kvengine.cli.completion import complete_service
from kvengine.cli.exits import FAILED, NO, USAGE, Exit
from kvengine.cli.output import counted
from kvengine.cli.tool import PATH, Tool, located, tool_command
from kvengine.inspection.transfer.copy import Copied


@click.command()
@click.argument("source", type=PATH, metavar="SRC")
@click.argument("target", type=PATH, metavar="DST")
@click.option("--service", shell_complete=complete_service, help="Only the objects of this one.")
@click.option("--prefix", default="", help="Only keys that begin with it; needs --service.")
@click.option(
    "--others",
    type=click.Choice(("refuse", "keep", "clear")),
    default="refuse",
    show_default=True,
    help="What to do with objects that only DST has.",
)
@click.option("-n", "--dry-run", is_flag=True, help="Check and count, write nothing.")
@tool_command
def command(
    tool: Tool,
    source: str,
    target: str,
    service: str | None,
    prefix: str,
    others: str,
    dry_run: bool,
) -> None:
    """Make the objects of the database DST those of SRC, all of one moment.

    Each is a directory or a PostgreSQL URL; DST is made if need be. What is equal there
    already is left, so a copy that was broken off is run again. Both sides are compared
    at the end. Ends with 1 where they are not equal, or SRC has changed meanwhile.
    """
    if prefix and service is None:
        raise click.UsageError("--prefix is for object keys: give --service too")
    from kvengine.inspection.transfer.copy import (
        DoesNotFit,
        HoldsOthers,
        NotEqual,
        SourceChanged,
        copy,
    )

    here, there = located(source), located(target)
    if here == there or os.path.realpath(here) == os.path.realpath(there):
        raise Exit(USAGE, "SRC and DST are one database")
    only = None if service is None else tool.name("--service", service)
    with tool.open(here) as reads:
        absent.check_service(reads.store, only)
        with tool.open(there, write=not dry_run, create=not dry_run) as writes:
            try:
                with tool.out.progress("checking", lines=True) as advance:
                    copied = copy(
                        reads.store,
                        writes.store,
                        service=only,
                        prefix=tool.name("--prefix", prefix),
                        others=others,  # type: ignore[arg-type]
                        dry_run=dry_run,
                        progress=advance,
                    )
            except HoldsOthers as error:
                raise Exit(USAGE, re.sub(r"others='(\w+)'", r"--others \1", str(error))) from None
            except DoesNotFit as error:
                raise Exit(FAILED, str(error)) from None
            except NotEqual as error:
                raise Exit(NO, str(error)) from None
            except SourceChanged as error:
                _report(tool, error.copied, others, dry_run=dry_run)
                raise Exit(NO, str(error)) from None
    _report(tool, copied, others, dry_run=dry_run)


def _report(tool: Tool, copied: Copied, others: str, *, dry_run: bool) -> None:
    """Counts, in a sentence or as JSON."""
    tool.out.record({**copied._asdict(), "dry_run": dry_run})
    prefix = "dry run, nothing was written: " if dry_run else ""
    parts = [f"{counted(copied.objects, 'object')}, {counted(copied.entries, 'entry')}"]
    there = copied.objects - copied.written - copied.expired
    if there:
        parts.append(f"there already: {counted(there, 'object')}")
    if copied.expired:
        parts.append(f"left out as expired: {counted(copied.expired, 'object')}")
    if copied.others:
        what = "cleared" if others == "clear" else "kept"
        parts.append(f"only in DST, {what}: {counted(copied.others, 'object')}")
    tool.out.say(prefix + "; ".join(parts))
    if copied.checksum:
        tool.out.say(f"equal on both sides, checksum {copied.checksum}")
