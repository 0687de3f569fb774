"""``kvengine kv watch``: each change of an object, as it happens."""

from __future__ import annotations

import time

import click

from kvengine.cli.commands.kv_get import show
from kvengine.cli.completion import place_argument
from kvengine.cli.edits import show_difference
from kvengine.cli.output import moment
from kvengine.cli.tool import Tool, tool_command
from kvengine.cli.values import duration
from kvengine.errors import DatabaseClosed
from kvengine.inspection import escape
from kvengine.inspection.document import document
from kvengine.real_time import monotonic
from kvengine.store import Reads, StoredObject


@click.command()
@place_argument("SERVICE/KEY")
@click.option("--interval", default="500ms", show_default=True, help="How often to look.")
@click.option("--count", type=click.IntRange(min=1), help="End after so many changes.")
@click.option("--timeout", metavar="DURATION", help="End after so long.")
@tool_command
def command(
    tool: Tool, place: tuple[str, ...], interval: str, count: int | None, timeout: str | None
) -> None:
    """Show an object, then each change of it. Ctrl-C ends it.

    Looks every --interval: changes that follow each other faster show as one. Entries and
    objects that expire are changes too.
    """
    service, key = tool.names(place, 2, 2)
    pause = duration(interval)
    until = None if timeout is None else monotonic() + duration(timeout)
    with tool.open() as access:
        last = access.store.load(service, key)
        _show_first(tool, service, key, last)
        while (count is None or count > 0) and (until is None or monotonic() < until):
            time.sleep(pause)
            access.refresh()
            try:
                found = _changed(access.store, service, key, last)
            except DatabaseClosed:
                continue  # the owner has ended: its files, or the next owner, at the next look
            if found == last:
                continue
            _show_change(tool, service, key, last, found)
            last = found
            count = None if count is None else count - 1


def _changed(
    store: Reads, service: str, key: str, last: StoredObject | None
) -> StoredObject | None:
    """Return the object as it is now; ``last`` itself if neither a commit nor time changed it.

    Entries that expire leave the version as it is, so an object that has such entries is loaded.
    """
    known = last.version if last is not None else 0
    if store.version(service, key) == known and not (last and last.expiries):
        return last
    return store.load(service, key)


def _show_first(tool: Tool, service: str, key: str, found: StoredObject | None) -> None:
    if found is None:
        tool.out.say(f"{escape.text(service)} {escape.text(key)} is absent so far")
        tool.out.record({"service": service, "key": key, "version": 0})
    else:
        show(tool, found)


def _show_change(
    tool: Tool, service: str, key: str, before: StoredObject | None, now: StoredObject | None
) -> None:
    tool.out.record(
        {"service": service, "key": key, "version": 0} if now is None else document(now)
    )
    if now is None:
        what = "gone"
    elif before is not None and before.version == now.version:
        what = f"expired; still version {now.version}"
    else:
        what = f"version {now.version}, {moment(now.version)}"
    tool.out.say(what, bold=True)
    show_difference(tool, before.entries if before else {}, now.entries if now else {})
