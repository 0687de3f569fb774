"""``kvengine services``: which there are, and about how much each holds."""

from __future__ import annotations

from itertools import islice

import click

from kvengine.cli.output import size
from kvengine.cli.tool import Tool, tool_command
from kvengine.inspection import escape

_EXACT = 1000


@click.command()
@click.option("--count", is_flag=True, help="Count every object, however many there are.")
@tool_command
def command(tool: Tool, count: bool) -> None:
    """List the services with their objects and bytes.

    Past 1,000 objects the number is estimated from the index (~); bytes always are,
    and count what is dead and not compacted yet.
    """
    rows = []
    with tool.open() as access:
        store = access.store
        for service in store.services():
            about = store.estimate(service)
            most = None if count else _EXACT
            objects = sum(1 for _ in islice(store.object_keys(service), most))
            exact = count or objects < _EXACT
            if not exact:
                objects = max(objects, about.objects)
            tool.out.record(
                {"service": service, "objects": objects, "exact": exact, "bytes": about.bytes}
            )
            shown = f"{objects:,}" if exact else f"~{objects:,}"
            rows.append([escape.text(service), shown, size(about.bytes)])
    if rows:
        tool.out.table(("service", ">objects", ">bytes"), rows)
    else:
        tool.out.say("no services")
