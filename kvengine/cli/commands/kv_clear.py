"""``kvengine kv clear``: an entry, an object, a service."""

from __future__ import annotations

from itertools import islice
from typing import Any

import click

from kvengine.cli import absent
from kvengine.cli.completion import place_argument
from kvengine.cli.edits import Edit, apply, confirm, edit_options
from kvengine.cli.exits import CONFLICT, USAGE, Exit
from kvengine.cli.output import counted
from kvengine.cli.tool import Tool, tool_command
from kvengine.errors import VersionConflict
from kvengine.inspection import escape
from kvengine.inspection.access import AnyAccess
from kvengine.storage.batch import Batch
from kvengine.storage.names import Name

CHECKED = 1000
"""Objects of a service whose versions one commit checks."""


@click.command()
@place_argument("SERVICE[/KEY[/STATE_KEY]]")
@edit_options
@tool_command
def command(tool: Tool, place: tuple[str, ...], **how: bool) -> None:
    """Clear an entry, an object, or all objects of a service.

    A service of more than 1,000 objects needs --force: their versions cannot be
    checked at once, and it is cleared by one small write.
    """
    parts = tool.names(place, 1, 3)
    with tool.open(write=not how["dry_run"]) as access:
        if len(parts) == 1:
            _clear_service(tool, access, parts[0], **how)
            return
        found = access.store.load(parts[0], parts[1])
        if found is None:
            tool.out.note(f"kvengine: {absent.no_object(access.store, *parts[:2])}")
        elif len(parts) == 3 and parts[2] not in found.entries:
            tool.out.note(f"kvengine: {absent.no_entry(found, parts[2])}")
        edit = Edit(parts[0], parts[1], found)
        if len(parts) == 3:
            edit.entries[parts[2]] = None
        else:
            edit.clears = True
        apply(tool, access, edit, asks=True, **how)


def _clear_service(
    tool: Tool,
    access: AnyAccess,
    service: str,
    *,
    dry_run: bool,
    yes: bool,
    force: bool,
    version: int | None,
) -> None:
    if version is not None:
        raise Exit(USAGE, "--version is of one object: name its KEY")
    store, out = access.store, tool.out
    # Objects without their entries; any may be called a workflow.
    found = list(islice(store.workflows(service), CHECKED + 1))
    result = {"service": service, "objects": len(found)}
    if not found:
        out.note(f"kvengine: {absent.no_service(store, service)}")
        out.say("nothing to do")
        out.record({**result, "result": "nothing to do"})
        return
    many = len(found) > CHECKED
    said = f"more than {CHECKED:,} objects" if many else counted(len(found), "object")
    if many and not force and not dry_run:
        raise Exit(USAGE, f"the service holds {said}: give --force to clear all of them")
    out.say(f"{escape.text(service)}: {said} will be cleared")
    if dry_run:
        out.say("dry run: nothing was written")
        out.record({**result, "result": "dry run"})
        return
    versions = {} if force else {(service, one.key): one.version for one in found}
    confirm(tool, f"Clear service {escape.text(service)}?", yes=yes, asks=True)
    batch = Batch()
    if force:
        batch.clear_service(service)
    for name in versions:
        batch.clear_all(*name)
    _commit(tool, access, batch, versions, result)


def _commit(
    tool: Tool,
    access: AnyAccess,
    batch: Batch,
    versions: dict[Name, int],
    result: dict[str, Any],
) -> None:
    out = tool.out
    try:
        stamp = access.store.write(batch, expect=versions)
    except VersionConflict as error:
        out.say(f"conflict: object {escape.text(error.key)} is at version {error.actual} by now")
        out.record({**result, "result": "conflict", "key": error.key, "version": error.actual})
        raise Exit(CONFLICT, "nothing was written: run it again, or give --force") from None
    out.say(f"applied, version {stamp}")
    out.record({**result, "result": "applied", "version": stamp})
