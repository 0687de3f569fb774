"""Moving between a directory and PostgreSQL: nothing is lost on the way there and back."""

from __future__ import annotations

import json
import os
import random
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import kvengine
from kvengine.cli.exits import FAILED, USAGE
from tests.cli.conftest import Run, run
from tests.inspection.content import ODD_NAMES, ODD_VALUES
from tests.postgres.killed import run_killed

__all__ = ["run"]  # the fixture

OBJECTS = int(os.environ.get("KVENGINE_COPIED", "2000"))

_NAMES = [name for name in ODD_NAMES if len(name) < 100]
_FAR = 4e9


def make(path: Path) -> None:
    """A database of odd and of many plain objects, with expiries, workflows and retentions."""
    dice = random.Random(7)
    with kvengine.open(path, durability="os") as db:
        for service in ("", "odd\0", "\U0001f600", "\uffff"):
            with db.batch() as batch:
                for key in _NAMES:
                    for name in dice.sample(_NAMES, 3):
                        ends = dice.choice([None, _FAR + dice.randrange(10**12) / 1e6])
                        value = dice.choice(ODD_VALUES)
                        batch.set(service, key, name, value, expires_at=ends)
                    if dice.random() < 0.3:
                        batch.expire(service, key, at=_FAR + dice.randrange(10**12) / 1e6)
        for number in range(40):
            flow = db.workflow("Flow", str(number), retention=timedelta(days=400, microseconds=1))
            if number % 2:
                flow.set("state", number)
            if number % 3:
                flow.complete()
        db.set_retention("Flow", timedelta(days=7))
        db.set_retention("Nothing there", 0.5)
        for first in range(0, OBJECTS, 1000):
            with db.batch() as batch:
                for number in range(first, min(first + 1000, OBJECTS)):
                    for name in "abcdefghij":
                        batch.set("Many", f"{number:07}", name, dice.randbytes(100))


def facts(store: Any) -> list[Any]:
    """All that a home holds, but the versions of objects."""
    with store.snapshot() as reads:
        found = list(reads.scan())
    return [
        store.retentions(),
        *(
            (one.service, one.key, one.expires_at, one.completed_at, one.expiries, one.entries)
            for one in found
        ),
    ]


def test_killed_copies_go_on_and_come_back_equal(database: str, tmp_path: Path, run: Run) -> None:
    """From a directory to PostgreSQL and back, each copy killed in its midst and run again: the
    same to the byte and the microsecond, and what had arrived was not written twice."""
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    make(Path(one))
    for source, target in ((one, database), (database, two)):
        run_killed(OBJECTS // 2000 + 1, "copy", source, target)
        told = run("copy", source, target, "--json")
        assert told.code == 0, told.err
        copied = json.loads(told.out)
        assert copied["objects"] > OBJECTS
        assert 0 < copied["written"] < copied["objects"]
    with (
        kvengine.open(one, read_only=True) as before,
        kvengine.open(two, read_only=True) as after,
        kvengine.connect(database) as between,
    ):
        assert facts(before) == facts(between) == facts(after)
    again = json.loads(run("copy", database, two, "--json").out)
    assert again == {**copied, "written": 0}


def test_names_that_postgresql_does_not_take_stop_a_copy(
    database: str, tmp_path: Path, run: Run
) -> None:
    """They are found before anything is written, and the first ones are named."""
    path = str(tmp_path / "db")
    with kvengine.open(path) as db:
        db.set("a", "k", "n", b"1")
        db.set("s", "k", "n" * 2598, b"1")
        db.set("s", "k", "n" * 2599, b"1")
        db.set("s", "l" * 2600, "n", b"1")
        db.workflow("s", "m" * 2600).complete()
    told = run("copy", path, database)
    (sentence,) = told.err.splitlines()
    assert told.code == FAILED
    assert '3 objects: "s" "k" (names of 2,601 bytes, at most 2,600 go together)' in sentence
    assert len(sentence) < 600
    with kvengine.connect(database) as store:
        assert store.services() == []


@pytest.mark.parametrize("others", ["refuse", "keep", "clear"])
def test_what_only_the_server_has(database: str, tmp_path: Path, run: Run, others: str) -> None:
    """It is refused, kept or cleared, as the command is told."""
    path = str(tmp_path / "db")
    with kvengine.open(path) as db, kvengine.connect(database) as store:
        db.set("s", "k", "n", b"1")
        store.set("s", "a", "n", b"0")
        store.set("s", "k", "more", b"0")
        told = run("copy", path, database, "--others", others)
        if others == "refuse":
            assert told.code == USAGE and "--others keep or --others clear" in told.err
            assert store.get_all("s", "k") == {"more": b"0"}
            return
        assert told.code == 0, told.err
        assert store.get_all("s", "k") == {"n": b"1"}
        assert store.get_all("s", "a") == ({"n": b"0"} if others == "keep" else {})
