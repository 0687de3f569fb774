"""The tree of commands. A command's module is imported when it runs, so that each starts fast."""

from __future__ import annotations

from difflib import get_close_matches
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
    "ls": "List services, objects, or state keys.",
    "services": "List the services.",
    "objects": "List the objects of a service.",
    "count": "Count the objects of a service.",
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
    "serve": "Own a directory, and serve the processes that share it.",
    "completion": "Print the completion script of a shell.",
    "help": "Show this, or the help of a command.",
}
_KV_TOO = {
    "rm": "clear",
    "del": "clear",
    "delete": "clear",
    "remove": "clear",
    "put": "set",
    "cat": "get",
    "show": "get",
}
ALIASES = {
    "": {
        **{name: f"kv {name}" for name in KV},
        **{name: f"kv {meant}" for name, meant in _KV_TOO.items()},
        "list": "ls",
        "search": "find",
        "grep": "find",
        "cp": "copy",
        "info": "stats",
        "check": "verify",
        "load": "import",
        "vacuum": "compact",
    },
    "kv": {
        **{name: f"kv {meant}" for name, meant in _KV_TOO.items()},
        "ls": "ls",
        "list": "ls",
    },
}
"""Other names of commands that fingers type, by group: the words of the command itself."""


class Commands(click.Group):
    """A group whose commands are modules of ``kvengine.cli.commands``, `kv get` in ``kv_get``."""

    def __init__(self, group: str, summaries: dict[str, str], **attributes: object) -> None:
        super().__init__(**attributes)  # type: ignore[arg-type]
        self._group = group
        self._summaries = summaries

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self._summaries, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        words = ALIASES[self._group].get(cmd_name, "")
        if cmd_name in self._summaries:
            words = f"{self._group} {cmd_name}".strip()
        if not words:
            return super().get_command(ctx, cmd_name)
        name = words.replace(" ", "_").replace("import", "import_")
        found: click.Command = import_module(f"kvengine.cli.commands.{name}").command
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it, but for a command that is none: say what may have been meant."""
        name = args[0]
        if self.get_command(ctx, name) is None and not ctx.resilient_parsing:
            elsewhere = {f"kvengine {each}": each for each in COMMANDS} if self._group else {}
            known = [*self.list_commands(ctx), *ALIASES[self._group]]
            near = get_close_matches(name, known, n=1)
            near += [each for each, short in elsewhere.items() if short == name]
            meant = f"; did you mean {near[0]}?" if near else ""
            ctx.fail(f"no command {name!r}{meant}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """From the summaries, without importing a command."""
        del ctx
        extra = [
            (name, one.get_short_help_str(80))
            for name, one in self.commands.items()
            if not one.hidden
        ]
        with formatter.section("Commands"):
            formatter.write_dl([*extra, *self._summaries.items()])


@click.group(
    cls=Commands,
    group="",
    summaries=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
    epilog="What kv does is done without it too: kvengine get, set, rm. Names are given as"
    " SERVICE/KEY/STATE_KEY (%2F is a slash within one), or each as an argument of its own. They"
    " are shown in quotes with escapes; with -q they are taken in that form.",
)
@click.version_option(VERSION, message=f"%(prog)s %(version)s, {compiled.description()}")
@shared_options
def root() -> None:
    """Inspect and edit the state that a kvengine database holds.

    A running application is reached through its socket, and nothing is edited
    behind its back. The database is --db DIR, or $KVENGINE_DB, or this directory.
    """


@root.command(hidden=True)
@click.pass_context
def version(context: click.Context) -> None:
    """Show the version."""
    main = context.find_root().command
    main.main(["--version"], prog_name="kvengine", standalone_mode=False)


@root.group(cls=Commands, group="kv", summaries=KV)
@shared_options
def kv() -> None:
    """Objects and entries: get, set, clear, edit, watch."""
