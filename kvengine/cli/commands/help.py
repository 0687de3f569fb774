"""``kvengine help``: the help of the whole, or of a command."""

from __future__ import annotations

import click

from kvengine.cli.tool import Tool, tool_command


@click.command()
@click.argument("command", nargs=-1)
@tool_command
def command(tool: Tool, command: tuple[str, ...]) -> None:
    """Show the help of a command: kvengine help kv get."""
    del tool
    context = click.get_current_context().find_root()
    for word in command:
        group = context.command
        if not isinstance(group, click.Group):
            context.fail(f"{context.command_path} has no commands")
        name, found, _ = group.resolve_command(context, [word])
        assert found is not None
        context = click.Context(found, info_name=name, parent=context)
    click.echo(context.get_help())
