"""A backup, or a restore, that is killed, or loses power, or meets an error, at any call."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from random import Random

import pytest

from kvengine.errors import CorruptionError, KVEngineError, NotADatabase
from kvengine.fs.faulty import FaultyFileSystem
from kvengine.fs.memory import MemoryFileSystem
from kvengine.inspection.backup.files import generations
from kvengine.inspection.backup.restore import restore
from kvengine.inspection.backup.verify import verify_backup
from tests.inspection.backups import (
    PLACE,
    State,
    make,
    names,
    open_db,
    restored,
    state,
    step,
    three,
)

EIO = OSError(errno.EIO, os.strerror(errno.EIO))


class Killed(BaseException):
    """From now on nothing that the process does reaches the disk."""


FAULTS: dict[str, dict[str, object]] = {
    "killed": {"error": Killed(), "sticky": True},
    "an error once": {"error": EIO},
    "errors from then on": {"error": EIO, "sticky": True},
    "a short write": {"operations": ("write",), "short_write": True},
}


def images(fs: MemoryFileSystem, number: int) -> Iterator[tuple[str, MemoryFileSystem]]:
    """What a process that starts now finds; what is found after power was lost as well."""
    yield "kill", fs.copy()
    yield "power cut", fs.crash(None)
    yield "torn power cut", fs.crash(Random(number))


def lives(fault: str, keep: int) -> Iterator[tuple[int, MemoryFileSystem, State, bool]]:
    """A run for each call of a backup, which fails: what it left, and whether it returned."""
    original = MemoryFileSystem()
    three(original)
    for call in range(1, 1000):
        memory = original.copy()
        disk = FaultyFileSystem(memory)
        db = open_db(disk)
        step(db, 7)
        wanted = state(db)
        returned = False
        disk.fail_at(call, **FAULTS[fault])  # type: ignore[arg-type]
        try:
            make(db, disk, keep=keep)
            returned = True
        except (Killed, OSError, KVEngineError):
            pass
        met = disk.failures
        yield call, memory, wanted, returned
        disk.clear()
        with suppress(OSError, KVEngineError):
            db.close()
        if not met:
            return


@pytest.mark.parametrize("fault", FAULTS)
def test_a_backup_that_fails_at_any_call_harms_no_generation(fault: str) -> None:
    """Earlier generations that it was to keep are sound and the same, whatever call failed.

    Its own is there in whole or not at all, and there if it returned. The next backup goes
    through, clears away what this one left in either directory, and shares what it copied.
    """
    before = MemoryFileSystem()
    states = three(before)
    runs = there = 0
    for call, memory, wanted, returned in lives(fault, keep=3):
        if fault == "an error once":
            assert not [one for one in names(memory) if one.endswith(".tmp")]
        for kind, image in images(memory, call):
            told = f"{fault} at call {call}, {kind}"
            numbers = [one.number for one in generations(PLACE, fs=image)]
            assert numbers in ([1, 2, 3], [1, 2, 3, 4], [2, 3, 4]), told
            assert 4 in numbers or not returned, told
            assert verify_backup(PLACE, fs=image) == [], told
            for number in numbers:
                found = restored(image, number)
                assert found == (wanted if number == 4 else states[number - 1]), told
            with open_db(image) as db:
                assert make(db, image, keep=2).notes == (), told
                assert restored(image) == state(db), told
            left = [name for name in names(image, "/db") if name.startswith("backup-")]
            assert left == [] and not [one for one in names(image) if one.endswith(".tmp")], told
            there += 4 in numbers
        runs += 1
    assert runs > 10 and there > 2


def test_a_backup_that_was_killed_gives_its_copies_to_the_next() -> None:
    """A first backup that never comes to its end in one go comes to it all the same."""
    memory = MemoryFileSystem()
    with open_db(memory, memtable_size=10_000_000) as db:
        for number in range(4):
            db.set("s", f"k{number}", "n", os.urandom(50_000))
            db.flush()
    disk = FaultyFileSystem(memory)
    db = open_db(disk)
    calls = 0

    def killed_at_the_third(*_: object) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            disk.fail_at(1, Killed(), sticky=True)

    with pytest.raises(Killed):
        make(db, disk, progress=killed_at_the_third)
    image = memory.copy()
    disk.clear()
    db.close()
    assert generations(PLACE, fs=image) == []
    assert len([name for name in names(image) if name.endswith(".segment")]) == 2
    with open_db(image) as db:
        done = make(db, image)
        assert done.bytes > 200_000 and done.copied_bytes < 110_000
        assert restored(image) == state(db)


def test_a_copy_of_a_killed_backup_that_is_not_the_segment_is_not_taken() -> None:
    """Whatever bears a segment's name without a record is read before it is believed."""
    fs = MemoryFileSystem()
    three(fs)
    segment = next(name for name in names(fs) if name.endswith(".segment"))
    for number in (1, 2, 3):
        fs.unlink(f"{PLACE}/{number:06}.generation")
    fs.flip(f"{PLACE}/{segment}", 100)
    with open_db(fs) as db:
        make(db, fs)
        assert verify_backup(PLACE, fs=fs) == []
        assert restored(fs) == state(db)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_restore_that_fails_at_any_call_leaves_no_database(fault: str) -> None:
    """Either all is there, as it is once it has returned, or nothing opens: no new database either.

    That holds for kills and power cuts too.
    """
    original = MemoryFileSystem()
    states = three(original)
    runs = 0
    for call in range(1, 1000):
        memory = original.copy()
        disk = FaultyFileSystem(memory)
        disk.fail_at(call, **FAULTS[fault])  # type: ignore[arg-type]
        returned = False
        try:
            restore(PLACE, "/new", fs=disk)
            returned = True
        except (Killed, OSError, KVEngineError):
            pass
        for kind, image in images(memory, call):
            told = f"{fault} at call {call}, {kind}"
            begun = image.exists("/new") and names(image, "/new") != []
            try:
                with open_db(image, "/new", create=begun) as db:
                    assert state(db) == states[-1], told
            except (NotADatabase, CorruptionError):
                assert not returned, told
            assert verify_backup(PLACE, fs=image) == [], told
        if fault.startswith("an error") and not returned:
            assert not memory.exists("/new")
        if not disk.failures:
            break
        runs += 1
    assert runs > 5


def test_an_interrupted_restore_leaves_nothing() -> None:
    fs = MemoryFileSystem()
    three(fs)
    told = 0

    def interrupt(*_: object) -> None:
        nonlocal told
        told += 1
        if told == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restore(PLACE, "/new", fs=fs, progress=interrupt)
    assert not fs.exists("/new")
