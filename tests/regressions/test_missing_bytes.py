"""Bytes that are missing from the midst of a log, so that all behind them moved down."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import kvengine
from kvengine import CorruptionError
from kvengine.fs.memory import MemoryFileSystem
from kvengine.storage import record
from kvengine.storage.checksum import salt
from kvengine.storage.manifest.file import Catalog
from kvengine.storage.manifest.format import SegmentMeta, Shape, VersionEdit
from kvengine.storage.segment.salvage import _unknown
from kvengine.storage.wal.format import HEADER_SIZE, decode_header
from tests.regressions.disks import replace

COMMITS = 20
MISSING = 3


def killed() -> MemoryFileSystem:
    """A directory after kill -9, all of whose commits were synced one by one."""
    disk = MemoryFileSystem()
    with kvengine.open("db", fs=disk, background="none") as db:
        for n in range(COMMITS):
            db.set("s", f"k{n:02}", "n", b"x" * 40)
        return disk.copy()


def damaged(count: int) -> Iterator[tuple[int, MemoryFileSystem]]:
    """The same with ``count`` bytes missing here or there from the log, and where."""
    whole = killed()
    data = whole.read_bytes(log_path(whole))
    for at in range(0, len(log(whole)), 17):
        disk = whole.copy()
        replace(disk, log_path(disk), data[:at] + data[at + count :])
        yield at, disk


def log_path(disk: MemoryFileSystem) -> str:
    (path,) = (one for one in disk.paths() if one.startswith("/db/") and one.endswith(".wal"))
    return path


def log(disk: MemoryFileSystem) -> bytes:
    """What is in the log, without the space that is written ahead."""
    return disk.read_bytes(log_path(disk)).rstrip(b"\0")


@pytest.mark.parametrize("count", [1, MISSING])
def test_bytes_missing_from_a_synced_log(count: int) -> None:
    """Bytes missing below the last proven sync: refused, never taken for a torn tail (P4, P5).

    The records behind the gap were whole and said how far the log had been synced.
    Moved down, each seemed to claim a sync beyond its own place, which no honest
    record does, so none was believed and every commit behind the gap was dropped.
    """
    refused = 0
    for at, disk in damaged(count):
        try:
            with kvengine.open("db", fs=disk, background="none") as db:
                found = len(list(db.object_keys("s")))
        except CorruptionError:
            refused += 1
        else:
            # Nothing behind the last commit says that it was synced.
            assert found >= COMMITS - 1, f"{count} missing at {at}"
    assert refused > 50


def test_repair_of_a_log_with_bytes_missing() -> None:
    """Repair tells of the commits that it could not save, and saves those that are whole.

    It too took the moved records for a torn tail, which was never promised to be
    kept, and said that nothing was lost.
    """
    told = 0
    for at, disk in damaged(1):
        report = kvengine.repair("db", "new", fs=disk)
        assert report.objects >= COMMITS - 1, f"a byte missing at {at}"
        if at < len(log(disk)) * (COMMITS - 1) // COMMITS and report.objects < COMMITS:
            assert report.lost, f"a byte missing at {at}"
            told += 1
    assert told > 50


@pytest.mark.parametrize("at", range(COMMITS - 1))
def test_a_whole_record_missing_from_a_synced_log(at: int) -> None:
    """The record behind it then stood where it says that more had been synced. Where it was the
    last one too, that was not looked at: the commit before it was gone, as a torn tail (P4)."""
    whole = killed()
    data = whole.read_bytes(log_path(whole))
    header = decode_header(data[:HEADER_SIZE])
    found = list(record.records(data, HEADER_SIZE, salt(header.database_id, header.number)))
    assert len(found) == COMMITS
    disk = whole.copy()
    replace(disk, log_path(disk), data[: found[at].offset] + data[found[at].end :])
    with pytest.raises(CorruptionError):
        kvengine.open("db", fs=disk, background="none")


OTHERS = {
    "another kind of file": b"KVESEG\r\n" + bytes(range(1, 200)),
    "text": b"#!/bin/sh\nexit 0\n",
    "zeros with something behind": bytes(200) + b"x",
    "noise": bytes(range(1, 129)),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_log_replaced_by_another_file(name: str) -> None:
    """What began as no WAL and held no record passed for one that was never begun: all of its
    commits were gone, and nothing was said."""
    disk = killed()
    replace(disk, log_path(disk), OTHERS[name])
    with pytest.raises(CorruptionError):
        kvengine.open("db", fs=disk, background="none")


@pytest.mark.parametrize("kept", [0, 1, 8, 12, 35, 36, 50, 63])
def test_a_header_that_was_never_finished_is_no_damage(kept: int) -> None:
    """A power cut as a WAL is made leaves some of its header and zeros: it holds nothing yet."""
    disk = MemoryFileSystem()
    with kvengine.open("db", fs=disk, background="none") as db:
        image = disk.copy()
        del db
    data = image.read_bytes(log_path(image))
    replace(image, log_path(image), data[:kept] + bytes(len(data) - kept))
    with kvengine.open("db", fs=image, background="none") as db:
        assert db.services() == []


def test_a_manifest_that_makes_no_sense_is_damage() -> None:
    """Sound checksums, written by a hostile hand: a segment removed twice, a level below zero."""
    shape = Shape(8192, 65536)
    catalog = Catalog(b"i" * 16, shape)
    with pytest.raises(ValueError, match="twice"):
        catalog.apply(VersionEdit(removed=[1, 1]))
    for level in (-1, 64, 10**9):
        with pytest.raises(ValueError, match="level"):
            catalog.apply(VersionEdit(added=[SegmentMeta(1, level, 1, 1, _unknown())]))
