"""``kvengine ui``: a web page on this machine."""

from __future__ import annotations

import click

from kvengine.cli.exits import FAILED, UNAVAILABLE, USAGE, Exit
from kvengine.cli.tool import Tool, opening, tool_command
from kvengine.errors import BadAddress


@click.command()
@click.option("--write", is_flag=True, help="Allow edits; without it the page only reads.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="0, the default: a free one."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="A loopback address.")
@tool_command
def command(tool: Tool, write: bool, port: int, host: str) -> None:
    """Serve a web page to see and edit a database. Ctrl-C ends it.

    The link it prints lets one browser in, once; without --write the page only reads.
    """
    try:
        from kvengine.ui.serve import CannotServe, Site, serve
    except ModuleNotFoundError as error:
        raise Exit(
            UNAVAILABLE, f"the page needs {error.name}: pip install 'kvengine[ui]'"
        ) from None
    address = tool.address
    try:
        with opening(address):
            site = Site(address, write=write, host=host, port=port)
    except BadAddress:
        raise
    except ValueError as error:
        raise Exit(USAGE, f"--{error}") from None
    except CannotServe as error:
        raise Exit(FAILED, str(error)) from None
    serve(site, say=click.echo)
