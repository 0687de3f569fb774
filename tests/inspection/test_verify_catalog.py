"""What a directory holds against what its manifest and CURRENT say: each disagreement is found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from crc32c import crc32c

from kvengine.errors import CorruptionError
from kvengine.inspection.audit.verify import Audit, audit
from kvengine.inspection.dump import manifest as manifest_dump
from kvengine.inspection.dump.logs import MAX_FOUND
from kvengine.storage import filenames, record
from kvengine.storage.checksum import salt
from kvengine.storage.manifest.file import Catalog
from kvengine.storage.manifest.format import VersionEdit, encode_current, encode_edit
from tests.inspection.damage_forge import (
    forge_manifest,
    large,
    put,
    small,
    told,
)
from tests.inspection.damage_subjects import Subject, rich

changed = msgspec.structs.replace


@pytest.fixture(scope="module")
def closed() -> Subject:
    return rich("closed")


def level_of(catalog: Catalog, level: int) -> None:
    """All segments in one level."""
    for number, meta in catalog.segments.items():
        catalog.segments[number] = changed(meta, level=level)


CATALOG_CASES: dict[str, tuple[Callable[[Catalog], object], str]] = {
    "level": (lambda one: level_of(one, 101), "to level 101"),
    "negative level": (lambda one: level_of(one, -1), "to level -1"),
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
    put(fs, "/db/CURRENT", encode_current("000077.manifest"))
    assert told(audit("/db", fs), "/db/000077.manifest", "this is manifest")


def test_a_newer_manifest_that_is_not_in_force_is_a_note(closed: Subject) -> None:
    """One that a crash left before CURRENT named it: what it states does not count."""
    fs = closed.fs.copy()
    (path,) = closed.paths("manifest")
    data, named = fs.read_bytes(path), fs.read_bytes("/db/CURRENT")
    newer = forge_manifest(fs, lambda one: one.segments.clear())
    put(fs, path, data)
    put(fs, "/db/CURRENT", named)
    found = audit("/db", fs)
    assert found.damage == [] and {one.path for one in found.notes} == {newer}
    assert found.objects > 40


@pytest.mark.parametrize("name", ["000001.wal", "../db/000003.manifest", "elsewhere", "\x1b[2J"])
def test_a_current_that_names_no_manifest_is_found(closed: Subject, name: str) -> None:
    fs = closed.fs.copy()
    put(fs, "/db/CURRENT", encode_current(name))
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
    (path,) = closed.paths("manifest")
    data = closed.fs.read_bytes(path)
    seed = salt(data[12:28], 3)
    for payload, reason in (
        (encode_edit(VersionEdit(removed=[999])), "which is not there"),
        (encode_edit(VersionEdit(wals_removed=[999])), "which is not there"),
        (encode_edit(VersionEdit(removed=[small_number(closed)] * 2)), "removes a segment twice"),
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


def test_a_first_edit_that_does_not_state_everything_is_found(closed: Subject) -> None:
    fs = closed.fs.copy()
    (path,) = closed.paths("manifest")
    data = fs.read_bytes(path)
    seed = salt(data[12:28], 3)
    edit = record.encode(encode_edit(VersionEdit(next_number=5)), seed, record.marker(seed), 64)
    put(fs, path, data[:64] + edit)
    assert told(audit("/db", fs), path, "does not state everything")


def test_a_manifest_of_a_newer_release_is_told_as_that(closed: Subject) -> None:
    """An open refuses it: the audit and the dump say which release can read it, and go on."""
    fs = closed.fs.copy()
    (path,) = closed.paths("manifest")
    data = bytearray(fs.read_bytes(path))
    data[8:12] = (99).to_bytes(4, "little")
    data[60:64] = crc32c(bytes(data[:60])).to_bytes(4, "little")
    put(fs, path, bytes(data))
    found = audit("/db", fs)
    assert told(found, path, "open it with a newer kvengine") and found.objects > 40
    dumped = manifest_dump.read(path, fs)
    assert any("a newer kvengine" in line for line in manifest_dump.describe(dumped))


def test_of_the_damage_of_one_file_a_thousand_findings_are_told() -> None:
    errors = [CorruptionError("/db/x", at, "bad") for at in range(5000)]
    found = Audit("/db")
    found.take(errors, 5000)
    assert len(found.findings) == MAX_FOUND + 1
    assert found.findings[-1].reason == "and more damage behind"
