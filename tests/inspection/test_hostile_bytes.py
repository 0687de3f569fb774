"""Bytes that somebody made, under checksums that hold: no read breaks, and a repair is sound.

Nothing but an error of kvengine may come of them; which one, and what is read where there is none,
is up to who made them.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import msgspec
import pytest

import kvengine
from kvengine.errors import KVEngineError
from kvengine.fs.memory import MemoryFileSystem
from kvengine.inspection.audit.verify import audit
from kvengine.storage import record
from kvengine.storage.checksum import TRAILER_SIZE, place_seed, salt, seal
from kvengine.storage.segment import block
from kvengine.storage.segment.reader import SegmentReader
from kvengine.storage.wal.format import HEADER_SIZE, decode_header
from tests.inspection.damage_forge import Forgery, forge_segment, put
from tests.inspection.damage_subjects import Subject, opened, parts, read_all, rich

changed = msgspec.structs.replace


@pytest.fixture(scope="module")
def killed() -> Subject:
    return rich("os")


def mutated(body: bytes, rng: random.Random) -> bytes:
    """As long as before: a few bytes changed, at the start, near the end, or anywhere."""
    made = bytearray(body)
    for _ in range(rng.choice([1, 1, 2, 4])):
        length = rng.choice([1, 1, 2, 8])
        new = rng.choice([rng.randbytes(length), bytes(length), b"\xff" * length, b"\xc0" * length])
        places = (rng.randrange(min(24, len(made))), len(made) - 1 - rng.randrange(40))
        at = max(0, rng.choice([*places, rng.randrange(len(made))]))
        made[at : at + length] = new[: len(made) - at]
    return bytes(made)


def forge_block(fs: MemoryFileSystem, subject: Subject, rng: random.Random) -> None:
    """A block, a chunk or a fixed part of some segment."""
    path = rng.choice(subject.paths("segment"))
    data, starts = bytearray(fs.read_bytes(path)), parts(subject, path)[1:]
    at = rng.randrange(len(starts) - 1)
    low, high = starts[at], starts[at + 1]
    kind, end = data[high - TRAILER_SIZE], high - TRAILER_SIZE
    seed = place_seed(SegmentReader(fs, path).file_id, low)
    data[low:high] = seal(mutated(bytes(data[low:end]), rng), kind, block.UNCOMPRESSED, seed)
    put(fs, path, bytes(data))


def forge_commit(fs: MemoryFileSystem, subject: Subject, rng: random.Random) -> None:
    """A commit of some WAL."""
    path = rng.choice(subject.paths("wal"))
    data = bytearray(fs.read_bytes(path))
    header = decode_header(bytes(data))
    key = salt(header.database_id, header.number)
    found = [(one, bytes(one.payload)) for one in record.records(bytes(data), HEADER_SIZE, key)]
    if found:
        one, payload = rng.choice(found)
        mark = record.marker(key)
        data[one.offset : one.end] = record.encode(mutated(payload, rng), key, mark, one.synced)
        put(fs, path, bytes(data))


def read(fs: MemoryFileSystem) -> None:
    with opened(fs, read_only=True) as db:
        read_all(db)


def check(fs: MemoryFileSystem) -> None:
    with opened(fs, read_only=True) as db:
        db.verify()


def write(fs: MemoryFileSystem) -> None:
    with opened(fs) as db:
        db.set("plain", "k00", "a", b"new")
        db.expire("timed", "k05", ttl=50)
        db.flush()
        db.compact()
        read_all(db)


def repair(fs: MemoryFileSystem) -> None:
    kvengine.repair("/db", "/new", fs=fs)
    with kvengine.open("/new", fs=fs, background="none", create=False) as db:
        assert db.verify() == []
        db.compact()
        read_all(db)


@pytest.mark.parametrize("forge", [forge_block, forge_commit])
def test_nothing_but_errors_of_kvengine_come_of_it(
    killed: Subject, forge: Callable[[MemoryFileSystem, Subject, random.Random], None]
) -> None:
    came: Counter[str] = Counter()
    for seed in range(60):
        fs = killed.fs.copy()
        forge(fs, killed, random.Random(seed))
        for use in (read, check, write):
            try:
                use(fs.copy())
            except KVEngineError:
                came["refused"] += 1
        found = audit("/db", fs.copy()).damage
        came["found"] += bool(found)
        repair(fs.copy())
    assert came["refused"] > 30 and came["found"] > 20, came


def hidden(one: Forgery) -> None:
    """Rows whose flags do not tell of a tombstone, or an entry's expiry; one that none can have."""
    held = one.blocks()[0].rows
    held[0] = changed(held[0], flags=0, entries={"a": None, "b": b"1"})
    held[1] = changed(held[1], flags=0, entries={"a": (1 << 52, b"2")})
    held[2] = changed(held[2], version=1 << 63)


def test_a_repair_keeps_what_flags_do_not_tell_and_names_what_is_no_row() -> None:
    """What the checksum proves is kept, in the form that it must have; what cannot be, is told."""
    fs = MemoryFileSystem()
    with kvengine.open("/db", fs=fs, background="none") as db:
        for number in range(5):
            db.set("s", f"k{number}", "a", b"0")
        db.flush()
    (path,) = [one for one in fs.paths() if one.endswith(".segment")]
    forge_segment(fs, path, hidden)
    report = kvengine.repair("/db", "/new", fs=fs)
    (lost,) = report.lost
    assert "version or a time" in lost.reason
    assert (lost.start, lost.stop) == (("s", "k2"), ("s", "k2\0"))
    with kvengine.open("/new", fs=fs, background="none", create=False) as db:
        assert db.verify() == []
        assert db.get_all("s", "k0") == {"b": b"1"}
        assert db.get("s", "k1", "a") == b"2"
        assert list(db.object_keys("s")) == ["k0", "k1", "k3", "k4"]
