"""``kvengine ls``: what is one part further than what was named."""

from __future__ import annotations

import click

from kvengine.cli.commands import kv_keys, objects, services
from kvengine.cli.completion import place_argument
from kvengine.cli.tool import Tool, tool_command


@click.command()
@place_argument("[SERVICE[/KEY]]", required=False)
@click.option("-l", "--long", is_flag=True, help="Of objects: change, expiry, entries, bytes.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many.")
@tool_command
def command(tool: Tool, place: tuple[str, ...], long: bool, limit: int | None) -> None:
    """List the services, the objects of a service, or the state keys of an object."""
    context = click.get_current_context()
    if not place:
        context.invoke(services.command)
        return
    if len(place) == 1 and not tool.quoted:
        place = (place[0].removesuffix("/"),)  # as a shell's own completion leaves it
    if len(tool.names(place, 1, 2)) == 1:
        context.invoke(objects.command, place=place, long=long, limit=limit)
    else:
        context.invoke(kv_keys.command, place=place, limit=limit)
