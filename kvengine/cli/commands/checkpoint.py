"""``kvengine checkpoint``: a copy of now."""

from __future__ import annotations

import os

import click

from kvengine.cli.tool import PATH, Tool, tool_command
from kvengine.inspection.escape import safe


@click.command()
@click.argument("directory", type=PATH)
@tool_command
def command(tool: Tool, directory: str) -> None:
    """Make a copy of now at DIRECTORY, by hard links; it opens as a database."""
    path = os.path.abspath(directory)
    instead = "copy makes a directory, and pg_dump a backup"
    with tool.open_directory(instead, write=True) as access:
        access.store.checkpoint(path)
    tool.out.record({"checkpoint": path})
    tool.out.say(f"checkpoint at {safe(path)}")
