"""``kvengine objects``: the objects of a service."""

from __future__ import annotations

from itertools import islice

import click

from kvengine.cli.output import counted, expiry, moment, size
from kvengine.cli.tool import Tool, tool_command
from kvengine.inspection import escape


@click.command()
@click.argument("service")
@click.option("--prefix", default="", help="Only keys that begin with it.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many.")
@click.option("--after", help="Only keys behind this one.")
@click.option("-l", "--long", is_flag=True, help="With change, expiry, entries and bytes.")
@tool_command
def command(
    tool: Tool, service: str, prefix: str, limit: int | None, after: str | None, long: bool
) -> None:
    """List the objects of a service, in order."""
    service = tool.name("SERVICE", service)
    start = None if after is None else tool.name("--after", after)
    with tool.open() as access, access.store.snapshot() as reads:
        keys = reads.object_keys(service, prefix=tool.name("--prefix", prefix), start=start)
        wanted = (key for key in keys if key != start)
        for key in islice(wanted, limit):
            if not long:
                tool.out.record({"key": key})
                tool.out.say(escape.text(key))
                continue
            found = reads.load(service, key)
            if found is None:
                continue
            count = sum(len(n.encode()) + len(v) for n, v in found.entries.items())
            tool.out.record(
                {
                    "key": key,
                    "version": found.version,
                    "expires_at": found.expires_at,
                    "entries": len(found.entries),
                    "bytes": count,
                }
            )
            until = "kept" if found.expires_at is None else f"until {expiry(found.expires_at)}"
            entries = counted(len(found.entries), "entry")
            tool.out.say(
                f"{moment(found.version)}  {entries:>13}  {size(count):>10}"
                f"  {until}  {escape.text(key)}"
            )
