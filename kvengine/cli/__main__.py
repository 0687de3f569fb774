"""``kvengine``, and ``python -m kvengine.cli``: run a command, turn what it raises into a code."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import NoReturn

from kvengine import compiled
from kvengine.release import VERSION


def main() -> NoReturn:
    """Run the command line of this process; ends with a code of exits.py."""
    open_missing_streams()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    from kvengine.cli import exits

    try:
        import click
    except ModuleNotFoundError:
        if sys.argv[1:] == ["--version"]:
            print(f"kvengine {VERSION}, {compiled.description()}")
            sys.exit(exits.DONE)
        need = "the command line needs its extra: pip install 'kvengine[cli]'"
        print(f"kvengine: {need}", file=sys.stderr)
        sys.exit(exits.FAILED)
    from kvengine.cli.app import root
    from kvengine.inspection.escape import safe
    from kvengine.passwords import without_passwords

    try:
        if "_KVENGINE_COMPLETE" in os.environ:
            root.main(prog_name="kvengine")  # answers the shell, and ends
        # Not `main`, which ends with 1 where a pipe is closed.
        with root.make_context("kvengine", sys.argv[1:]) as context:
            root.invoke(context)
        sys.stdout.flush()
        code = exits.DONE
    except click.exceptions.Exit as ended:
        code = ended.exit_code
    except click.ClickException as error:
        text = io.StringIO()
        error.show(text)
        click.echo(safe(without_passwords(text.getvalue())), err=True, nl=False)
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt, EOFError):
        click.echo("interrupted", err=True)
        code = exits.INTERRUPTED
    except BrokenPipeError:
        code = exits.DONE  # whoever reads this has seen enough
    except Exception as error:
        if "--debug" in sys.argv:
            raise
        code = _told(error)
    try:
        sys.stdout.flush()
    except OSError:
        # The error was reported already; Python would report it again, with a code of its own.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def open_missing_streams() -> None:
    """Give standard streams that were closed before the start a descriptor that refuses all use.

    Else a file of the database could get the number of one, and what is printed would go there.
    Nobody could read errors then: they go to the null device.
    """
    for number, flags in enumerate((os.O_WRONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free: this one. An editor that is started has it too.
            os.set_inheritable(os.open(os.devnull, flags), True)
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


def _told(error: Exception) -> int:
    """One sentence on standard error; the code."""
    from kvengine import errors
    from kvengine.cli import exits
    from kvengine.inspection.document import BadDocument

    kinds: list[tuple[type[Exception] | tuple[type[Exception], ...], int]] = [
        (errors.VersionConflict, exits.CONFLICT),
        (errors.CorruptionError, exits.DAMAGED),
        (errors.BadAddress, exits.USAGE),
        (
            (
                errors.DatabaseLocked,
                errors.NotADatabase,
                errors.UnsupportedFormat,
                errors.Unavailable,
            ),
            exits.UNAVAILABLE,
        ),
        (errors.ValueTooLarge, exits.FAILED),  # a ValueError too
        (BadDocument, exits.USAGE),
        ((errors.KVEngineError, OSError, UnicodeError, ValueError), exits.FAILED),
    ]
    if isinstance(error, exits.Exit):
        if error.message:
            _say(error.message)
        return error.code
    for kind, code in kinds:
        if isinstance(error, kind):
            _say(_sentence(error))
            return code
    _say(f"unexpected error, a bug: {type(error).__name__}: {error}; --debug shows more")
    return exits.FAILED


def _say(sentence: str) -> None:
    from kvengine.inspection.escape import safe
    from kvengine.passwords import without_passwords

    print(f"kvengine: {safe(without_passwords(sentence))}", file=sys.stderr)


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == errno.EBADF and not error.filename:
        return "a standard stream that this needs is closed"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


if __name__ == "__main__":
    main()
