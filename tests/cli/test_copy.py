"""`kvengine copy`: what it says, its codes, and its progress."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Self

import pytest

import kvengine
from kvengine.cli.exits import DONE, NO, UNAVAILABLE, USAGE
from kvengine.inspection.transfer import copy as module
from tests.cli.conftest import Run


@pytest.fixture
def there(tmp_path: Path) -> str:
    return str(tmp_path / "there")


def before_comparing(monkeypatch: pytest.MonkeyPatch, do: Callable[[], object]) -> None:
    """Do something when all is written, and not compared yet."""
    compare = module._Job.compare

    def done(job: module._Job, *, keeps: bool) -> str:
        do()
        return compare(job, keeps=keeps)

    monkeypatch.setattr(module._Job, "compare", done)


def test_a_copy_says_what_it_did(place: Path, there: str, run: Run) -> None:
    """In a sentence and as JSON: what there is, what was written, that both are equal."""
    first = run("copy", str(place), there, "--json")
    copied = json.loads(first.out)
    checksum = copied.pop("checksum")
    figures = {"objects": 2, "entries": 3, "bytes": 13, "written": 2, "expired": 0, "others": 0}
    assert copied == {**figures, "dry_run": False}
    again = run("copy", str(place), there)
    assert again.out.splitlines() == [
        "2 objects, 3 entries; there already: 2 objects",
        f"equal on both sides, checksum {checksum}",
    ]
    run("kv", "set", "Greeter", "eve", "name", "1", "--db", there)
    kept = run("copy", str(place), there, "--others", "keep")
    assert kept.out.splitlines()[0].endswith("; only in DST, kept: 1 object")
    tried = run("copy", str(place), there, "--others", "clear", "--dry-run")
    assert tried.out == (
        "dry run, nothing was written: 2 objects, 3 entries; there already: 2 objects;"
        " only in DST, cleared: 1 object\n"
    )
    assert run("count", "Greeter", "--db", there).out == "3\n"


def test_a_dry_run_makes_no_database(place: Path, there: str, run: Run) -> None:
    assert run("copy", str(place), there, "--dry-run").code == UNAVAILABLE
    assert not Path(there).exists()


def test_what_only_the_target_has_is_not_touched_unasked(place: Path, there: str, run: Run) -> None:
    """2: it holds other objects, so it may be the wrong one; the error says what to give."""
    run("copy", str(place), there)
    run("kv", "set", "Greeter", "eve", "name", "1", "--db", there)
    run("kv", "set", "Greeter", "bob", "name", "2", "--db", there)
    told = run("copy", str(place), there)
    assert told.code == USAGE
    assert told.err.endswith(
        '1 object: "Greeter" "eve"; nothing was written: choose --others keep or --others clear\n'
    )
    assert run("get", "Greeter/bob/name", "--db", there).out == "2\n"


def test_a_source_that_changed_is_no_success(
    place: Path, there: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1: what was copied is told, and that there is more by now."""
    with kvengine.open(place) as db:
        before_comparing(monkeypatch, lambda: db.set("Greeter", "eve", "name", b"1"))
        told = run("copy", str(place), there)
    assert told.code == NO
    assert told.out.startswith("2 objects, 3 entries\nequal on both sides, checksum ")
    assert 'the source has changed since the copy began, 1 object: "Greeter" "eve"' in told.err


def test_a_target_that_changed_is_no_success(
    place: Path, there: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1: the comparison found something; nothing is called equal."""
    with kvengine.open(there) as db:
        before_comparing(monkeypatch, lambda: db.set("Greeter", "bob", "name", b"1"))
        told = run("copy", str(place), there)
    assert (told.code, told.out) == (NO, "")
    assert 'not equal to the source in 1 object: "Greeter" "bob" (not equal)' in told.err


def test_a_database_is_not_copied_into_itself(place: Path, run: Run) -> None:
    """2: by no path, and by no URL."""
    url = "postgresql://user@127.0.0.1:1/db"
    for one, other in ((str(place), f"{place}/../{place.name}"), (url, url)):
        told = run("copy", one, other)
        assert told.code == USAGE and "one database" in told.err


def test_progress_is_told_in_lines_where_there_is_no_terminal(
    place: Path, there: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Now and then, of each phase, on standard error; none beside JSON, none at once."""
    clock = itertools.count(step=7)
    monkeypatch.setattr("kvengine.cli.output.monotonic", lambda: float(next(clock)))
    monkeypatch.setattr("kvengine.inspection.transfer.copy._PACE", 1)
    told = run("copy", str(place), there)
    assert told.code == DONE
    assert told.err.splitlines() == ["checking: 2", "comparing: 0 of 2"]
    assert run("copy", str(place), there, "--json").err == ""


def test_progress_is_a_bar_on_a_terminal(
    place: Path, there: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its description follows the phases."""
    seen: list[str] = []

    class Bar:
        def __init__(self, **_: object) -> None: ...
        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None: ...
        def add_task(self, what: str, **_: object) -> int:
            seen.append(what)
            return 0

        def update(self, _: int, *, description: str, **__: object) -> None:
            seen.append(description)

    monkeypatch.setattr("rich.progress.Progress", Bar)
    monkeypatch.setattr("kvengine.inspection.transfer.copy._PACE", 1)
    monkeypatch.setattr("io.TextIOWrapper", _Terminal)
    assert run("copy", str(place), there).code == DONE
    assert list(dict.fromkeys(seen)) == ["checking", "copying", "comparing"]


class _Terminal(type(sys.stdout)):  # type: ignore[misc]
    def isatty(self) -> bool:
        return True
