"""A manifest that cannot be written any more: what background work does then."""

from __future__ import annotations

import errno
import os
import time

import pytest

import kvengine
from kvengine import WriteFailed
from tests.regressions.disks import HookedDisk, eventually

LONG = "k" * 60_000
"""A name that brings the manifest to its rewrite within some ten edits."""

RETRIES = 0.4
"""Seconds in which a failed step of background work was tried again three times."""


def settled(db: kvengine.Engine) -> bool:
    """Nothing is due in the background, or something has failed there."""
    stats = db.stats()
    if stats.background_errors:
        return True
    in_memory = stats.memtable_objects + stats.frozen_memtables
    return not in_memory and stats.levels[0].segments < 2


@pytest.mark.parametrize("operation", ["create", "rename"])
def test_rewrite_that_fails_once(operation: str) -> None:
    """A failed rewrite of the manifest stops writes; the directory opens, nothing is lost.

    The edit that made the manifest too long was durable when no descriptor was
    left for the next manifest. The background tried the same compaction again and
    stated a second time that its inputs go: no later open could make sense of that.
    """
    for phase in range(3):  # whichever it is that fails, a flush or a compaction
        disk = HookedDisk()
        last = returned_until_failure(disk, operation, phase)
        with kvengine.open("db", fs=disk, background="none") as db:
            assert db.get("s", LONG, "n") == last
            db.set("s", LONG, "n", b"last")
            db.compact()
        with kvengine.open("db", fs=disk, background="none") as db:
            assert db.get("s", LONG, "n") == b"last"
            assert db.verify() == []


def returned_until_failure(disk: HookedDisk, operation: str, phase: int) -> bytes:
    """Commit until a rewrite of the manifest has failed; the last value that was acknowledged."""
    met: list[str] = []

    def fail(called: str, path: str) -> None:
        rewrites = path.endswith(".manifest" if operation == "create" else "/CURRENT")
        if called == operation and rewrites and not met:
            met.append(path)
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), path)

    options = {"background": "thread", "memtable_size": 50_000, "l0_compact": 2}
    last = b"0"
    with kvengine.open("db", fs=disk, durability="os", **options) as db:
        db.set("s", LONG, "n", last)
        for _ in range(phase):
            db.compact()
        disk.hook = fail
        for n in range(1, 40):
            assert eventually(lambda: settled(db))
            try:
                db.set("s", LONG, "n", b"%d" % n)
            except WriteFailed:
                break
            last = b"%d" % n
        assert met, "the manifest was not rewritten"
        time.sleep(RETRIES / 2)
        assert db.get("s", LONG, "n") == last
    return last


def test_background_rests_once_the_manifest_has_failed() -> None:
    """After an I/O error of the manifest the files in the directory do not grow in number.

    Nothing can be installed until reopen, yet the flush was tried again and again,
    and each try left one more segment that no manifest names: the disk filled up.
    """
    disk = HookedDisk()

    def fail(called: str, path: str) -> None:
        if called == "datasync" and path.endswith(".manifest"):
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    options = {"background": "thread", "memtable_size": 20_000, "durability": "os"}
    with kvengine.open("db", fs=disk, **options) as db:
        flushing: list[str] = []

        def arm(called: str, path: str) -> None:
            if called == "rename" and path.endswith(".segment"):
                flushing.append(path)
                disk.hook = fail

        disk.hook = arm
        for n in range(30):
            db.set("s", f"k{n}", "n", b"x" * 1000)
        assert eventually(lambda: db.stats().background_errors)
        assert flushing
        names = disk.listdir("db")
        time.sleep(RETRIES)
        assert disk.listdir("db") == names
        assert len([*db.object_keys("s")]) == 30
    disk.hook = None
    with kvengine.open("db", fs=disk, background="none") as db:
        assert len([*db.object_keys("s")]) == 30
