"""``kvengine kv set``: one entry."""

from __future__ import annotations

import sys
from typing import IO

import click

from kvengine.cli.completion import place_argument
from kvengine.cli.edits import Edit, apply, edit_options
from kvengine.cli.exits import USAGE, Exit
from kvengine.cli.tool import Tool, tool_command
from kvengine.cli.values import duration, taken


@click.command()
@place_argument("SERVICE/KEY/STATE_KEY [VALUE]")
@click.option("--file", "source", type=click.File("rb"), help="Read the value from here.")
@click.option("--text", "form", flag_value="text", help="The value is text, not JSON.")
@click.option("--base64", "form", flag_value="base64", help="The value is base64.")
@click.option("--hex", "form", flag_value="hex", help="The value is hexadecimal.")
@click.option("--raw", "form", flag_value="raw", help="The value is these bytes.")
@click.option("--ttl", metavar="DURATION", help="Let the entry expire: 30s, 5m, 2h, 7d.")
@edit_options
@tool_command
def command(
    tool: Tool,
    place: tuple[str, ...],
    source: IO[bytes] | None,
    form: str | None,
    ttl: str | None,
    **how: bool,
) -> None:
    """Set one entry to a JSON value. Without --ttl it does not expire by itself.

    A string is JSON with its quotes: '"Alice"'. Other values need --text, --base64,
    --hex or --raw. The VALUE - is read from standard input.
    """
    *names_given, value = place if source is None else (*place, "")
    if len(names_given) not in (1, 3):
        raise Exit(
            USAGE, "give SERVICE/KEY/STATE_KEY and a VALUE, - to read it from standard input"
        )
    service, key, name = tool.names(names_given, 3, 3)
    given: str | bytes = value
    if source is not None:
        given = source.read()
    elif value == "-":
        given = sys.stdin.buffer.read()
    data = taken(given, form or "json")
    seconds = None if ttl is None else duration(ttl)
    with tool.open(write=not how["dry_run"]) as access:
        edit = Edit(service, key, access.store.load(service, key), {name: data})
        if seconds is not None:
            edit.ttls[name] = seconds
        apply(tool, access, edit, asks=False, **how)
