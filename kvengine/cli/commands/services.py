"""``kvengine services``: which there are, and about how much each holds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import click

from kvengine.cli.output import size
from kvengine.cli.tool import Tool, tool_command
from kvengine.inspection import escape
from kvengine.store import StoredObject

_EXACT = 1000
_EXACT_BYTES = 4 * 1024 * 1024


@click.command()
@click.option("--count", is_flag=True, help="Count every object, however many there are.")
@tool_command
def command(tool: Tool, count: bool) -> None:
    """List the services with their objects and bytes.

    Past 1,000 objects or 4 MiB both are estimated from the index (~), and then the
    bytes count what is dead and not compacted yet. On a server the planner estimates
    the objects, and the first ones tell the bytes.
    """
    rows = []
    with tool.open() as access, access.store.snapshot() as reads:
        for service in reads.services():
            objects, held, exact = _counted(reads.scan(service), without_end=count)
            if not exact:
                about = access.store.estimate(service)
                objects, held = max(objects, about.objects), max(held, about.bytes)
            tool.out.record({"service": service, "objects": objects, "bytes": held, "exact": exact})
            mark = "" if exact else "~"
            rows.append([escape.text(service), f"{mark}{objects:,}", f"{mark}{size(held)}"])
    if rows:
        tool.out.table(("service", ">objects", ">bytes"), rows)
    else:
        tool.out.say("no services")


def _counted(walk: Iterator[StoredObject], *, without_end: bool) -> tuple[int, int, bool]:
    """Objects, bytes of their names and values, and whether these are all of them."""
    objects = held = 0
    with closing(walk):  # type: ignore[type-var]
        for found in walk:
            objects += 1
            held += sum(len(name.encode()) + len(value) for name, value in found.entries.items())
            if not without_end and (objects >= _EXACT or held >= _EXACT_BYTES):
                return objects, held, False
    return objects, held, True
