"""Jobs: without the interpreter lock they make of any layers what they make in plain Python.

The layers have all that rows may state, in memtables and segments, and range tombstones. Some of
the segments are damaged, with checksums that fit.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvengine.fs import DiskFileSystem, MemoryFileSystem
from kvengine.fs.memory_file import MemoryFile
from kvengine.storage import filenames
from kvengine.storage import row as rows
from kvengine.storage.checksum import TRAILER_SIZE, place_seed, seal
from kvengine.storage.compaction import run as fast
from kvengine.storage.compaction.job import Abandoned, Job
from kvengine.storage.frames import Frames
from kvengine.storage.manifest.format import SegmentMeta
from kvengine.storage.memtable import Memtable
from kvengine.storage.names import Name, encode_object
from kvengine.storage.range_tombstones import Tombstones
from kvengine.storage.row import Entry, Row
from kvengine.storage.segment import writer as fast_writer
from kvengine.storage.segment.block import ROWS
from kvengine.storage.segment.reader import LiveSegment
from kvengine.storage.state import Change
from tests.twins.forms import MARKERS, only_compiled, plain
from tests.twins.test_writer import Fixed

pytestmark = only_compiled

slow: Any = plain("kvengine.storage.compaction.run")
slow_writer = plain("kvengine.storage.segment.writer")
slow.rewrite = plain("kvengine.storage.compaction.rewrite").rewrite
slow.SegmentWriter = slow_writer.SegmentWriter

STAMP = 1 << 50
SEED = 77
SERVICES = ["", "s", "s\0", "ä", "service"]
KEYS = ["", "a", "\0", "€", "\U0001f600", "object-0000", "k" * 300]
STATE_KEYS = ["", "a", "ab", "\0", "ä", "€", "\U0001f600", "item-0000", "x" * 40]


@dataclass
class Place:
    """Where a job runs, and what its rows look like."""

    choice: random.Random
    fs: Any
    directory: str
    names: list[Name]
    stamp: int = STAMP
    block_size: int = 512
    chunk_size: int = 1024
    segments: list[LiveSegment] = field(default_factory=list)

    def some_entry(self, size: int) -> Entry:
        choice = self.choice
        value = choice.randbytes(choice.randrange(size))
        kind = choice.randrange(9)
        if kind == 0:
            return None
        return (STAMP + choice.randrange(-9, 9), value) if kind == 1 else value

    def some_row(self) -> Row:
        choice = self.choice
        count = choice.choice([0, 1, 1, 1, 3, 3, 10, 33 if choice.random() < 0.3 else 2])
        size = 2000 if choice.random() < 0.02 else 20
        entries = {
            choice.choice(STATE_KEYS) + str(choice.randrange(4)): self.some_entry(size)
            for _ in range(count)
        }
        return rows.make(
            self.stamp,
            entries,
            cleared=choice.random() < 0.2,
            extends=choice.random() < 0.1,
            expires_at=STAMP + choice.randrange(-9, 9) if choice.random() < 0.3 else None,
            completed_at=STAMP if choice.random() < 0.05 else None,
        )

    def some_range(self) -> tuple[bytes, bytes]:
        found = sorted(encode_object(*self.choice.choice(self.names)) for _ in range(2))
        return found[0], found[1]

    def memtable(self) -> Memtable:
        """A memtable of a few commits, as the committer makes them; entries in any order."""
        choice, table = self.choice, Memtable(1)
        for _ in range(choice.choice([1, 3, 10, 30])):
            self.stamp += 1
            changes = []
            for name in choice.sample(self.names, min(len(self.names), choice.choice([1, 1, 4]))):
                row = self.some_row()
                order = choice.sample(list(row.entries), len(row.entries))
                shuffled = {key: row.entries[key] for key in order}
                made = rows.pack(row.flags, row.version, row.expires_at, shuffled, row.completed_at)
                changes.append(Change(name, None, made))
            ranges = [self.some_range()] if choice.random() < 0.1 else []
            marks = table.prepare_states({}, changes, ranges, self.stamp, STAMP)
            table.publish(changes, marks)
        return table

    def layer(self) -> list[LiveSegment]:
        """Disjoint segments."""
        choice = self.choice
        self.stamp += 1
        chosen = sorted(encode_object(*name) for name in self.names if choice.random() < 0.6)
        cuts = sorted(choice.sample(range(len(chosen) + 1), min(2, len(chosen) + 1)))
        edges = [0, *cuts, len(chosen)]
        found = []
        for low, high in pairwise(edges):
            part = chosen[low:high]
            marks: Tombstones = ()
            if len(part) > 1 and choice.random() < 0.2:
                marks = ((part[0], part[choice.randrange(1, len(part))], self.stamp),)
            if part:
                found.append(self.segment(part, marks))
        return found

    def segment(self, names: list[bytes], marks: Tombstones) -> LiveSegment:
        number = len(self.segments) + 1
        path = filenames.join(self.directory, filenames.segment(number))
        writer = slow_writer.SegmentWriter(self.fs, path, self.block_size, self.chunk_size, SEED)
        for name in names:
            writer.add(name, self.some_row())
        properties = writer.finish(marks, STAMP)
        meta = SegmentMeta(number, 1, writer.file_id, writer.size, properties)
        segment = LiveSegment(self.fs, self.directory, meta, Frames(0), SEED)
        self.segments.append(segment)
        return segment

    def damage(self) -> None:
        """Change bytes of a block of rows, and let its checksum fit."""
        choice = self.choice
        segment = choice.choice(self.segments)
        if segment.block_count:
            _, handle = segment.block_handle(choice.randrange(segment.block_count))
            file = self.fs.open_write(segment.path)
            data = bytearray(file.pread(handle.length - TRAILER_SIZE, handle.offset))
            for _ in range(choice.randint(1, 3)):
                at = choice.randrange(len(data))
                if choice.random() < 0.3:  # the slots
                    at = choice.randrange(max(0, len(data) - 40), len(data))
                found = [choice.randrange(256), choice.choice(MARKERS), data[at] ^ 1]
                data[at] = choice.choice(found)
            file.seek(handle.offset)
            kind = ROWS if choice.random() < 0.95 else 2
            body, place = bytes(data), place_seed(segment.file_id, handle.offset)
            sealed = seal(body, kind, 0, place)
            if choice.random() < 0.05:
                sealed = sealed[:-1] + bytes([sealed[-1] ^ 1])
            file.write(sealed)
            file.close()

    def job(self) -> Job:
        choice = self.choice
        layers = [self.layer() for _ in range(choice.choice([0, 1, 2, 3]))]
        tables = [self.memtable() for _ in range(choice.choice([0, 0, 1, 2]))]
        newer = self.layer() if choice.random() < 0.3 else []
        encoded = [encode_object(*name) for name in self.names]
        apart = sorted(name + b"!" for name in encoded if choice.random() < 0.05)
        extended = frozenset(name for name in encoded if choice.random() < 0.1)
        return Job(
            directory=self.directory,
            number=1000,
            seed=SEED,
            horizon=choice.choice([0, STAMP, STAMP, STAMP + 5]),
            block_size=choice.choice([64, 512, 4096]),
            chunk_size=choice.choice([64, 1024, 1024]),
            segment_size=choice.choice([0, 0, 300, 3000]),
            tables=tables,
            layers=[layer for layer in reversed(layers) if layer],
            extended=extended if choice.random() < 0.5 else frozenset(),
            newer=newer,
            older=[self.some_range() for _ in range(choice.choice([0, 0, 1, 2]))],
            apart=apart,
        )


def outcome(run: Any, writer: Any, place: Place, job: Job) -> Any:
    """The files that a job makes and their properties, or its error; nothing of it stays."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "random", Fixed)
        try:
            outputs = run.run(place.fs, job, lambda: True)
        except Exception as error:
            left = [n for n in place.fs.listdir(place.directory) if filenames.is_temporary(n)]
            return type(error), str(error), left
    found = []
    for output in outputs:
        path = filenames.join(job.directory, output.name)
        found.append((output, place.fs.read_bytes(path)))
        place.fs.unlink(path)
    return found


