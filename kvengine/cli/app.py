"""The tree of commands. A command's module is imported when it runs, so that each starts fast."""

from __future__ import annotations

from importlib import import_module

import click

from kvengine import compiled
from kvengine.cli.tool import shared_options
from kvengine.release import VERSION

KV = {
    "get": "Show an object, or one of its entries.",
    "set": "Set one entry.",
    "clear": "Clear an entry, an object or a service.",
    "patch": "Change an object by a JSON Patch (RFC 6902).",
    "edit": "Edit an object as JSON in $EDITOR.",
    "keys": "List the state keys of an object.",
    "expire": "Let an object expire, or keep it for ever.",
    "watch": "Show each change of an object as it happens.",
}
COMMANDS = {
    "services": "List the services.",
    "objects": "List the objects of a service.",
    "scan": "Show every object, with its entries.",
    "find": "Find entries by name, text or JSON path.",
    "export": "Write objects as JSON lines.",
    "import": "Read objects from JSON lines.",
    "copy": "Copy objects into another database.",
    "stats": "Show the figures of a database.",
    "levels": "Show the levels and segments.",
    "verify": "Check every byte and every invariant.",
    "compact": "Rewrite the segments without what is dead.",
    "checkpoint": "Make a copy of now that opens as a database.",
    "backup": "Add a generation to an incremental backup.",
    "restore": "Make a database of a backup, checksums checked.",
    "repair": "Make a new database of what a damaged one holds.",
    "dump": "Show a segment, WAL or manifest file.",
    "bench": "Measure the engine on this machine.",
    "ui": "Serve a web page to see and edit a database.",
    "completion": "Print the completion script of a shell.",
}


class Commands(click.Group):
    """A group whose commands are modules: ``package.name`` holds ``command``."""

    def __init__(self, package: str, summaries: dict[str, str], **attributes: object) -> None:
        super().__init__(**attributes)  # type: ignore[arg-type]
        self._package = package
        self._summaries = summaries

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self._summaries, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self._summaries:
            module = import_module(f"{self._package}{cmd_name.replace('import', 'import_')}")
            found: click.Command = module.command
            return found
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """From the summaries, without importing a command."""
        del ctx
        extra = [(name, one.get_short_help_str()) for name, one in self.commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl([*extra, *self._summaries.items()])


@click.group(
    cls=Commands,
    package="kvengine.cli.commands.",
    summaries=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
    epilog="Names are shown in quotes with escapes; with -q they are taken in that form.",
)
@click.version_option(VERSION, message=f"%(prog)s %(version)s, {compiled.form}")
@shared_options
def root() -> None:
    """Inspect and edit the state that a kvengine database holds.

    A running application is reached through its socket, and nothing is edited
    behind its back. The database is --db DIR, or $KVENGINE_DB, or this directory.
    """


@root.group(cls=Commands, package="kvengine.cli.commands.kv_", summaries=KV)
@shared_options
def kv() -> None:
    """Objects and entries: get, set, clear, edit, watch."""
