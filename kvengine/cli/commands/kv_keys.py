"""``kvengine kv keys``: the state keys of an object."""

from __future__ import annotations

import click

from kvengine.cli import absent
from kvengine.cli.completion import place_argument
from kvengine.cli.exits import NO, Exit
from kvengine.cli.tool import Tool, tool_command
from kvengine.inspection import escape


@click.command()
@place_argument("SERVICE/KEY")
@click.option("--prefix", default="", help="Only those that begin with it.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many.")
@click.option("--after", help="Only those behind this one, in the direction of the listing.")
@click.option("-r", "--reverse", is_flag=True, help="The last ones first.")
@tool_command
def command(
    tool: Tool,
    place: tuple[str, ...],
    prefix: str,
    limit: int | None,
    after: str | None,
    reverse: bool,
) -> None:
    """List the state keys of an object, in order."""
    service, key = tool.names(place, 2, 2)
    start = "" if after is None else tool.name("--after", after)
    more = None if limit is None else limit + 1
    prefix = tool.name("--prefix", prefix)
    with tool.open() as access:
        found = access.store.state_keys(
            service, key, prefix=prefix, start=start, reverse=reverse, limit=more
        )
        if not found and not access.store.exists(service, key):
            raise Exit(NO, absent.no_object(access.store, service, key))
    if after is not None and found[:1] == [start]:
        del found[0]
    for name in found[:limit]:
        tool.out.record({"state_key": name})
        tool.out.say(escape.text(name))
