"""``kvengine kv set``: one entry."""

from __future__ import annotations

from typing import IO

import click

from kvengine.cli.edits import Edit, apply, edit_options
from kvengine.cli.exits import USAGE, Exit
from kvengine.cli.tool import Tool, tool_command
from kvengine.cli.values import duration, taken


@click.command()
@click.argument("service")
@click.argument("key")
@click.argument("state_key")
@click.argument("value", required=False)
@click.option(
    "--file", "source", type=click.File("rb"), help="Read the value from here; - is stdin."
)
@click.option("--text", "form", flag_value="text", help="The value is text, not JSON.")
@click.option("--base64", "form", flag_value="base64", help="The value is base64.")
@click.option("--hex", "form", flag_value="hex", help="The value is hexadecimal.")
@click.option("--raw", "form", flag_value="raw", help="The value is these bytes.")
@click.option("--ttl", metavar="DURATION", help="Let the entry expire: 30s, 5m, 2h, 7d.")
@edit_options
@tool_command
def command(
    tool: Tool,
    service: str,
    key: str,
    state_key: str,
    value: str | None,
    source: IO[bytes] | None,
    form: str | None,
    ttl: str | None,
    **how: bool,
) -> None:
    """Set one entry to a JSON value. Without --ttl it does not expire by itself.

    A string is JSON with its quotes: '"Alice"'. Other values need --text, --base64,
    --hex or --raw.
    """
    if source is not None and value is None:
        given: str | bytes = source.read()
    elif value is not None and source is None:
        given = value
    else:
        raise Exit(USAGE, "give a VALUE, or --file FILE")
    data = taken(given, form or "json")
    service, key = tool.name("SERVICE", service), tool.name("KEY", key)
    name = tool.name("STATE_KEY", state_key)
    seconds = None if ttl is None else duration(ttl)
    with tool.open(write=True) as access:
        edit = Edit(service, key, access.store.load(service, key), {name: data})
        if seconds is not None:
            edit.ttls[name] = seconds
        apply(tool, access, edit, asks=False, **how)
