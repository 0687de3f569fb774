"""``kvengine kv get``: an object, or one entry."""

from __future__ import annotations

import sys

import click

from kvengine.cli.exits import NO, Exit
from kvengine.cli.output import expiry, moment
from kvengine.cli.tool import Tool, tool_command
from kvengine.cli.values import SHOWN, binary_option, pretty, shown
from kvengine.inspection import escape
from kvengine.inspection.document import document, form
from kvengine.store import StoredObject

_WIDEST_NAME = 40
_LEAST = 16
"""Characters of a value that are shown, however long its name is."""


@click.command()
@click.argument("service")
@click.argument("key")
@click.argument("state_key", required=False)
@binary_option
@click.option("--full", is_flag=True, help="Show long values whole.")
@click.option("--raw", is_flag=True, help="Write the bytes of one entry as they are.")
@tool_command
def command(
    tool: Tool, service: str, key: str, state_key: str | None, binary: str, full: bool, raw: bool
) -> None:
    """Show an object, or one of its entries."""
    service, key = tool.name("SERVICE", service), tool.name("KEY", key)
    if raw and state_key is None:
        raise click.UsageError("--raw writes one entry: give its STATE_KEY")
    with tool.open() as access:
        found = access.store.load(service, key)
    if found is None:
        raise Exit(NO, f"no object {escape.text(service)} {escape.text(key)}")
    if state_key is None:
        show(tool, found, binary, None if full else SHOWN)
        return
    name = tool.name("STATE_KEY", state_key)
    value = found.entries.get(name)
    if value is None:
        where = f"{escape.text(service)} {escape.text(key)}"
        raise Exit(NO, f"no entry {escape.text(name)} in {where}")
    if raw:
        sys.stdout.buffer.write(value)
        return
    tool.out.record(
        {
            "service": service,
            "key": key,
            "state_key": name,
            "version": found.version,
            **form(value, (found.expiries or {}).get(name)),
        }
    )
    tool.out.say(pretty(value) if binary == "text" else shown(value, binary, None))


def show(tool: Tool, found: StoredObject, binary: str, limit: int | None) -> None:
    """An object for people, or its document."""
    tool.out.record(document(found))
    if tool.out.json:
        return
    names = f"{escape.text(found.service)} {escape.text(found.key)}"
    tool.out.say(f"{names}, version {found.version}", bold=True)
    until = "kept" if found.expires_at is None else f"expires {expiry(found.expires_at)}"
    tool.out.say(f"  changed {moment(found.version)}, {until}")
    expiries = found.expiries or {}
    labels = {name: escape.text(name) for name in found.entries}
    width = min(max(map(len, labels.values()), default=0), _WIDEST_NAME)
    for name, value in found.entries.items():
        end = f"  expires {expiry(expiries[name])}" if name in expiries else ""
        room = limit if limit is None else max(_LEAST, limit - max(width, len(labels[name])))
        room = room if room is None or not end else max(_LEAST, room - len(end))
        tool.out.say(f"  {labels[name]:<{width}}  {shown(value, binary, room)}{end}")
