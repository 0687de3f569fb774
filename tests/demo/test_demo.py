"""The demo from end to end on a few hundred events, as a person runs it."""

from __future__ import annotations

import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from kvengine.demo.events import SHIPPED, open_text
from kvengine.demo.record import Record, compare
from kvengine.demo.run import Demo, DemoFailed, survey
from kvengine.demo.worker import WorkerSettings, apply_event, open_database

EVENTS = 300


@pytest.fixture
def events(tmp_path: Path) -> Path:
    path = tmp_path / "events.csv"
    with open_text(SHIPPED) as lines:
        path.write_text("".join(islice(lines, EVENTS + 1)))
    return path


def settings(directory: Path, events: Path, *, skip: bool = False) -> WorkerSettings:
    return WorkerSettings(str(directory), str(events), skip, "os", 0.5)


def test_the_demo_runs_to_its_end(tmp_path: Path, events: Path) -> None:
    """Kill, recovery, comparison, retention and space, with a bad row left out."""
    with events.open("a") as file:
        file.write("not,a,flight\n")
    directory = tmp_path / "state"
    command = [sys.executable, "-m", "kvengine.demo", "--events", str(events), "--skip-bad-rows"]
    command += ["--directory", str(directory), "--retention", "0.5", "--durability", "sync"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    for line in ("bad rows skipped      1", "differences           none", "0 flights readable"):
        assert line in run.stdout
    assert run.stdout.count("differences           none") == 2
    assert f"expired workflows     {EVENTS} of {EVENTS}" in run.stdout
    with open_database(str(directory), "os") as db:
        assert list(db.object_keys("Flight")) == []


def test_a_commit_that_is_lost_or_changed_fails_the_check(tmp_path: Path, events: Path) -> None:
    """The demo's own check is not a formality."""
    demo = Demo(settings(tmp_path / "state", events), survey(events, skip_bad_rows=False))
    demo.apply(EVENTS, then_kill=False)
    demo.check(in_flight=0)
    demo.stamps.append(demo.stamps[-1] + 1)
    with pytest.raises(DemoFailed, match="301 commits returned, 300 are in the database"):
        demo.check(in_flight=1)
    demo.stamps.pop()
    with demo.open() as db:
        db.set("Carrier", "UA", "flights", b"0")
    with pytest.raises(DemoFailed, match="differences: 1"):
        demo.check(in_flight=0)


def test_a_batch_and_the_record_agree_on_every_event(tmp_path: Path, events: Path) -> None:
    demo = Demo(settings(tmp_path / "state", events), EVENTS)
    record = Record(retention=60.0)
    with demo.open() as db:
        for number, event in enumerate(demo.events(), 1):
            record.add(event, apply_event(db, event, number, record.retention))
        seen = compare(db, record)
    assert (seen.flights, seen.differences) == (EVENTS, [])