def check(choice: random.Random, fs: Any, directory: str, rounds: int) -> None:
    """Compare both forms on sound layers, and then on damaged ones."""
    names = [
        (choice.choice(SERVICES), choice.choice(KEYS) + str(choice.randrange(9)))
        for _ in range(choice.choice([1, 5, 40]))
    ]
    place = Place(choice, fs, directory, sorted(set(names)))
    job = place.job()
    wanted = outcome(slow, slow_writer, place, job)
    assert outcome(fast, fast_writer, place, job) == wanted
    assert isinstance(wanted, list), wanted
    if not place.segments:
        return
    for _ in range(rounds):
        place.damage()
        damaged = replace(job, number=job.number + 1)
        wanted = outcome(slow, slow_writer, place, damaged)
        assert outcome(fast, fast_writer, place, damaged) == wanted
        if not isinstance(wanted, list):
            return


def check_mutated(choice: random.Random, rounds: int = 9) -> None:
    """One input of the long run, too: see fuzz.py."""
    if choice.random() < 0.8:
        fs = MemoryFileSystem()
        fs.makedirs("/db")
        check(choice, fs, "/db", rounds)
        return
    with tempfile.TemporaryDirectory() as directory:
        check(choice, DiskFileSystem(), directory, rounds)


@settings(max_examples=150, deadline=None)
@given(st.randoms(use_true_random=False))
def test_both_forms_make_the_same_of_a_job(choice: random.Random) -> None:
    check_mutated(choice)


def test_a_job_that_is_no_longer_wanted_stops() -> None:
    """It is asked before the first object, too."""
    place = Place(random.Random(1), MemoryFileSystem(), "/db", [("s", str(n)) for n in range(9)])
    place.fs.makedirs("/db")
    job = replace(place.job(), tables=[place.memtable()])
    forms: list[Callable[..., Any]] = [fast.run, slow.run]
    for run in forms:
        with pytest.raises(Abandoned):
            run(place.fs, job, lambda: False)
    assert not [name for name in place.fs.listdir("/db") if filenames.is_temporary(name)]


def test_a_job_stops_in_the_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks again and again whether to go on, and leaves nothing behind when it stops."""
    place = Place(random.Random(2), MemoryFileSystem(), "/db", [("s", str(n)) for n in range(99)])
    place.fs.makedirs("/db")
    table = Memtable(1)
    row = rows.pack_entries(STAMP, {"n": bytes(70_000)})
    changes = [Change(name, None, row) for name in place.names]
    table.publish(changes, table.prepare_states({}, changes, [], STAMP, STAMP))
    job = replace(place.job(), tables=[table], layers=[], chunk_size=65536)
    write, asked = MemoryFile.write, []

    def slow(file: MemoryFile, data: bytes) -> None:
        time.sleep(0.01)
        write(file, data)

    def wanted() -> bool:
        asked.append(time.monotonic())
        return len(asked) < 3

    monkeypatch.setattr(MemoryFile, "write", slow)
    with pytest.raises(Abandoned):
        fast.run(place.fs, job, wanted)
    assert len(asked) == 3 and asked[2] - asked[1] < 2
    assert not [name for name in place.fs.listdir("/db") if filenames.is_temporary(name)]
