"""``kvengine levels``: levels, and their segments."""

from __future__ import annotations

import click

from kvengine.cli.output import counted, moment, size
from kvengine.cli.tool import Tool, tool_command
from kvengine.inspection import escape
from kvengine.store import SegmentStats


@click.command()
@click.option("-l", "--long", is_flag=True, help="Each segment, with its range.")
@tool_command
def command(tool: Tool, long: bool) -> None:
    """Show the levels: segments, bytes, objects, tombstones, and what space is amplified to."""
    with tool.open_directory("stats shows the size") as access:
        segments, stats = access.store.segments(), access.store.stats()
    for one in segments:
        tool.out.record(
            {
                **one._asdict(),
                "start": escape.bound(one.start),
                "stop": escape.bound(one.stop),
            }
        )
    rows = [
        [
            f"L{level.level}",
            f"{level.segments:,}",
            size(level.bytes),
            f"{level.objects:,}",
            f"{level.tombstones:,}",
        ]
        for level in stats.levels
    ]
    columns = ("level", ">segments", ">bytes", ">objects", ">tombstones")
    tool.out.table(columns, rows)
    tool.out.say(
        f"memtable {counted(stats.memtable_objects, 'object')}, WAL {size(stats.wal_bytes)};"
        f" amplification of space {stats.space_amplification:.2f},"
        f" of writes {stats.write_amplification:.2f}"
    )
    for one in segments if long else ():
        _show(tool, one)


def _show(tool: Tool, one: SegmentStats) -> None:
    tool.out.say(
        f"L{one.level} {one.number:06}.segment  {size(one.size)}, {counted(one.objects, 'object')},"
        f" {counted(one.entries, 'entry')}, {counted(one.tombstones, 'tombstone')},"
        f" {one.expiring:,} expiring"
    )
    tool.out.say(f"   from {escape.bound(one.start)} to before {escape.bound(one.stop)}")
    tool.out.say(f"   written {moment(one.first_stamp)} to {moment(one.last_stamp)}")
