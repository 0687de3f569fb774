"""``kvengine count``: how many objects a service has."""

from __future__ import annotations

import click

from kvengine.cli import absent
from kvengine.cli.completion import place_argument
from kvengine.cli.tool import Tool, tool_command


@click.command()
@place_argument("SERVICE")
@click.option("--prefix", default="", help="Only keys that begin with it.")
@tool_command
def command(tool: Tool, place: tuple[str, ...], prefix: str) -> None:
    """Count the objects of a service, each of them; `services` estimates large ones."""
    (service,) = tool.names(place, 1, 1)
    prefix = tool.name("--prefix", prefix)
    with tool.open() as access:
        absent.check_service(access.store, service)
        count = access.store.count(service, prefix=prefix)
    tool.out.record({"service": service, "prefix": prefix, "objects": count})
    tool.out.say(str(count))
