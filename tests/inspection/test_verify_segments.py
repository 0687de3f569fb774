"""Segments whose checksums hold and whose content does not: each invariant broken by itself.

What the audit says of a segment `Engine.verify` says too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from kvengine.errors import CorruptionError
from kvengine.fs.memory import MemoryFileSystem
from kvengine.inspection.audit.verify import audit
from kvengine.storage import filenames
from kvengine.storage import row as rows
from kvengine.storage.manifest.file import Catalog
from kvengine.storage.row import Chunk
from tests.inspection.damage_forge import (
    Forgery,
    Rows,
    forge_manifest,
    forge_segment,
    large,
    small,
    taken_apart,
    told,
)
from tests.inspection.damage_subjects import NOW, Subject, opened, rich

changed = msgspec.structs.replace


@pytest.fixture(scope="module")
def closed() -> Subject:
    return rich("closed")


def fresh(subject: Subject) -> str:
    """One of level 0, with tombstones and expiries."""
    made = [(path, taken_apart(subject.fs, path).properties) for path in subject.paths("segment")]
    return next(path for path, one in made if one.tombstones and one.expiring)


def swap_names(one: Forgery) -> None:
    block = next(block for block in one.blocks() if len(block.names) > 2)
    block.names[1], block.names[2] = block.names[2], block.names[1]


def swap_blocks(one: Forgery) -> None:
    """Two blocks, which the index states in the order that there must be."""
    at = next(i for i in range(len(one.parts) - 1) if both_rows(one, i))
    one.parts[at], one.parts[at + 1] = one.parts[at + 1], one.parts[at]
    number = one.blocks().index(one.parts[at])
    later, sooner = one.blocks()[number : number + 2]
    one.firsts = {number: sooner.names[0], number + 1: later.names[0]}


def both_rows(one: Forgery, at: int) -> bool:
    return all(
        isinstance(part, Rows) and all(row.chunks is None for row in part.rows)
        for part in one.parts[at : at + 2]
    )


def foreign_name(one: Forgery) -> None:
    names = one.blocks()[-1].names
    names[-1] += b"\xff"
    one.properties = changed(one.properties, stop=names[-1] + b"\0")


def small_block(one: Forgery) -> Rows:
    return next(block for block in one.blocks() if all(row.chunks is None for row in block.rows))


def edit_row(one: Forgery, **what: Any) -> None:
    block = small_block(one)
    block.rows[0] = changed(block.rows[0], **what)


def repeated_entry(one: Forgery) -> None:
    """A row that names a state key twice."""
    version = one.blocks()[0].rows[0].version
    made = rows.pack(0, version, None, {"a": b"1", "b": b"2"})
    small_block(one).raw = {0: made.replace(b"\xa1b", b"\xa1a")}


def narrow_version(one: Forgery) -> None:
    """A row whose numbers are MessagePack, and not where they are looked for."""
    small_block(one).raw = {0: msgspec.msgpack.encode((0, 7, None, {"a": b"1" * 20}))}


def large_among_others(one: Forgery) -> None:
    block = next(block for block in one.blocks() if len(block.rows) > 1)
    chunk = Chunk("a", 0, 50, 1)
    block.rows[0] = changed(block.rows[0], flags=rows.LARGE, entries={}, chunks=[chunk])


def large_without_chunks(one: Forgery) -> None:
    block = small_block(one)
    block.names, block.rows = block.names[:1], [changed(block.rows[0], flags=rows.LARGE)]


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


def set_shift(one: Forgery, more: int) -> None:
    block = next(block for block in one.blocks() if len(block.rows) > 1)
    block.shift = [0, more]


SEGMENT_CASES: dict[str, tuple[Callable[[Forgery], object], str]] = {
    "index": (
        lambda one: one.firsts.update({1: one.blocks()[0].names[-1] + b"!"}),
        "another first",
    ),
    "order in a block": (swap_names, "objects are out of order"),
    "order of blocks": (swap_blocks, "objects are out of order"),
    "below the range": (lambda one: states(one, start=b"z"), "outside the stated range"),
    "above the range": (lambda one: states(one, stop=b"\x01"), "outside the stated range"),
    "filter of objects": (lambda one: one.unfiltered.add("object"), "does not know an object"),
    "filter of entries": (lambda one: one.unfiltered.add("entry"), "does not know an entry"),
    "name": (foreign_name, "not encoded as one"),
    "slots": (lambda one: set_shift(one, 3), "fixed fields are not in their places"),
    "slots that fall": (lambda one: set_shift(one, 1 << 20), "slots are out of order"),
    "count": (lambda one: set_attribute(one.blocks()[0], "count", 77), "slots do not fit"),
    "no wide numbers": (narrow_version, "fixed fields are not in their places"),
    "large among others": (large_among_others, "not alone in its block"),
    "large without chunks": (large_without_chunks, "names chunks, or none, against its flags"),
    "unknown flag": (lambda one: edit_row(one, flags=64), "flags are not known"),
    "hidden expiry": (lambda one: edit_row(one, expires_at=1 << 50), "not what its flags say"),
    "no expiry": (lambda one: edit_row(one, flags=rows.EXPIRES), "not what its flags say"),
    "hidden tombstone": (
        lambda one: edit_row(one, flags=0, entries={"a": None}),
        "not what its flags say",
    ),
    "hidden ttl": (
        lambda one: edit_row(one, flags=0, entries={"a": (5, b"")}),
        "not what its flags say",
    ),
    "time below zero": (
        lambda one: edit_row(one, flags=rows.ENTRY_TTLS, entries={"a": (-5, b"")}),
        "out of range",
    ),
    "version": (lambda one: edit_row(one, version=(1 << 63) - 1), "newer than the last stamp"),
    "entry twice": (repeated_entry, "not written as rows are"),
    "entries": (
        lambda one: edit_row(one, entries={"b": b"1", "a": b"2"}),
        "entries are out of order",
    ),
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
    "hidden ttl": (
        lambda one: (
            edit_head(one, list, flags=rows.LARGE),
            edit_chunk(one, 0, flags=rows.ENTRY_TTLS),
        ),
        "do not tell",
    ),
    "flags": (lambda one: edit_chunk(one, 0, flags=rows.CLEARED), "do not tell"),
    "version": (
        lambda one: edit_chunk(one, 0, version=one.chunks()[0].version + 1),
        "of another row",
    ),
    "no row": (lambda one: edit_chunk(one, 0, version=5), "out of range"),
    "filter of entries": (lambda one: one.unfiltered.add("entry"), "does not know an entry"),
}

REFUSED_CASES: dict[str, tuple[Callable[[Forgery], object], str]] = {
    "order of the index": (
        lambda one: one.firsts.update({1: one.blocks()[0].names[0]}),
        "index is out of order",
    ),
    "blocks that overlap": (lambda one: one.places.update({1: 40}), "blocks that overlap"),
    "filter": (lambda one: set_attribute(one, "seed", 7), "of another database"),
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
    "barriers": 99,
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


def test_a_barrier_that_the_filter_does_not_know_is_found(closed: Subject) -> None:
    change, reason = (lambda one: one.unfiltered.add("barrier")), "filter does not know a barrier"
    check_segment(closed, fresh(closed), change, reason)


@pytest.mark.parametrize("case", REFUSED_CASES)
def test_a_segment_that_no_open_takes_is_found(closed: Subject, case: str) -> None:
    """What a reader relies on from the start: the audit says it, and an open refuses it."""
    change, reason = REFUSED_CASES[case]
    fs, path = closed.fs.copy(), small(closed)
    forge_segment(fs, path, change)
    assert told(audit("/db", fs), path, reason)
    with pytest.raises(CorruptionError, match=reason):
        opened(fs, read_only=True).close()


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


def test_a_first_expiry_that_is_none_where_there_is_one_is_found(closed: Subject) -> None:
    lasting = [path for path in closed.paths("segment") if is_lasting(closed, path)]
    check_segment(
        closed, lasting[0], lambda one: states(one, first_expiry=None), "state first_expiry"
    )


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
