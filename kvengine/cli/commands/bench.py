"""``kvengine bench``: a short measurement on this machine."""

from __future__ import annotations

import os
import platform
import tempfile

import click

from kvengine import compiled
from kvengine.cli.tool import PATH, Tool, tool_command
from kvengine.inspection.escape import safe
from kvengine.release import VERSION


@click.command()
@click.option("--directory", type=PATH, help="Measure there.")
@tool_command
def command(tool: Tool, directory: str | None) -> None:
    """Measure the engine on this machine, in a temporary database.

    Medians in microseconds. A comparison with other stores is `make bench` of a
    checkout.
    """
    from kvengine.inspection.bench import measure

    rows = []
    with tempfile.TemporaryDirectory(prefix="kvengine-bench-", dir=directory) as place:
        tool.out.say(
            f"kvengine {VERSION}, CPython {platform.python_version()},"
            f" {compiled.form}, in {safe(os.path.dirname(place))}"
        )
        for figure in measure(os.path.join(place, "db")):
            tool.out.record(figure._asdict())
            rows.append([figure.operation, f"{figure.microseconds:,.2f}"])
    tool.out.table(("operation", ">us"), rows)
