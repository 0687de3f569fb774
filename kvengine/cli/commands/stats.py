"""``kvengine stats``: the figures of a database."""

from __future__ import annotations

import click

from kvengine.cli.output import aligned, size
from kvengine.cli.tool import Tool, tool_command

_BYTES = ("bytes_on_disk", "wal_bytes", "memtable_bytes", "cache_bytes", "pending_compaction")


@click.command()
@tool_command
def command(tool: Tool) -> None:
    """Show the figures of a database: those of its owner, or of its files."""
    with tool.open() as access:
        stats, mode = access.store.stats(), access.mode
    data = stats._asdict()
    data["levels"] = [level._asdict() for level in stats.levels]
    data["running"] = [job._asdict() for job in stats.running]
    tool.out.record({"access": mode, **data})
    rows = [["access", mode]]
    for name, value in data.items():
        if name not in ("levels", "running", "recovery"):
            rows.append([name, _shown(name, value)])
    rows += [
        ["running", f"{j.kind} of {size(j.bytes)} into level {j.level}"] for j in stats.running
    ]
    rows += [["recovery", one] for one in stats.recovery]
    for text in aligned(rows, ("name", "value")):
        tool.out.say(text)


def _shown(name: str, value: object) -> str:
    if name in _BYTES and isinstance(value, int):
        return size(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.2f}"
    if name == "last_stamp" or not isinstance(value, int):
        return str(value) or "-"
    return f"{value:,}"
