"""What every command shares: the database it is about, how it speaks, how it fails."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from kvengine.cli import names
from kvengine.cli.exits import UNAVAILABLE, USAGE, Exit
from kvengine.cli.output import Output
from kvengine.passwords import without_passwords
from kvengine.postgres.address import is_postgres

if TYPE_CHECKING:
    from kvengine.inspection.access import Access, AnyAccess

_SHARED = ("db", "as_json", "quoted", "debug")


class Place(click.Path):
    """A path, in which a ~ is the home directory also where no shell has replaced it.

    ``--db=~/state`` and a variable in a unit file come with their ~. Without a home it is an error,
    and never a directory of that name.
    """

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        return expanded(os.fsdecode(super().convert(value, param, ctx)))


PATH = Place(readable=False)


def expanded(path: str) -> str:
    """A path with its ~ replaced; `Exit` where there is no home."""
    if not path.startswith("~"):
        return path
    found = os.path.expanduser(path)
    if not os.path.isabs(found) or os.environ.get("HOME") == "":
        raise Exit(USAGE, f"{path}: whose home is not known here; write the whole path")
    return found


def located(given: str) -> str:
    """Return the address of a database as it is opened: an absolute path, or a PostgreSQL URL."""
    return given if is_postgres(given) else os.path.abspath(expanded(given))


class Tool:
    """The options that every command takes, wherever on the line they stand."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._db: str | None = options["db"]
        self.quoted: bool = bool(options["quoted"])
        self.out: Output = Output(json=bool(options["as_json"]))

    @property
    def address(self) -> str:
        """Return the directory or the URL of the database; `Exit` where none was named."""
        found = self._db or os.environ.get("KVENGINE_DB")
        if not found and os.path.exists("CURRENT"):
            found = "."
        if not found:
            raise Exit(USAGE, "which database? Give --db DIR or --db URL, or set KVENGINE_DB")
        return located(found)

    def open(
        self,
        address: str | None = None,
        *,
        write: bool = False,
        create: bool = False,
        absent: str = "name one by --db",
    ) -> AnyAccess:
        """Return the database, through its owner where there is one. A context manager.

        ``address``: another one than that of --db. ``create``: make it if there is none; else
        ``absent`` says what to do then.
        """
        from kvengine.inspection.access import reach

        address = address or self.address
        with opening(address, absent):
            return reach(address, write=write, create=create)

    def open_directory(self, instead: str, *, write: bool = False, or_read: bool = False) -> Access:
        """Return the database as `open` does, for a command that `directory` is for.

        ``or_read``: as `Access`.
        """
        from kvengine.inspection.access import Access

        path = self.directory(instead)
        with opening(path):
            return Access(path, write=write, or_read=or_read)

    def directory(self, instead: str, given: str | None = None) -> str:
        """Return the directory of the database; `Exit` where it is on a server.

        For commands about the files of a directory. ``instead``: what there is for a server.
        ``given``: an address that the command was given instead of --db.
        """
        address = self.address if given is None else located(given)
        if is_postgres(address):
            name = click.get_current_context().info_name
            raise Exit(USAGE, f"{name} is for directories; of a PostgreSQL database {instead}")
        return address

    def names(self, given: Sequence[str], least: int, most: int) -> tuple[str, ...]:
        """The names that the arguments say, ``least`` to ``most`` of them."""
        return names.place(given, least, most, quoted=self.quoted)

    def name(self, what: str, given: str) -> str:
        """A name as the user gave it: as it is, or with -q in the form that is shown."""
        return names.taken(what, given, self.quoted)


@contextmanager
def opening(address: str, absent: str = "name one by --db") -> Iterator[None]:
    """Say in the words of the command line why a database cannot be opened.

    ``absent``: what to do where there is none.
    """
    from kvengine.errors import NotADatabase, Unavailable
    from kvengine.share.owner import OwnerSilent

    path = without_passwords(address)
    try:
        yield
    except NotADatabase as error:
        why = str(error) if is_postgres(address) else f"{path} holds no database"
        raise Exit(UNAVAILABLE, f"{why}: {absent}") from None
    except ImportError as error:
        if not is_postgres(address):
            raise
        raise Exit(UNAVAILABLE, str(error)) from None
    except OwnerSilent as error:
        raise Exit(UNAVAILABLE, str(error)) from None
    except Unavailable:
        raise  # some are a TimeoutError, which is an OSError
    except OSError as error:
        reason = error.strerror or str(error)
        raise Exit(UNAVAILABLE, f"{path} cannot be opened: {reason}") from None


def shared_options(callback: Callable[..., Any]) -> Callable[..., Any]:
    """--db, --json, --quoted and --debug on a group: kept for the command."""

    @functools.wraps(callback)
    def run(**arguments: Any) -> Any:
        context = click.get_current_context()
        _keep(context, arguments)
        return callback(**arguments)

    return _options(run)


def tool_command(callback: Callable[..., Any]) -> Callable[..., Any]:
    """The same on a command, which gets its `Tool` first."""

    @functools.wraps(callback)
    def run(**arguments: Any) -> Any:
        context = click.get_current_context()
        _keep(context, arguments)
        return callback(Tool(context.obj), **arguments)

    return _options(run)


def _keep(context: click.Context, arguments: dict[str, Any]) -> None:
    """Take the shared options out of ``arguments``: what stands nearer to the command wins."""
    given = {name: arguments.pop(name) for name in _SHARED}
    before = context.obj or dict.fromkeys(_SHARED)
    context.obj = {name: given[name] or before[name] for name in _SHARED}


def _options(run: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--debug", is_flag=True, help="Show the traceback of an error."),
        click.option("-q", "--quoted", is_flag=True, help="Names are given as they are shown."),
        click.option("--json", "as_json", is_flag=True, help="Print JSON, a line for each item."),
        click.option(
            "-d",
            "--db",
            metavar="DB",
            type=PATH,
            help="The database: its directory, or its PostgreSQL URL.",
        ),
    ):
        run = option(run)
    return run
