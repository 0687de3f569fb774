"""``kvengine kv get``: an object, or one entry."""

from __future__ import annotations

import sys

import click

from kvengine.cli import absent
from kvengine.cli.completion import place_argument
from kvengine.cli.exits import NO, Exit
from kvengine.cli.output import cells, columns, expiry, moment
from kvengine.cli.tool import Tool, tool_command
from kvengine.cli.values import binary_option, pretty, shown
from kvengine.inspection import escape
from kvengine.inspection.document import document, form
from kvengine.store import StoredObject

_WIDEST_NAME = 40


@click.command()
@place_argument("SERVICE/KEY[/STATE_KEY]")
@binary_option
@click.option("--full", is_flag=True, help="Show long values whole.")
@click.option("--raw", is_flag=True, help="Write the bytes of one entry as they are.")
@tool_command
def command(tool: Tool, place: tuple[str, ...], binary: str, full: bool, raw: bool) -> None:
    """Show an object, or one of its entries."""
    service, key, *rest = tool.names(place, 2, 3)
    if raw and not rest:
        raise click.UsageError("--raw writes one entry: give its STATE_KEY")
    with tool.open() as access:
        found = access.store.load(service, key)
        if found is None:
            raise Exit(NO, absent.no_object(access.store, service, key))
    if not rest:
        show(tool, found, binary, full=full)
        return
    name = rest[0]
    value = found.entries.get(name)
    if value is None:
        raise Exit(NO, absent.no_entry(found, name))
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
    tool.out.say(pretty(value) if binary == "text" else shown(value, binary))


def show(tool: Tool, found: StoredObject, binary: str = "text", *, full: bool = False) -> None:
    """An object for people, values cut to the width of the terminal, or its document."""
    tool.out.record(document(found))
    if tool.out.json:
        return
    names = f"{escape.text(found.service)} {escape.text(found.key)}"
    tool.out.say(f"{names}, version {found.version}", bold=True)
    until = "kept" if found.expires_at is None else f"expires {expiry(found.expires_at)}"
    tool.out.say(f"  changed {moment(found.version)}, {until}")
    expiries = found.expiries or {}
    labels = {name: escape.text(name) for name in found.entries}
    width = min(max(map(cells, labels.values()), default=0), _WIDEST_NAME)
    for name, value in found.entries.items():
        end = f"  expires {expiry(expiries[name])}" if name in expiries else ""
        begin = f"  {labels[name]}{' ' * (width - cells(labels[name]))}  "
        room = None if full else columns() - cells(begin) - len(end)
        tool.out.say(f"{begin}{shown(value, binary, room)}{end}")
