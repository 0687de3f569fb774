"""The chain of WALs: each of its rules broken by itself, under checksums that hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from kvengine.fs.memory import MemoryFileSystem
from kvengine.inspection.audit.verify import audit
from kvengine.inspection.dump.logs import Gap
from kvengine.inspection.dump.wal import WalFile, describe
from kvengine.storage import row as rows
from kvengine.storage.row import Chunk
from kvengine.storage.wal.format import Commit, Header
from tests.inspection.damage_forge import (
    Forgery,
    encoded,
    forge_manifest,
    forge_segment,
    forge_wal,
    put,
    small,
    told,
    wal_bytes,
)
from tests.inspection.damage_subjects import Subject, rich

changed = msgspec.structs.replace


@pytest.fixture(scope="module")
def closed() -> Subject:
    return rich("closed")


@pytest.fixture(scope="module")
def killed() -> Subject:
    return rich("os")


def edited(commit: Commit, **what: Any) -> Commit:
    """The same commit, its first row changed."""
    service, key, data = commit.rows[0]
    row = encoded(changed(rows.decode(data), **what))
    return commit._replace(rows=[(service, key, row), *commit.rows[1:]])


CHUNKS = [Chunk("a", 0, 50, 1)]

COMMIT_CASES: dict[str, tuple[Callable[[list[Commit]], list[Commit | bytes]], str]] = {
    "order": (lambda c: [c[1], c[0]], "older than the one before it"),
    "twice": (lambda c: [c[0], c[0]], "older than the one before it"),
    "older than segments": (lambda c: [c[0]._replace(stamp=5, rows=[])], "older than a WAL"),
    "version": (
        lambda c: [edited(c[0], version=c[0].stamp + 1)],
        "version of a row is not the commit's stamp",
    ),
    "no version": (lambda c: [edited(c[0], version=5)], "out of range"),
    "stamp": (lambda c: [c[0]._replace(stamp=-5, rows=[])], "out of range"),
    "chunks": (
        lambda c: [edited(c[0], flags=rows.LARGE, entries={}, chunks=CHUNKS)],
        "names chunks",
    ),
    "ttl": (lambda c: [edited(c[0], entries={"a": (5, b"")})], "not what its flags say"),
    "tombstone": (lambda c: [edited(c[0], entries={"a": None})], "not what its flags say"),
    "row": (lambda c: [c[0]._replace(rows=[("s", "k", b"\x93\0\1\2")])], "not a row"),
    "an object twice": (lambda c: [c[0]._replace(rows=c[0].rows * 2)], "names an object twice"),
    "range": (lambda c: [c[0]._replace(tombstones=[(b"b", b"a")])], "covers nothing"),
    "no commit": (lambda c: [c[0], b"\xc1"], "not a commit"),
}


@pytest.mark.parametrize("case", COMMIT_CASES)
def test_a_commit_that_cannot_be_is_found(killed: Subject, case: str) -> None:
    change, reason = COMMIT_CASES[case]
    fs, path = killed.fs.copy(), killed.last_wal
    forge_wal(fs, path, change)
    found = audit("/db", fs)
    assert told(found, path, reason), found.damage
    at = next(one.offset for one in found.damage if reason in one.reason)
    assert at >= 64


HEADER_CASES: dict[str, tuple[Callable[[Header], Header], str]] = {
    "number": (lambda one: one._replace(number=7), "belongs elsewhere"),
    "database": (lambda one: one._replace(database_id=bytes(16)), "belongs elsewhere"),
    "previous": (lambda one: one._replace(previous=7), "follows WAL 7"),
    "none before": (lambda one: one._replace(previous=0), "follows WAL 0"),
}


@pytest.mark.parametrize("case", HEADER_CASES)
def test_a_header_that_does_not_fit_is_found(killed: Subject, case: str) -> None:
    change, reason = HEADER_CASES[case]
    fs, path = killed.fs.copy(), killed.last_wal
    forge_wal(fs, path, header=change)
    assert told(audit("/db", fs), path, reason)


@pytest.mark.parametrize("more", [-30, 30])
def test_a_wal_that_is_not_as_long_as_proven_is_found(killed: Subject, more: int) -> None:
    """The next one's header proves where its commits end, neither before nor behind."""
    fs = killed.fs.copy()
    before, path = killed.paths("wal")[-2:]
    forge_wal(fs, path, header=lambda one: one._replace(proven=one.proven + more))
    assert told(audit("/db", fs), before, "it was sealed at")


@pytest.mark.parametrize("which", [0, 1])
def test_a_wal_without_a_header_is_found_unless_it_is_the_last(killed: Subject, which: int) -> None:
    fs, path = killed.fs.copy(), killed.paths("wal")[which]
    put(fs, path, bytes(fs.size(path)))
    assert told(audit("/db", fs), path, "WAL header is damaged")


