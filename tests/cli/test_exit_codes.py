"""Exit codes are those of docs/cli.md, also where the database cannot be opened or is too small."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

import kvengine
from kvengine.cli.exits import DONE, FAILED, UNAVAILABLE, USAGE
from kvengine.share import server
from tests.cli.conftest import Run


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.EMFILE])
@pytest.mark.parametrize("words", [["services"], ["kv", "set", "S", "k", "n", "1"]])
def test_a_database_that_cannot_be_opened(
    place: Path, run: Run, monkeypatch: pytest.MonkeyPatch, number: int, words: list[str]
) -> None:
    """No permission, a read-only mount, no descriptor left: code 6 once, which is for the rest."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), str(place))

    monkeypatch.setattr("kvengine.engine.open_owned", refuse)
    monkeypatch.setattr("kvengine.engine.open_read_only", refuse)
    told = run(*words)
    assert told.code == UNAVAILABLE
    assert told.err == f"kvengine: {place} cannot be opened: {os.strerror(number)}\n"


def test_an_owner_with_clients_enough(
    place: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MOST_CLIENTS", 0)
    with kvengine.open(place, live_access=True):
        told = run("kv", "set", "Greeter", "alice", "count", "4")
        assert (told.code, "serves 0 clients already" in told.err) == (UNAVAILABLE, True)
        assert run("kv", "get", "Greeter", "alice", "count").code == DONE


def test_a_limit_is_no_wrong_usage(place: Path, run: Run) -> None:
    told = run("kv", "set", "Greeter", "x" * 70_000, "n", "1")
    assert told.code == FAILED
    assert "Traceback" not in told.err


def test_an_import_beyond_what_an_owner_takes(place: Path, run: Run, tmp_path: Path) -> None:
    """It ended as wrong usage, although the lines were right: the owner's limit is in the way."""
    with kvengine.open(place) as db:
        db.set("Wide", "k", "n", b"x" * 20_000_000)
        assert run("export", str(tmp_path / "lines")).code == DONE
        told = run("import", str(tmp_path / "lines"))
        assert (told.code, "20,000,000 bytes, over" in told.err) == (FAILED, True)


def test_a_bad_line_behind_lines_that_were_imported(place: Path, run: Run, tmp_path: Path) -> None:
    """It ended with 2, which promises that nothing was written: now 6, if something was."""
    good = b'{"service": "S", "key": "k", "entries": {"n": 1}}\n'
    new = str(tmp_path / "new")
    told = run("--db", new, "import", "-", "--plain", "--create", stdin=good + b"bad\n")
    assert (told.code, "line 2" in told.err) == (FAILED, True)
    assert run("--db", new, "kv", "get", "S", "k", "n").code == 0
    assert run("--db", new, "import", "-", "--plain", stdin=b"bad\n" + good).code == USAGE
    again = run("--db", new, "import", "-", "--plain", "--dry-run", stdin=good + b"bad\n")
    assert again.code == USAGE
