"""The command line as cron or a supervisor starts it: with a standard stream closed, or full.

Without standard output every command ended in a traceback, and without standard input the commands
that read it reported a bug. Worse, a file of the database could get the number of the stream, and
what was printed would have gone there.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import kvengine
from kvengine.cli.exits import DONE, FAILED, USAGE

READING = ["services", "kv get Greeter alice count", "stats", "verify", "--help", "--version"]


def start(place: Path, command: str, streams: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the shell that closes or redirects streams of the command line."""
    return subprocess.run(
        ["sh", "-c", f'exec "$0" -m kvengine.cli {command} {streams}', sys.executable],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env={"KVENGINE_DB": str(place), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path.cwd())},
    )


@pytest.mark.parametrize("command", READING)
@pytest.mark.parametrize("streams", [">&-", ">/dev/full", ">&- <&- 2>&-"])
def test_an_answer_that_nobody_gets_is_a_failure(place: Path, command: str, streams: str) -> None:
    ended = start(place, command, streams)
    assert ended.returncode == FAILED
    assert ended.stdout == ""
    if "2>" not in streams:
        assert len(ended.stderr.splitlines()) == 1
        assert ended.stderr.startswith("kvengine: ")
        assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("command", READING)
@pytest.mark.parametrize("streams", ["<&-", "2>&-", "<&- 2>&-"])
def test_other_streams_are_not_needed_for_an_answer(
    place: Path, command: str, streams: str
) -> None:
    ended = start(place, command, streams)
    assert (ended.returncode, ended.stderr) == (DONE, "")
    assert ended.stdout == start(place, command, "").stdout


def test_an_edit_that_cannot_be_shown_is_not_made(place: Path) -> None:
    ended = start(place, "kv set Greeter alice count 5", ">&-")
    assert ended.returncode == FAILED
    assert "closed" in ended.stderr
    with kvengine.open(place) as db:
        assert db.object("Greeter", "alice").get("count") == 3


@pytest.mark.parametrize(
    ("command", "code", "told"),
    [
        ("import -", FAILED, "a standard stream that this needs is closed"),
        ("kv clear Greeter alice name", USAGE, "nobody can be asked here"),
        ("kv patch Greeter alice", FAILED, "a standard stream that this needs is closed"),
    ],
)
def test_a_command_that_must_read_says_that_it_cannot(
    place: Path, command: str, code: int, told: str
) -> None:
    ended = start(place, command, "<&-")
    assert (ended.returncode, told in ended.stderr) == (code, True), ended.stderr
    with kvengine.open(place) as db:
        assert db.object("Greeter", "alice").get("name") == "Alice"


def test_no_file_of_the_database_becomes_a_stream(place: Path) -> None:
    """With all three closed, three files that a command opens could have been 0, 1 and 2."""
    start(place, "kv set Greeter alice count 5", "<&- >&- 2>&-")
    start(place, "compact", "<&- >&- 2>&-")
    with kvengine.open(place, read_only=True) as db:
        assert db.verify() == []
        assert db.object("Greeter", "alice").get("count") == 3


@pytest.mark.parametrize("module", ["kvengine", "kvengine.cli"])
def test_the_command_line_is_a_module_too(module: str) -> None:
    """Where the script is not on the path, and to say which Python runs it."""
    command = [sys.executable, "-m", module, "--version"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ended.stdout.startswith("kvengine 0.")