def test_the_last_wal_may_not_have_been_begun(killed: Subject) -> None:
    """Zeros, or a header torn into zeros and what should be there; nothing else."""
    path = killed.last_wal
    head = killed.fs.read_bytes(path)[:64]
    torn = head[:20] + bytes(44)
    for data, sound in (
        (b"", True),
        (bytes(65536), True),
        (torn + bytes(4000), True),
        (torn[:10], True),
        (b"\1" * 64 + bytes(4000), False),
        (torn + bytes(4000) + b"\1", False),
        (b"#!/bin/sh\n", False),
    ):
        fs = killed.fs.copy()
        put(fs, path, data)
        assert (audit("/db", fs).damage == []) == sound, data[:64]


def test_a_wal_that_the_manifest_does_not_know_may_hold_nothing(closed: Subject) -> None:
    """One that an interrupted rotation left is a note; one with a commit is damage."""
    path = "/db/000999.wal"
    old = closed.fs.read_bytes(closed.last_wal)
    header = Header(old[12:28], 999, 0, 0)
    row = rows.pack(0, 1 << 60, None, {"a": b"b"})
    commit = Commit(1 << 60, [("s", "k", row)], [])
    for data, damaged in (
        (bytes(65536), False),
        (wal_bytes(header, []) + bytes(100), False),
        (wal_bytes(header, [commit]), True),
        (bytes(64) + wal_bytes(header, [commit])[64:], True),
        (old, True),
    ):
        fs = closed.fs.copy()
        put(fs, path, data)
        found = audit("/db", fs)
        assert bool(found.damage) == damaged
        assert {one.path for one in found.findings} == {path}


def test_a_wal_shorter_than_the_manifest_states_is_found(closed: Subject) -> None:
    fs, path = closed.fs.copy(), closed.last_wal
    fs.cut(path, fs.size(path) - 1)
    assert told(audit("/db", fs), path, "where it was synced")


def test_bytes_behind_the_stated_end_are_not_looked_at(closed: Subject) -> None:
    """An open does not: they were dropped once and for all."""
    fs, path = closed.fs.copy(), closed.last_wal
    put(fs, path, fs.read_bytes(path) + b"torn tail")
    assert audit("/db", fs).findings == []


def test_a_wal_that_is_older_than_a_segment_is_found(killed: Subject) -> None:
    """What was flushed is older than all that was not."""
    fs, wal = killed.fs.copy(), killed.paths("wal")[0]
    path = small(killed)
    late = 1 << 60

    def change(one: Forgery) -> None:
        block = one.blocks()[0]
        block.rows[0] = changed(block.rows[0], version=late)
        one.properties = changed(one.properties, last_stamp=late)

    forge_segment(fs, path, change)
    forge_manifest(fs, lambda one: vars(one).update(last_stamp=late + 1))
    assert told(audit("/db", fs), wal, "older than a WAL or segment")


@pytest.mark.parametrize("behind", [0, 1])
def test_a_record_that_is_missing_before_one_that_proves_it_is_found(
    killed: Subject, behind: int
) -> None:
    """All behind moved down: the next record lies before what it states as synced.

    Also where that one is the last of all. What is behind is shown, and not kept.
    """
    path = killed.last_wal
    at = next(i for i, one in enumerate(killed.tail) if i and one.synced == one.start)
    gone, tail = killed.tail[at - 1], killed.tail[: at + 1 + behind]
    fs = killed.fs.copy()
    data = fs.read_bytes(path)[: tail[-1].end]
    put(fs, path, data[: gone.start] + data[gone.end :])
    found = audit("/db", fs)
    assert (path, gone.start) in {(one.path, one.offset) for one in found.damage}
    one = WalFile(fs, path)
    lines = list(describe(one))
    assert f"  offset {gone.start:,}: bytes are missing here" in lines
    shown = [each for each in WalFile(fs, path).commits() if not isinstance(each, Gap)]
    assert [each.kept for each in shown] == [True] * (at - 1) + [False] * (1 + behind)


def test_a_wal_that_is_written_meanwhile_is_read_on(killed: Subject) -> None:
    """A record that was not there a moment ago is no damage behind the end."""
    fs, path = killed.fs.copy(), killed.last_wal
    data = fs.read_bytes(path)
    last = killed.tail[-1]
    put(fs, path, data[: last.start] + bytes(len(data) - last.start))

    class Beside(WalFile):
        """Its owner writes the last record just after the reader has met the end."""

        def written_behind(self, end: int) -> int:
            put_into(fs, path, data)
            return super().written_behind(end)

    found = Beside(fs, path)
    assert not any(isinstance(one, Gap) for one in found.commits())
    assert found.end == last.end and found.state == "zeros"


def put_into(fs: MemoryFileSystem, path: str, data: bytes) -> None:
    """Write over a file that somebody has open."""
    file = fs.open_write(path)
    file.write(data)
    file.close()
