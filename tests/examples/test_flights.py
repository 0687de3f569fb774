"""The demo from end to end on a few hundred events, as a person runs it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest

from examples.flights.aggregate import READER
from examples.flights.events import SHIPPED, open_text, read_events
from examples.flights.record import Record, compare
from examples.flights.run import Demo, DemoFailed, Survey, survey, wait_for_space
from examples.flights.worker import WorkerSettings, handle, open_database
from kvengine import Engine

EVENTS = 300


@pytest.fixture
def events(tmp_path: Path) -> Path:
    path = tmp_path / "events.csv"
    with open_text(SHIPPED) as lines:
        path.write_text("".join(islice(lines, EVENTS + 1)))
    return path


def test_the_demo_runs_to_its_end(tmp_path: Path, events: Path) -> None:
    """Kill, recovery, comparison, retention and space, with a bad row left out."""
    with events.open("a") as file:
        file.write("not,a,flight\n")
    directory = tmp_path / "state"
    command = [sys.executable, "-m", "examples.flights", "--events", str(events), "--skip-bad-rows"]
    command += ["--directory", str(directory), "--retention", "0.5", "--durability", "sync"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    for line in ("bad rows skipped      1", "differences           none", "0 flights readable"):
        assert line in run.stdout
    assert run.stdout.count("differences           none") == 2
    assert f"expired workflows     {EVENTS} of {EVENTS}" in run.stdout
    with open_database(str(directory), "os") as db:
        assert list(db.object_keys("Flight")) == []


@pytest.fixture
def finished(tmp_path: Path, events: Path) -> Demo:
    """A demo whose worker has handled all events; their flights are kept for an hour."""
    settings = WorkerSettings(str(tmp_path / "state"), str(events), False, "os", 3600.0)
    demo = Demo(settings, survey(events, skip_bad_rows=False))
    demo.apply(demo.total.commits, then_kill=False)
    demo.check(in_flight=0)
    return demo


def test_a_commit_that_is_not_there_fails_the_check(finished: Demo) -> None:
    """The demo's own check is not a formality."""
    demo = finished
    commits = demo.total.commits
    demo.stamps.append(demo.stamps[-1] + 1)
    words = f"{commits + 1:,} commits returned, {commits:,} are in the database"
    with pytest.raises(DemoFailed, match=words):
        demo.check(in_flight=1)


def test_commits_that_were_lost_fail_the_check(tmp_path: Path, events: Path) -> None:
    """A database that opens well, and has forgotten the last that it had promised."""
    settings = WorkerSettings(str(tmp_path / "state"), str(events), False, "os", 3600.0)
    demo = Demo(settings, survey(events, skip_bad_rows=False))
    demo.apply(1000, then_kill=True)
    demo.check(in_flight=1)
    before = len(demo.stamps)
    shutil.copytree(tmp_path / "state", tmp_path / "before")
    demo.apply(demo.total.commits, then_kill=False)
    shutil.rmtree(tmp_path / "state")
    (tmp_path / "before").rename(tmp_path / "state")
    words = f"{demo.total.commits:,} commits returned, {before:,} are in the database"
    with pytest.raises(DemoFailed, match=words):
        demo.check(in_flight=1)


def test_a_worker_that_commits_twice_fails_the_demo(tmp_path: Path, events: Path) -> None:
    """It would report more commits than the events make."""
    settings = WorkerSettings(str(tmp_path / "state"), str(events), False, "os", 3600.0)
    commits = survey(events, skip_bad_rows=False)
    demo = Demo(settings, Survey(EVENTS, commits.commits - 1))
    with pytest.raises(DemoFailed, match=f"{commits.commits:,} commits were reported"):
        demo.apply(commits.commits, then_kill=False)


DAMAGE: dict[str, Callable[[Engine], object]] = {
    "a value": lambda db: db.object("Carrier", "UA").set("flights", 0),
    "an entry": lambda db: db.object("Airport", "EWR").clear("departures"),
    "an object": lambda db: db.object("Airport", "IAH").clear_all(),
    "an object too many": lambda db: db.object("Airport", "MOON").set("arrivals", 1),
    "a flight": lambda db: db.workflow("Flight", next(db.object_keys("Flight"))).clear_all(),
    "the end of a flight": lambda db: db.expire("Flight", next(db.object_keys("Flight"))),
    "the reader's place": lambda db: db.object(*READER).set("last_event", 7),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_state_that_was_changed_fails_the_check(
    finished: Demo, damage: Callable[[Engine], object]
) -> None:
    with finished.open() as db:
        damage(db)
    finished.stamps[-1] = last_stamp(finished)
    with pytest.raises(DemoFailed, match=r"differences: [1-9]"):
        finished.check(in_flight=0)


def last_stamp(demo: Demo) -> int:
    with demo.open() as db:
        return db.stats().last_stamp


def test_a_flight_that_outlives_its_retention_fails_the_demo(finished: Demo) -> None:
    finished.record.retention = 0.0
    with finished.open() as db:
        with pytest.raises(DemoFailed, match=f"{EVENTS} flights are readable after their expiry"):
            finished.watch_retention(db)


def test_space_that_does_not_come_back_fails_the_demo(
    finished: Demo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("examples.flights.run.SPACE_WAIT", 0.2)
    with finished.open() as db:
        with pytest.raises(DemoFailed, match=r"on disk, 0 s after the grace; at most 1\.0 kB"):
            wait_for_space(db, 1000)


def test_the_worker_and_the_record_agree_on_every_commit(tmp_path: Path, events: Path) -> None:
    retention = 3600.0
    record = Record(read_events(events), retention)
    with open_database(str(tmp_path / "state"), "os") as db:
        for number, event in enumerate(read_events(events), 1):
            for stamp in handle(db, event, number, retention):
                assert stamp is not None
                record.add(stamp)
        seen = compare(db, record)
    assert (seen.flights, seen.differences) == (EVENTS, [])
