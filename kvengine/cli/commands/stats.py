"""``kvengine stats``: the figures of a database."""

from __future__ import annotations

import textwrap
from collections.abc import Collection

import click

from kvengine.cli.output import aligned, size
from kvengine.cli.tool import Tool, tool_command

_OWNERS = (
    "memtable_bytes",
    "memtable_objects",
    "frozen_memtables",
    "cache_bytes",
    "cache_objects",
    "open_snapshots",
    "flushes",
    "compactions",
    "dropped_segments",
    "stalls",
    "stall_seconds",
    "stalled",
    "write_amplification",
    "commits",
    "syncs",
    "background",
    "background_errors",
    "last_background_error",
    "live_access",
    "compiled",
)
"""Figures of a process that has the database open: of files nobody knows them."""

_SERVERS = ("bytes_on_disk", "estimated_objects")
"""Figures of a database on a server; the others are about directories and their owners."""

_BYTES = ("bytes_on_disk", "wal_bytes", "memtable_bytes", "cache_bytes", "pending_compaction")


@click.command()
@tool_command
def command(tool: Tool) -> None:
    """Show the figures of a database: those of its owner, or of its files.

    Of files alone, what only an owner counts is not known, and null in JSON; so is, of
    a database on a server, what only directories have.
    """
    with tool.open() as access:
        stats, mode = access.store.stats(), access.mode
    data = stats._asdict()
    unknown: Collection[str] = _OWNERS if mode == "files" else ()
    if mode == "server":
        unknown = data.keys() - set(_SERVERS)
    data["levels"] = [level._asdict() for level in stats.levels]
    data["running"] = [job._asdict() for job in stats.running]
    data.update(dict.fromkeys(unknown))
    tool.out.record({"access": mode, **data})
    rows = [["access", mode]]
    for name, value in data.items():
        if name not in ("levels", "running", "recovery", *unknown):
            rows.append([name, _shown(name, value)])
    rows += [
        ["running", f"{j.kind} of {size(j.bytes)} into level {j.level}"] for j in stats.running
    ]
    rows += [["recovery", one] for one in stats.recovery]
    for text in aligned(rows, ("name", "value")):
        tool.out.say(text)
    if mode == "server":
        tool.out.say("what else the server counts is in pg_stat_database and pg_stat_user_tables")
    elif unknown:
        names = ", ".join(unknown).replace("_", " ")
        why = f"not known: {names}; no process that has it open answers"
        tool.out.say(textwrap.fill(why, 80, subsequent_indent="  "))


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
