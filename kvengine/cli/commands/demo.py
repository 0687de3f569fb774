"""``kvengine demo``: a month of flights, with a kill -9 halfway."""

from __future__ import annotations

import click

from kvengine.cli.exits import Exit


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    add_help_option=False,
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(arguments: tuple[str, ...]) -> None:
    """A month of flights, with a kill -9 halfway."""
    from kvengine.demo.__main__ import main

    code = main(list(arguments))
    if code:
        raise Exit(code)
