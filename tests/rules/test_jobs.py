"""Jobs: what another job has left is never installed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

import kvengine
from kvengine.fs import MemoryFileSystem
from kvengine.storage import filenames
from kvengine.storage.clock import ManualClock
from kvengine.storage.compaction.job import Job, Output
from kvengine.storage.compaction.run import run
from kvengine.storage.names import END
from tests.rules.place import opened

Execute = Callable[[Job], list[Output]]


def of_another_job(db: kvengine.Engine) -> Execute:
    """Run each job under another number, as one that was abandoned and goes on would."""

    def execute(job: Job) -> list[Output]:
        return run(db._db.fs, replace(job, number=job.number + 1000), lambda: True)

    return execute


def of_an_older_job(db: kvengine.Engine, left: list[Output]) -> Execute:
    """Give back the outputs that an older job has left, whatever is asked for."""

    def execute(job: Job) -> list[Output]:
        return left

    return execute


def test_a_compaction_installs_no_output_of_another_job(
    fs: MemoryFileSystem, clock: ManualClock
) -> None:
    """A job was abandoned, and its outputs lie there under temporary names, when the same segments
    are compacted again, with what came since. The old outputs lack that: installed in place of
    all inputs they would lose it without a word.
    """
    with opened(fs, clock) as db:
        db.set("s", "1", "n", b"old")
        db.flush()
        left: list[Output] = []

        def abandoned(job: Job) -> list[Output]:
            left.extend(db._scheduler._execute(job))
            raise OSError("the job was broken off after its last output")

        with pytest.raises(OSError, match="broken off"):
            db._maintenance.compact_all(abandoned, b"", END)
        assert len(left) == 1
        db.set("s", "1", "n", b"new")
        db.set("s", "2", "n", b"new")
        db.flush()
        before = db._db.view.version.files
        with pytest.raises(OSError, match="is of job"):
            db._maintenance.compact_all(of_an_older_job(db, left), b"", END)
        assert db._db.view.version.files == before
        assert db.get("s", "1", "n") == db.get("s", "2", "n") == b"new"
        db.compact()
        assert db.get("s", "1", "n") == db.get("s", "2", "n") == b"new"
    with opened(fs, clock) as db:
        assert db.get("s", "1", "n") == db.get("s", "2", "n") == b"new"
        assert not any(filenames.is_temporary(name) for name in fs.listdir("/db"))


def test_a_flush_installs_no_output_of_another_job(
    fs: MemoryFileSystem, clock: ManualClock
) -> None:
    """A flush is refused likewise: its WAL stays, and the next flush does the work."""
    with opened(fs, clock) as db:
        db.set("s", "1", "n", b"1")
        db._maintenance.rotate_step(force=True)
        with pytest.raises(OSError, match="is of job"):
            db._maintenance.flush_step(of_another_job(db))
        assert db.get("s", "1", "n") == b"1"
        assert len(db._db.view.frozen) == 1 and not db._db.view.version.files
        assert db._maintenance.flush_step(db._scheduler._execute)
        assert not db._db.view.frozen and len(db._db.view.version.files) == 1
    with opened(fs, clock) as db:
        assert db.get("s", "1", "n") == b"1"
