"""``kvengine compact``: win back the space of what is dead."""

from __future__ import annotations

import click

from kvengine.cli import absent
from kvengine.cli.completion import place_argument
from kvengine.cli.output import size
from kvengine.cli.tool import Tool, tool_command
from kvengine.real_time import monotonic


@click.command()
@place_argument("[SERVICE]", required=False)
@tool_command
def command(tool: Tool, place: tuple[str, ...]) -> None:
    """Flush, and rewrite the segments (of a service) without what is dead."""
    name = tool.names(place, 1, 1)[0] if place else None
    with tool.open_directory("autovacuum wins the space back", write=True) as access:
        absent.check_service(access.store, name)
        before, began = access.store.stats(), monotonic()
        access.store.compact(name)
        after, took = access.store.stats(), monotonic() - began
    tool.out.record({"before": before.bytes_on_disk, "after": after.bytes_on_disk, "seconds": took})
    sizes = f"{size(before.bytes_on_disk)} -> {size(after.bytes_on_disk)}"
    tool.out.say(f"compacted in {took:.1f} s: {sizes}")
