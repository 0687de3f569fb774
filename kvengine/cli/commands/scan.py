"""``kvengine scan``: every object with its entries."""

from __future__ import annotations

import click

from kvengine.cli import absent
from kvengine.cli.commands.kv_get import show
from kvengine.cli.completion import place_argument
from kvengine.cli.tool import Tool, tool_command
from kvengine.cli.values import binary_option


@click.command()
@place_argument("[SERVICE]", required=False)
@click.option("--prefix", default="", help="Only keys that begin with it; needs SERVICE.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many objects.")
@click.option("-r", "--reverse", is_flag=True, help="The last ones first.")
@binary_option
@click.option("--full", is_flag=True, help="Show long values whole.")
@tool_command
def command(
    tool: Tool,
    place: tuple[str, ...],
    prefix: str,
    limit: int | None,
    reverse: bool,
    binary: str,
    full: bool,
) -> None:
    """Show every object, in order and all of one moment."""
    if prefix and not place:
        raise click.UsageError("--prefix is for object keys: name a SERVICE too")
    name = tool.names(place, 1, 1)[0] if place else None
    with tool.open() as access:
        absent.check_service(access.store, name)
        prefix = tool.name("--prefix", prefix)
        for found in access.store.scan(name, prefix=prefix, reverse=reverse, limit=limit):
            show(tool, found, binary, full=full)
