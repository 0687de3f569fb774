"""``kvengine kv expire``: when an object expires."""

from __future__ import annotations

import click

from kvengine.cli import absent
from kvengine.cli.completion import place_argument
from kvengine.cli.edits import Edit, apply, edit_options
from kvengine.cli.exits import NO, USAGE, Exit
from kvengine.cli.tool import Tool, tool_command
from kvengine.cli.values import duration, instant
from kvengine.real_time import wall


@click.command()
@place_argument("SERVICE/KEY")
@click.option("--in", "after", metavar="DURATION", help="After 30s, 5m, 2h, 7d.")
@click.option("--at", metavar="TIME", help="At an ISO 8601 time, or seconds since the epoch.")
@click.option("--now", is_flag=True, help="At once: it reads as absent from now on.")
@click.option("--never", is_flag=True, help="Keep it until it is cleared.")
@edit_options
@tool_command
def command(
    tool: Tool,
    place: tuple[str, ...],
    after: str | None,
    at: str | None,
    now: bool,
    never: bool,
    **how: bool,
) -> None:
    """Let an object expire, or keep it for ever. One of --in, --at, --now, --never."""
    if sum((after is not None, at is not None, now, never)) != 1:
        raise Exit(USAGE, "give one of --in, --at, --now, --never")
    service, key = tool.names(place, 2, 2)
    when: float | None = None
    if after is not None:
        when = wall() + duration(after)
    elif at is not None:
        when = instant(at)
    elif now:
        when = wall()
    with tool.open(write=not how["dry_run"]) as access:
        found = access.store.load(service, key)
        if found is None:
            raise Exit(NO, absent.no_object(access.store, service, key))
        edit = Edit(service, key, found, sets_expiry=True, expires=when)
        apply(tool, access, edit, asks=when is not None and when <= wall(), **how)
