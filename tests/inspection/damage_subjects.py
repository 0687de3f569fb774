"""Databases to be damaged, and what each byte of them belongs to."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import kvengine
from kvengine.fs.memory import MemoryFileSystem
from kvengine.storage import filenames
from kvengine.storage.clock import ManualClock
from kvengine.storage.lifecycle.rotate import rotate
from kvengine.storage.segment.reader import SegmentReader

NOW = 1_700_000_000.0
WAL_HEADER = 64
KNOWN = [f"k{number:02}" for number in range(24)]
"""Object keys that are looked up one by one, whether they are there or not."""

OPTIONS = {
    "background": "none",
    "block_size": 300,
    "chunk_size": 500,
    "segment_size": 1500,
    "level_base": 2000,
    "expiry_grace": 5,
    "tombstone_age": 1e6,
    "l0_compact": 8,
}

Content = dict[str, object]


class Written(NamedTuple):
    """A commit in the last WAL: its record's bytes, what it states as synced, what is then read."""

    start: int
    end: int
    synced: int
    content: Content


@dataclass
class Subject:
    """A directory ``/db``. ``tail``: the commits of its last WAL, which nothing seals.

    ``content``: what is read of it. ``before``: the same without that tail.
    """

    name: str
    fs: MemoryFileSystem
    content: Content
    before: Content
    tail: list[Written] = field(default_factory=list)

    def paths(self, *kinds: str) -> list[str]:
        """Its files, but for LOCK; of some kinds only, CURRENT being one."""
        found = [path for path in self.fs.paths() if not path.endswith("LOCK")]
        return [path for path in found if not kinds or kind(path) in kinds]

    @property
    def last_wal(self) -> str:
        return self.paths("wal")[-1]


def kind(path: str) -> str:
    parsed = filenames.parse(path.rpartition("/")[2])
    return parsed.kind if parsed is not None else "CURRENT"


def opened(fs: MemoryFileSystem, *, read_only: bool = False) -> kvengine.Engine:
    clock = ManualClock(NOW + 100)
    create = False
    return kvengine.open("db", fs=fs, clock=clock, read_only=read_only, create=create, **OPTIONS)


def read_all(db: kvengine.Engine) -> Content:
    """Everything that any read verb returns."""
    found: Content = {}
    for service in [*db.services(), "absent"]:
        found[f"keys of {service}"] = list(db.object_keys(service))
        found[f"keys of {service} from the end"] = list(db.object_keys(service, reverse=True))
        for one in db.scan(service):
            found[f"{service}/{one.key} scanned"] = one
        for key in KNOWN:
            found[f"{service}/{key} loaded"] = db.load(service, key)
            found[f"{service}/{key} version"] = db.version(service, key)
            for state_key in db.state_keys(service, key):
                found[f"{service}/{key}/{state_key}"] = db.get(service, key, state_key)
    return found


def _fill(db: kvengine.Engine, clock: ManualClock) -> None:
    """Segments of three levels: ttls, expiries, range tombstones, large objects, tombstones."""
    for number, key in enumerate(KNOWN[:16]):
        db.set("plain", key, "a", b"%d" % number * 30)
        db.set("timed", key, "a", key.encode() * 5, ttl=None if number % 3 else 50 + number)
        db.set("timed", key, "b", b"stays")
    for number in range(12):
        db.set("large", "k01", f"e{number:02}", bytes([65 + number]) * 200)
        db.set("large", "k02", f"e{number:02}", bytes([97 + number]) * 150, ttl=10_000)
    db.flush()
    db.compact()
    for key in KNOWN[2:8]:
        db.expire("timed", key, ttl=60 if key < "k05" else 20_000)
    db.clear("plain", "k03", "a")
    db.clear_all("plain", "k04")
    db.clear_range("plain", "k10", "k14")
    db.flush()
    clock.advance(30)
    for key in KNOWN[4:7]:
        db.expire("timed", key, ttl=30_000)
    db.set("large", "k01", "e03", b"newer")
    db.set("\0nul\x1b", "k00", "n\u202eame", b"\x00\xff")
    db.clear_service("absent")
    db.flush()
    db.set("plain", "k12", "a", b"back again")
    db.set("plain", "k20", "a", b"", ttl=9_000)
    db.clear_range("plain", "k08", "k09")
    db.flush()
    clock.advance(70)


def _changes() -> Iterator[tuple[str, str, str, bytes | None]]:
    """Commits for the WALs."""
    for number, key in enumerate(KNOWN[14:22]):
        yield "plain", key, "w", b"wal %d " % number * 6
    yield "plain", "k15", "w", None
    yield "large", "k02", "e05", b"newest"


def _commit(db: kvengine.Engine, change: tuple[str, str, str, bytes | None], how: str) -> None:
    service, key, state_key, value = change
    batch = kvengine.Batch()
    if value is None:
        batch.clear(service, key, state_key)
    else:
        batch.set(service, key, state_key, value)
    db.write(batch, durability="sync" if how == "sync" else "os")


def rich(name: str) -> Subject:
    """A database with four segments and more, and several WALs.

    ``name``: "closed"; "os" or "sync", of the last commit, for one left by kill -9.
    """
    fs, clock = MemoryFileSystem(), ManualClock(NOW)
    db = kvengine.open("db", fs=fs, clock=clock, durability="os", **OPTIONS)
    _fill(db, clock)
    db._committer._maintain = lambda: None  # so that WALs stay
    for change in list(_changes())[:4]:
        _commit(db, change, "os")
    rotate(db._db, db._committer)
    _commit(db, ("timed", "k09", "w", b"in the second WAL"), "os")
    rotate(db._db, db._committer)
    before = read_all(db)
    tail = []
    for number, change in enumerate(_changes()):
        wal = db._db.wal
        assert wal is not None
        start, synced = wal.end, wal.synced
        _commit(db, change, "sync" if number in (3, 5) or name == "sync" else "os")
        tail.append(Written(start, wal.end, synced, read_all(db)))
    content = read_all(db)
    image = fs.copy()
    db.close()
    if name == "closed":
        return Subject(name, fs, content, before)
    return Subject(name, image, content, before, tail)


def parts(subject: Subject, path: str) -> list[int]:
    """Where the parts of a sound file begin: header, records, blocks, chunks, footer."""
    fs = subject.fs
    if kind(path) == "CURRENT":
        return [0]
    if kind(path) == "segment":
        return _segment_parts(SegmentReader(fs, path))
    data, at, found = fs.read_bytes(path), WAL_HEADER, [0]
    while at + 20 <= len(data) and data[at : at + 4].strip(b"\0"):
        found.append(at)
        at += 20 + int.from_bytes(data[at + 8 : at + 12], "little")
    return [*found, at]


def _segment_parts(reader: SegmentReader) -> list[int]:
    found = [0]
    for at in range(reader.block_count):
        found.append(reader.block_handle(at)[1].offset)
        for row in reader.read_block(at)[1]:
            found += [chunk.offset for chunk in row.chunks or ()]
    stated = reader.footer
    places = (stated.filter, stated.tombstones, stated.block_index, stated.properties)
    return [*found, *(handle.offset for handle in places), reader.size - 72]


def part_of(starts: list[int], offset: int) -> int:
    """Where the part begins that a byte belongs to."""
    return starts[bisect_right(starts, offset) - 1]
