"""Invariants that no checksum guards: each is broken by itself, under checksums that hold.

What the audit says of a segment `Engine.verify` says too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from kvengine.files import filenames
from kvengine.files.manifest import Catalog
from kvengine.format.wal import Commit, Header
from kvengine.fs.memory import MemoryFileSystem
from kvengine.inspection.verify import Audit, audit
from kvengine.rows import Chunk, Row
from tests.inspection.damage_forge import (
    Forgery,
    Rows,
    forge_manifest,
    forge_segment,
    forge_wal,
    put,
    taken_apart,
    wal_bytes,
)
from tests.inspection.damage_subjects import NOW, Subject, opened, rich

changed = msgspec.structs.replace


@pytest.fixture(scope="module")
def closed() -> Subject:
    return rich("closed")


@pytest.fixture(scope="module")
def killed() -> Subject:
    return rich("os")


def told(found: Audit, path: str, reason: str) -> bool:
    return any(one.path == path and reason in one.reason for one in found.damage)


def large(subject: Subject) -> str:
    """The segment with the large rows."""
    return max(subject.paths("segment"), key=subject.fs.size)


def small(subject: Subject) -> str:
    """The largest one that has blocks of several rows and no large row."""
    fs = subject.fs
    plain = [path for path in subject.paths("segment") if not taken_apart(fs, path).chunks()]
    return max(plain, key=fs.size)


def fresh(subject: Subject) -> str:
    """One of level 0, with tombstones and expiries."""
    made = [(path, taken_apart(subject.fs, path).properties) for path in subject.paths("segment")]
    return next(path for path, one in made if one.tombstones and one.expiring)


# --- segments


def swap_names(one: Forgery) -> None:
    block = next(block for block in one.blocks() if len(block.names) > 2)
    block.names[1], block.names[2] = block.names[2], block.names[1]


def swap_blocks(one: Forgery) -> None:
    at = next(i for i in range(len(one.parts) - 1) if both_rows(one, i))
    one.parts[at], one.parts[at + 1] = one.parts[at + 1], one.parts[at]


def both_rows(one: Forgery, at: int) -> bool:
    return all(
        isinstance(part, Rows) and all(row.chunks is None for row in part.rows)
        for part in one.parts[at : at + 2]
    )


def foreign_name(one: Forgery) -> None:
    names = one.blocks()[-1].names
    names[-1] += b"\xff"
    one.filtered.append(names[-1])
    one.properties = changed(one.properties, stop=names[-1] + b"\0")


def edit_row(one: Forgery, **what: Any) -> None:
    block = next(block for block in one.blocks() if all(row.chunks is None for row in block.rows))
    block.rows[0] = changed(block.rows[0], **what)
    block.plain = False


def edit_head(one: Forgery, edit: Callable[[list[Chunk]], list[Chunk]], **what: Any) -> None:
    block, row = one.head()
    assert row.chunks is not None
    block.rows = [changed(row, chunks=edit(list(row.chunks)), **what)]


def edit_chunk(one: Forgery, at: int, **what: Any) -> None:
    chunk = one.chunks()[at]
    one.parts[one.parts.index(chunk)] = changed(chunk, **what)
    one.relink()


def states(one: Forgery, **what: Any) -> None:
    one.properties = changed(one.properties, **what)


def set_attribute(one: Forgery, name: str, value: Any) -> None:
    setattr(one, name, value)


def set_shift(one: Forgery) -> None:
    block = next(block for block in one.blocks() if len(block.rows) > 1)
    block.shift = [0, 3] + [0] * (len(block.rows) - 2)


def set_plain(one: Forgery) -> None:
    one.blocks()[0].plain = not one.blocks()[0].plain


SEGMENT_CASES: dict[str, tuple[Callable[[Forgery], object], str]] = {
    "index": (
        lambda one: one.firsts.update({1: one.blocks()[0].names[-1] + b"!"}),
        "another first",
    ),
    "order in a block": (swap_names, "objects are out of order"),
    "order of blocks": (swap_blocks, "objects are out of order"),
    "below the range": (lambda one: states(one, start=b"z"), "outside the stated range"),
    "above the range": (lambda one: states(one, stop=b"\x01"), "outside the stated range"),
    "filter": (lambda one: one.filtered.clear(), "filter does not know"),
    "name": (foreign_name, "not encoded as one"),
    "directory": (set_shift, "of its block is stated at"),
    "plain": (set_plain, "against what is stated"),
    "entries": (
        lambda one: edit_row(one, entries={"b": b"1", "a": b"2"}),
        "entries are out of order",
    ),
    "ttl": (lambda one: edit_row(one, ttls={"nowhere": 5}), "for what has no value"),
    "gap": (lambda one: one.gaps.update({1: 5}), "does not begin at"),
    "gap behind": (lambda one: one.gaps.update({len(one.parts): 5}), "the filter does not begin"),
    "gap between the last": (lambda one: one.gaps.update({len(one.parts) + 2: 5}), "that follows"),
    "gap at the end": (lambda one: one.gaps.update({len(one.parts) + 3: 5}), "that follows"),
}


LARGE_CASES: dict[str, tuple[Callable[[Forgery], object], str]] = {
    "head with entries": (lambda one: edit_head(one, list, entries={"a": b""}), "holds entries"),
    "head without chunks": (lambda one: edit_head(one, lambda chunks: []), "names no chunks"),
    "count": (
        lambda one: edit_head(one, lambda c: [changed(c[0], entries=c[0].entries + 1), *c[1:]]),
        "describes another chunk",
    ),
    "first": (
        lambda one: edit_head(one, lambda c: [changed(c[0], first="a"), *c[1:]]),
        "describes another chunk",
    ),
    "twice": (
        lambda one: edit_head(one, lambda c: [c[0], changed(c[0], first=c[1].first), *c[2:]]),
        "does not begin at",
    ),
    "one left out": (lambda one: edit_head(one, lambda c: [c[0], *c[2:]]), "does not begin at"),
    "order of chunks": (
        lambda one: (
            edit_chunk(one, 1, entries=dict(one.chunks()[0].entries)),
            edit_head(
                one, lambda c: [c[0], changed(c[1], first=c[0].first, entries=c[0].entries), *c[2:]]
            ),
        ),
        "chunks are out of order",
    ),
    "order in a chunk": (
        lambda one: edit_chunk(
            one, 0, entries=dict(reversed(list(one.chunks()[0].entries.items())))
        ),
        "describes another chunk",
    ),
    "ttl of another chunk": (
        lambda one: edit_chunk(one, 0, ttls={next(iter(one.chunks()[1].entries)): 5}),
        "of another chunk",
    ),
}

PROPERTIES: dict[str, Any] = {
    "start": b"",
    "stop": b"\xff",
    "rows": 99,
    "entries": 99,
    "data_bytes": 1,
    "tombstones": 99,
    "range_tombstones": 99,
    "expiring": 99,
    "first_expiry": 1,
    "half_expiry": 1,
    "last_expiry": 1,
    "extends": 99,
    "first_stamp": 1,
    "last_stamp": 1_700_000_000_000_999,
}


def check_segment(
    subject: Subject, path: str, change: Callable[[Forgery], object], reason: str
) -> None:
    fs = subject.fs.copy()
    forge_segment(fs, path, change)
    found = audit("/db", fs)
    assert told(found, path, reason), found.damage
    assert {one.path for one in found.damage} == {path}
    with opened(fs, read_only=True) as db:
        assert any(reason in error.reason for error in db.verify())


@pytest.mark.parametrize("case", SEGMENT_CASES)
def test_a_broken_segment_is_found(closed: Subject, case: str) -> None:
    check_segment(closed, small(closed), *SEGMENT_CASES[case])


@pytest.mark.parametrize("case", LARGE_CASES)
def test_a_broken_large_row_is_found(closed: Subject, case: str) -> None:
    check_segment(closed, large(closed), *LARGE_CASES[case])


@pytest.mark.parametrize("name", PROPERTIES)
def test_a_property_that_is_not_as_counted_is_found(closed: Subject, name: str) -> None:
    """Each of them, stated otherwise in file and manifest alike."""
    change = {name: PROPERTIES[name]}
    check_segment(closed, fresh(closed), lambda one: states(one, **change), f"state {name}")


def test_a_time_of_deletions_where_there_are_none_is_found(closed: Subject) -> None:
    reason = "a time of deletions"
    check_segment(closed, small(closed), lambda one: states(one, tombstone_time=5), reason)


def forge(fs: MemoryFileSystem, path: str) -> Forgery:
    return forge_segment(fs, path, lambda one: None)


def test_a_segment_taken_apart_and_put_together_is_sound(closed: Subject) -> None:
    """The forger forges nothing by itself."""
    fs = closed.fs.copy()
    for path in closed.paths("segment"):
        forge(fs, path)
    assert audit("/db", fs).findings == []


def is_lasting(subject: Subject, path: str) -> bool:
    """Whether something in it expires, and nothing has expired yet."""
    first = taken_apart(subject.fs, path).properties.first_expiry
    return first is not None and first > (NOW + 100) * 1e6


@pytest.mark.parametrize("name", ["first_expiry", "half_expiry"])
def test_a_property_that_is_none_where_it_is_not_is_found(closed: Subject, name: str) -> None:
    change = {name: None}
    lasting = [path for path in closed.paths("segment") if is_lasting(closed, path)]
    check_segment(closed, lasting[0], lambda one: states(one, **change), f"state {name}")


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ({"file_id": 5}, "not the segment that the manifest names"),
        ({"size": 5}, "the manifest states 5"),
        ({"properties": None}, "properties differ"),
    ],
)
def test_a_segment_that_the_manifest_states_otherwise_is_found(
    closed: Subject, what: dict[str, Any], reason: str
) -> None:
    fs, path = closed.fs.copy(), small(closed)
    parsed = filenames.parse(path.rpartition("/")[2])
    assert parsed is not None

    def restate(catalog: Catalog) -> None:
        meta = catalog.segments[parsed.number]
        other = {"properties": changed(meta.properties, rows=7)} if "properties" in what else what
        catalog.segments[parsed.number] = changed(meta, **other)

    forge_manifest(fs, restate)
    assert told(audit("/db", fs), path, reason)


# --- the catalog


def level_of(catalog: Catalog, level: int) -> None:
    """All segments in one level."""
    for number, meta in catalog.segments.items():
        catalog.segments[number] = changed(meta, level=level)


CATALOG_CASES: dict[str, tuple[Callable[[Catalog], object], str]] = {
    "level": (lambda one: level_of(one, 101), "is in level 101"),
    "negative level": (lambda one: level_of(one, -1), "is in level -1"),
    "last stamp": (lambda one: replace_in(one, last_stamp=5), "a segment has stamp"),
    "next number": (lambda one: replace_in(one, next_number=3), "the next is 3"),
    "a WAL twice": (lambda one: one.wals.append(one.wals[0]), "two files have one number"),
}


def replace_in(catalog: Catalog, **what: Any) -> None:
    vars(catalog).update(what)


@pytest.mark.parametrize("case", CATALOG_CASES)
def test_a_catalog_that_cannot_be_is_found(closed: Subject, case: str) -> None:
    change, reason = CATALOG_CASES[case]
    fs = closed.fs.copy()
    path = forge_manifest(fs, change)
    assert told(audit("/db", fs), path, reason)


def test_segments_that_overlap_in_a_level_are_found(closed: Subject) -> None:
    fs = closed.fs.copy()
    forge_manifest(fs, lambda one: level_of(one, 3))
    found = audit("/db", fs)
    assert any("overlaps" in one.reason and one.path.endswith(".segment") for one in found.damage)


def test_segments_of_level_0_may_overlap(closed: Subject) -> None:
    fs = closed.fs.copy()
    forge_manifest(fs, lambda one: level_of(one, 0))
    assert audit("/db", fs).damage == []


def test_a_commit_above_the_last_stamp_is_found_where_the_end_is_stated(closed: Subject) -> None:
    fs, path = closed.fs.copy(), closed.last_wal
    forge_manifest(fs, lambda one: replace_in(one, last_stamp=one.last_stamp - 1))
    assert told(audit("/db", fs), path, "the last that the manifest states")


# --- WALs


def edited(commit: Commit, **what: Any) -> Commit:
    """The same commit, its first row changed."""
    service, key, row = commit.rows[0]
    return changed(commit, rows=[(service, key, changed(row, **what)), *commit.rows[1:]])


COMMIT_CASES: dict[str, tuple[Callable[[list[Commit]], list[Commit | bytes]], str]] = {
    "order": (lambda c: [c[1], c[0]], "older than the one before it"),
    "twice": (lambda c: [c[0], c[0]], "older than the one before it"),
    "older than segments": (lambda c: [changed(c[0], stamp=5, rows=[])], "older than a WAL"),
    "version": (lambda c: [edited(c[0], version=5)], "not of the version"),
    "chunks": (lambda c: [edited(c[0], chunks=[])], "names chunks"),
    "ttl": (lambda c: [edited(c[0], ttls={"nowhere": 5})], "for what has no value"),
    "range": (lambda c: [changed(c[0], tombstones=[(b"b", b"a")])], "covers nothing"),
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
    row = Row(1 << 60, {"a": b"b"})
    commit = Commit(1 << 60, [("s", "k", row)])
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


# --- names


def test_files_that_are_not_of_the_database_are_notes(closed: Subject) -> None:
    fs = closed.fs.copy()
    names = {
        "notes.txt": "unknown",
        "000001.manifest": "not part of the database",
        "000002.segment": "not part of the database",
        "000001.wal": "not part of the database",
        "000040-77-0.tmp": "temporary",
        "000001234567890123.wal": "unknown",
        "LIVE": "",
    }
    for name in names:
        put(fs, f"/db/{name}", b"x")
    found = audit("/db", fs)
    assert found.damage == []
    notes = {one.path: one.reason for one in found.notes}
    for name, reason in names.items():
        assert reason in notes.pop(f"/db/{name}", "")
    assert notes == {}


@pytest.mark.parametrize("name", ["LOCK", "CURRENT", "wal", "segment", "manifest"])
def test_a_directory_in_the_place_of_a_file_is_found(closed: Subject, name: str) -> None:
    fs = closed.fs.copy()
    path = f"/db/{name}" if name.isupper() else closed.paths(name)[0]
    if fs.exists(path):
        fs.unlink(path)
    fs.makedirs(path)
    assert path in {one.path for one in audit("/db", fs).damage}


def test_a_manifest_under_another_number_is_found(closed: Subject) -> None:
    fs = closed.fs.copy()
    (path,) = closed.paths("manifest")
    fs.rename(path, "/db/000077.manifest")
    put(fs, "/db/CURRENT", current("000077.manifest"))
    assert told(audit("/db", fs), "/db/000077.manifest", "this is manifest")


def current(name: str) -> bytes:
    from kvengine.format.manifest import encode_current

    return encode_current(name)


@pytest.mark.parametrize("name", ["000001.wal", "../db/000003.manifest", "elsewhere", "\x1b[2J"])
def test_a_current_that_names_no_manifest_is_found(closed: Subject, name: str) -> None:
    fs = closed.fs.copy()
    put(fs, "/db/CURRENT", current(name))
    found = audit("/db", fs)
    assert told(found, "/db/CURRENT", "no manifest")
    assert all(one.reason.isprintable() for one in found.findings)
    assert found.objects > 40, "the newest manifest was not used instead"


def test_without_any_manifest_each_file_is_checked_by_itself(closed: Subject) -> None:
    fs, path = closed.fs.copy(), large(closed)
    (stated,) = closed.paths("manifest")
    fs.unlink(stated)
    fs.flip(path, 100)
    wal = closed.last_wal
    fs.flip(wal, 70)
    found = audit("/db", fs)
    assert {stated, path} <= {one.path for one in found.damage}
    assert wal in {one.path for one in found.findings}
    assert found.objects > 30


def test_edits_that_do_not_fit_are_found(closed: Subject) -> None:
    """And the rest is still checked."""
    from kvengine.format import record
    from kvengine.format.checksum import salt
    from kvengine.format.manifest import VersionEdit, encode_edit

    (path,) = closed.paths("manifest")
    data = closed.fs.read_bytes(path)
    seed = salt(data[12:28], 3)
    for payload, reason in (
        (encode_edit(VersionEdit(removed=[999])), "which is not there"),
        (encode_edit(VersionEdit(wals_removed=[999])), "which is not there"),
        (encode_edit(VersionEdit(removed=[small_number(closed)] * 2)), "removes a file twice"),
        (b"\xc1", "not a version edit"),
    ):
        fs = closed.fs.copy()
        more = record.encode(payload, seed, record.marker(seed), len(data))
        put(fs, path, data + more)
        found = audit("/db", fs)
        assert told(found, path, reason)
        assert next(one.offset for one in found.damage if one.path == path) == len(data)
        assert found.objects > 40 or "twice" in reason


def small_number(subject: Subject) -> int:
    parsed = filenames.parse(small(subject).rpartition("/")[2])
    assert parsed is not None
    return parsed.number
