"""The demo's command line: ``python -m examples.flights``.

Exit status: 0 when every check held, 1 when the database broke a promise, 2
for bad arguments or a bad events file, 130 when interrupted.
"""

from __future__ import annotations

import argparse
import math
import shutil
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from examples.flights import report
from examples.flights.columns import BadRow
from examples.flights.events import SHIPPED, EventFileError
from examples.flights.run import Demo, DemoFailed, survey
from examples.flights.supervise import WorkerFailed
from examples.flights.worker import WorkerSettings
from kvengine.errors import KVEngineError


class BadDirectory(Exception):
    """The directory asked for cannot be used."""


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m examples.flights",
        description="Apply a month of flights, kill the worker halfway, check, and finish.",
    )
    parser.add_argument(
        "--events", type=Path, default=SHIPPED, metavar="FILE", help="CSV, plain or gzip"
    )
    parser.add_argument(
        "--skip-bad-rows", action="store_true", help="count bad rows and go on without them"
    )
    parser.add_argument(
        "--directory", type=Path, metavar="DIR", help="new or empty; kept (default: a temporary)"
    )
    parser.add_argument("--durability", choices=("os", "sync"), default="os")
    parser.add_argument(
        "--retention", type=seconds, default=2.0, metavar="SECONDS", help="of a flight (default 2)"
    )
    parser.add_argument("--keep", action="store_true", help="keep the temporary directory")
    return parser.parse_args(argv)


def seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError("must be above zero")
    return value


@contextmanager
def work_directory(wanted: Path | None, *, keep: bool) -> Generator[Path]:
    """The database's directory; a temporary one goes at the end, unless a check failed."""
    keep = keep or wanted is not None
    if wanted is None:
        directory = Path(tempfile.mkdtemp(prefix="kvengine-demo-"))
    else:
        directory = wanted
        try:
            directory.mkdir(parents=True, exist_ok=True)
            if any(directory.iterdir()):
                raise BadDirectory(f"{directory} is not empty")
        except OSError as error:
            raise BadDirectory(f"{directory}: {error.strerror}") from error
    try:
        yield directory
    except Exception:
        keep = True
        raise
    finally:
        if keep:
            report.say(f"\nThe database stays in {directory}")
        else:
            shutil.rmtree(directory, ignore_errors=True)


def run(options: argparse.Namespace) -> None:
    report.say("kvengine demo: flights as events over durable objects")
    report.fact("events", str(options.events))
    total = survey(options.events, skip_bad_rows=options.skip_bad_rows)
    report.fact("flights", f"{total.events:,}, in {total.commits:,} commits")
    with work_directory(options.directory, keep=options.keep) as directory:
        report.fact("database", f"{directory}, durability {options.durability}")
        settings = WorkerSettings(
            directory=str(directory),
            events=str(options.events),
            skip_bad_rows=options.skip_bad_rows,
            durability=options.durability,
            retention=options.retention,
        )
        Demo(settings, total).run()


def interpreter() -> str:
    """This Python as a command, short where it lies below the working directory."""
    path, here = Path(sys.executable), Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def next_steps(options: argparse.Namespace) -> None:
    """What to try next; the commands work as they stand, but for names in capitals."""
    python = interpreter()
    report.heading("Next")
    if options.durability == "os":
        report.say("  commits that survive power loss too:")
        report.say(f"    {python} -m examples.flights --durability sync")
    if options.directory is None and not options.keep:
        report.say("  keep the database, and look into it:")
        report.say(f"    {python} -m examples.flights --directory flights")
        report.say(
            f"    {python} -c \"import kvengine; db = kvengine.open('flights');"
            " print(db.object('Carrier', 'UA').get_all())\""
        )
    if options.events == SHIPPED:
        report.say("  your own flights in the same columns, plain or gzip:")
        report.say(f"    {python} -m examples.flights --events FILE")


def main(argv: list[str] | None = None) -> int:
    options = arguments(argv)
    try:
        run(options)
        next_steps(options)
    except BadRow as error:
        return failed(
            f"{options.events}: {error}\n  (--skip-bad-rows goes on without such rows)", 2
        )
    except (EventFileError, BadDirectory) as error:
        return failed(str(error), 2)
    except (DemoFailed, WorkerFailed, KVEngineError) as error:
        return failed(str(error), 1)
    except KeyboardInterrupt:
        return failed("interrupted", 130)
    return 0


def failed(message: str, status: int) -> int:
    print(f"error: {message}", file=sys.stderr, flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
