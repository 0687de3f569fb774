"""``kvengine completion``: the script that makes a shell complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from kvengine.cli.tool import Tool, tool_command


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@tool_command
def command(tool: Tool, shell: str) -> None:
    """Print the completion script of a shell: eval "$(kvengine completion bash)"."""
    del tool
    root = click.get_current_context().find_root()
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(root.command, {}, "kvengine", "_KVENGINE_COMPLETE").source())
