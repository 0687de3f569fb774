"""A backup that was damaged, or made to do harm, is found out before anything is restored."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from random import Random
from typing import Any

import msgspec
import pytest
from xxhash import xxh3_128_hexdigest

from kvengine.errors import CorruptionError, KVEngineError
from kvengine.fs.faulty import FaultyFileSystem
from kvengine.fs.memory import MemoryFileSystem
from kvengine.inspection.backup.files import Damage, DamagedBackup, generations
from kvengine.inspection.backup.record import decode
from kvengine.inspection.backup.restore import restore
from kvengine.inspection.backup.verify import verify_backup
from tests.inspection.backups import PLACE, make, names, open_db, restored, state, step, three


def flip(fs: MemoryFileSystem, path: str, rng: Random) -> None:
    fs.flip(path, rng.randrange(fs.size(path)), 1 << rng.randrange(8))


def cut(fs: MemoryFileSystem, path: str, rng: Random) -> None:
    fs.cut(path, rng.randrange(fs.size(path)))


def empty(fs: MemoryFileSystem, path: str, rng: Random) -> None:
    fs.cut(path, 0)


def lose(fs: MemoryFileSystem, path: str, rng: Random) -> None:
    fs.unlink(path)


def grow(fs: MemoryFileSystem, path: str, rng: Random) -> None:
    file = fs.open_write(path)
    file.seek(fs.size(path))
    file.write(b"x")


def swap(fs: MemoryFileSystem, path: str, rng: Random) -> None:
    """What another file of the backup holds."""
    other = rng.choice([one for one in fs.paths() if one.startswith(PLACE) and one != path])
    if fs.read_bytes(other) == fs.read_bytes(path):
        other = "/db/CURRENT"
    fs.unlink(path)
    fs.create(path).write(fs.read_bytes(other))


def make_a_directory(fs: MemoryFileSystem, path: str, rng: Random) -> None:
    fs.unlink(path)
    fs.makedirs(path)


DAMAGE: dict[str, Callable[[MemoryFileSystem, str, Random], None]] = {
    one.__name__: one for one in (flip, cut, empty, lose, grow, swap, make_a_directory)
}


@pytest.fixture(scope="module")
def sound() -> tuple[MemoryFileSystem, list[Any]]:
    fs = MemoryFileSystem()
    return fs, three(fs)


@pytest.mark.parametrize("kind", DAMAGE)
def test_any_damage_to_any_file_is_found(
    sound: tuple[MemoryFileSystem, list[Any]], kind: str
) -> None:
    """Verify names the file and the generations that need it; restore of those leaves nothing.

    The other generations are restored as ever. A lost record is a lost generation: the
    others do not need it.
    """
    original, states = sound
    needed = {
        file.stored: [] for one in generations(PLACE, fs=original) for file in one.record.files  # type: ignore[union-attr]
    }  # fmt: skip
    for one in generations(PLACE, fs=original):
        assert one.record is not None
        needed[f"{one.number:06}.generation"] = [one.number]
        for file in one.record.files:
            needed[file.stored].append(one.number)
    assert set(needed) == set(names(original)) - {"BACKUP"} and len(needed) > 12
    for number, (name, users) in enumerate(needed.items()):
        fs = original.copy()
        DAMAGE[kind](fs, f"{PLACE}/{name}", Random(number))
        found = verify_backup(PLACE, fs=fs)
        if name.endswith(".generation") and kind == "lose":
            assert found == [] and len(generations(PLACE, fs=fs)) == 2
            continue
        assert [(one.name, one.generations) for one in found] == [(name, tuple(users))], name
        for generation in (1, 2, 3):
            if generation in users:
                with pytest.raises(DamagedBackup, match=name) as caught:
                    restore(PLACE, "/new", generation, fs=fs)
                assert [one.name for one in caught.value.damage] == [name]
                assert caught.value.damage[0].reason == found[0].reason
                assert not fs.exists("/new")
            else:
                assert restored(fs, generation) == states[generation - 1]


def test_every_bit_of_a_record_counts(sound: tuple[MemoryFileSystem, list[Any]]) -> None:
    """No flipped bit of a record is taken for sound."""
    data = sound[0].read_bytes(f"{PLACE}/000002.generation")
    record = decode(data, 2)
    for position in range(len(data) - 1):  # behind it: the end of the line
        for bit in range(8):
            changed = bytearray(data)
            changed[position] ^= 1 << bit
            try:
                assert decode(bytes(changed), 2) == record, (position, bit)
            except ValueError:
                continue
            assert bytes(changed[:16]) != data[:16] or changed[position] in b" \t\r\n"


def test_all_that_is_damaged_is_listed_at_once() -> None:
    """Not the first alone: whoever looks for another copy wants to know of all."""
    fs = MemoryFileSystem()
    states = three(fs)
    segments = [name for name in names(fs) if name.endswith(".segment")]
    fs.flip(f"{PLACE}/{segments[0]}", 100)
    fs.unlink(f"{PLACE}/{segments[2]}")
    fs.cut(f"{PLACE}/000003-CURRENT", 3)
    wanted = {segments[0], segments[2], "000003-CURRENT"}
    with pytest.raises(DamagedBackup, match=r"3 files of the backup in /backups damaged") as caught:
        restore(PLACE, "/new", fs=fs)
    assert {one.name for one in caught.value.damage} == wanted
    assert str(caught.value).endswith("restore another generation")
    found = verify_backup(PLACE, fs=fs)
    assert {one.name for one in found} == wanted
    assert "000003-CURRENT: it has 3 bytes, not 25 (generation 3)" in map(str, found)
    assert not fs.exists("/new")
    harmed = {number for one in verify_backup(PLACE, fs=fs) for number in one.generations}
    for number in {1, 2} - harmed:
        assert restored(fs, number) == states[number - 1]


def test_the_newest_generation_is_not_silently_an_older_one() -> None:
    """Where the newest record is damaged, restore says so and restores no other in its stead."""
    fs = MemoryFileSystem()
    states = three(fs)
    fs.flip(f"{PLACE}/000003.generation", 60)
    with pytest.raises(DamagedBackup, match=r"000003\.generation"):
        restore(PLACE, "/new", fs=fs)
    assert restored(fs, 2) == states[1]


def test_an_empty_place_stays_empty_when_a_restore_fails() -> None:
    fs = MemoryFileSystem()
    three(fs)
    fs.cut(f"{PLACE}/000003-CURRENT", 3)
    fs.makedirs("/new")
    with pytest.raises(DamagedBackup):
        restore(PLACE, "/new", fs=fs)
    assert fs.isdir("/new") and names(fs, "/new") == []


def test_a_medium_that_cannot_be_read_is_damage_and_one_that_cannot_be_written_is_not() -> None:
    """EIO of the backup is listed; a full disk where the database is to be is an OSError."""
    original = MemoryFileSystem()
    three(original)
    listed = full = 0
    for call in range(1, 200):
        for operations in (("pread",), ("create", "write", "sync")):
            memory = original.copy()
            fs = FaultyFileSystem(memory)
            error = OSError(errno.EIO, os.strerror(errno.EIO))
            fs.fail_at(call, error, operations=operations)
            failed: Exception | None = None
            try:
                restore(PLACE, "/new", fs=fs)
            except (DamagedBackup, OSError) as caught:
                failed = caught
            if failed is None:
                continue
            assert not memory.exists("/new")
            if operations == ("pread",):
                assert isinstance(failed, DamagedBackup) and len(failed.damage) == 1
                assert "cannot be read" in failed.damage[0].reason
                listed += 1
            else:
                assert isinstance(failed, OSError)
                full += 1
    assert listed > 5 and full > 10


# --- mending


@pytest.mark.parametrize("kind", ["lose", "cut", "flip"])
def test_a_damaged_segment_is_copied_anew(kind: str) -> None:
    """Missing or cut ones by every backup, rotted ones where it looks: older generations too."""
    fs = MemoryFileSystem()
    states = three(fs)
    name = next(name for name in names(fs) if name.endswith(".segment"))
    DAMAGE[kind](fs, f"{PLACE}/{name}", Random(1))
    with open_db(fs) as db:
        done = make(db, fs, recheck=kind == "flip")
        wanted = state(db)
    assert any(name in note for note in done.notes)
    assert verify_backup(PLACE, fs=fs) == []
    assert [restored(fs, number) for number in (1, 2, 3, 4)] == [*states, wanted]


def test_a_recheck_of_sound_files_copies_nothing() -> None:
    fs = MemoryFileSystem()
    three(fs)
    with open_db(fs) as db:
        done = make(db, fs, recheck=True)
    assert done.notes == () and done.copied_bytes < 3_000


def test_rot_in_the_database_does_not_replace_what_a_backup_has() -> None:
    """A segment of known content that reads otherwise now is not taken for it."""
    fs = MemoryFileSystem()
    states = three(fs)
    with open_db(fs) as db:
        stored = next(name for name in names(fs) if name.endswith(".segment"))
        data = fs.read_bytes(f"{PLACE}/{stored}")
        (path,) = [
            one for one in fs.paths() if one.startswith("/db/") and fs.read_bytes(one) == data
        ]
        fs.flip(path, 100)
        make(db, fs)  # what is there is not copied again
        fs.unlink(f"{PLACE}/{stored}")
        with pytest.raises(CorruptionError, match="not the bytes that earlier backups have"):
            make(db, fs)
        assert stored not in names(fs)
        assert not [name for name in names(fs, "/db") if name.startswith("backup-")]
        file = fs.create(f"{PLACE}/{stored}")
        file.write(data)
    assert restored(fs, 3) == states[2]


def test_a_record_that_cannot_be_read_loses_no_files_until_it_is_old() -> None:
    """It may name any segment: they stay until newer generations are enough."""
    fs = MemoryFileSystem()
    with open_db(fs) as db:
        for number in range(3):
            step(db, number)
        make(db, fs)
        segments = {name for name in names(fs) if name.endswith(".segment")}
        db.compact()
        fs.flip(f"{PLACE}/000001.generation", 60)
        done = make(db, fs, keep=2)
        assert "generation 1 cannot be read" in done.notes[0] and done.removed == ()
        assert segments < set(names(fs))
        assert [one.number for one in generations(PLACE, fs=fs)] == [1, 2]
        assert make(db, fs, keep=2).removed == (1,)
        assert not segments & set(names(fs))
        assert [one.damage for one in generations(PLACE, fs=fs)] == ["", ""]


# --- made to do harm


def forged(fs: MemoryFileSystem, change: Callable[[dict[str, Any]], None]) -> None:
    """Rewrite the record of generation 3, and give it the checksum that it then needs."""
    path = f"{PLACE}/000003.generation"
    body = msgspec.json.decode(fs.read_bytes(path))["body"]
    change(body)
    data = msgspec.json.encode(body)
    sealed = {"xxh3_128": xxh3_128_hexdigest(data), "body": msgspec.Raw(data)}
    fs.unlink(path)
    fs.create(path).write(msgspec.json.encode(sealed))


def of_kind(body: dict[str, Any], kind: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in body["files"] if one["name"].endswith(kind))
    return found


HARM: dict[str, Callable[[dict[str, Any]], object]] = {
    "a name above": lambda body: of_kind(body, ".segment").update(name="../evil.segment"),
    "a name elsewhere": lambda body: of_kind(body, ".segment").update(name="/etc/passwd"),
    "a name below": lambda body: of_kind(body, ".wal").update(name="x/000001.wal"),
    "the lock": lambda body: of_kind(body, ".wal").update(name="LOCK"),
    "a lock of its own": lambda body: of_kind(body, ".wal").update(
        name="LOCK", stored="000003-LOCK"
    ),
    "a place of its own": lambda body: of_kind(body, ".wal").update(
        name="../../secret", stored="000003-../../secret"
    ),
    "the socket": lambda body: of_kind(body, ".wal").update(name="LIVE"),
    "no name": lambda body: of_kind(body, ".wal").update(name=""),
    "a name with an end": lambda body: of_kind(body, ".wal").update(name="000001.wal\n"),
    "digits of others": lambda body: of_kind(body, ".wal").update(name="\u0661" * 6 + ".wal"),
    "a file above": lambda body: of_kind(body, ".segment").update(stored="../secret"),
    "a segment above": lambda body: of_kind(body, ".segment").update(
        stored="../" + of_kind(body, ".segment")["stored"]
    ),
    "a file elsewhere": lambda body: of_kind(body, ".segment").update(stored="/secret"),
    "another's file": lambda body: of_kind(body, ".wal").update(stored="000001-CURRENT"),
    "a stranger's file": lambda body: of_kind(body, "CURRENT").update(stored="BACKUP"),
    "a file twice": lambda body: body["files"].append(of_kind(body, ".segment")),
    "no manifest": lambda body: body["files"].remove(of_kind(body, ".manifest")),
    "no CURRENT": lambda body: body["files"].remove(of_kind(body, "CURRENT")),
    "no files": lambda body: body.update(files=[]),
    "a size below zero": lambda body: of_kind(body, ".wal").update(size=-1),
    "a size of its own": lambda body: of_kind(body, ".segment").update(size=10**15),
    "a huge CURRENT": lambda body: of_kind(body, "CURRENT").update(size=10**12),
    "a size as text": lambda body: of_kind(body, ".wal").update(size="1"),
    "a sum that is none": lambda body: of_kind(body, ".wal").update(xxh3_128="../.."),
    "another number": lambda body: body.update(generation=2),
    "another identity": lambda body: body.update(database_id="../../x"),
    "a list": lambda body: body.update(files={}),
    "a newer format": lambda body: body.update(format=2),
}


@pytest.mark.parametrize("harm", HARM)
def test_a_record_made_to_do_harm_is_refused(harm: str) -> None:
    """With the right checksum, too. Nothing outside is read or written; others can be restored."""
    fs = MemoryFileSystem()
    states = three(fs)
    fs.create("/secret").write(b"secret")
    forged(fs, HARM[harm])  # type: ignore[arg-type]
    before = {path: fs.read_bytes(path) for path in fs.paths()}
    with pytest.raises(DamagedBackup, match=r"000003\.generation"):
        restore(PLACE, "/new", 3, fs=fs)
    (damage,) = verify_backup(PLACE, fs=fs)
    assert isinstance(damage, Damage) and damage.name == "000003.generation"
    assert {path: fs.read_bytes(path) for path in fs.paths()} == before
    assert restored(fs, 2) == states[1]


def test_a_generation_that_lacks_what_its_manifest_names_is_refused() -> None:
    """A record that is valid and leaves a segment out: the database would not open."""
    fs = MemoryFileSystem()
    three(fs)
    forged(fs, lambda body: body["files"].remove(of_kind(body, ".segment")))
    with pytest.raises(DamagedBackup, match=r"the generation lacks \d+\.segment"):
        restore(PLACE, "/new", 3, fs=fs)
    assert not fs.exists("/new")


def test_a_record_larger_than_any_is_not_read() -> None:
    class Large(MemoryFileSystem):
        def size(self, path: str, /) -> int:
            return 10**12 if path.endswith("000001.generation") else super().size(path)

        def read_bytes(self, path: str, /) -> bytes:
            assert not path.endswith("000001.generation")
            return super().read_bytes(path)

    fs = Large()
    with open_db(fs) as db:
        make(db, fs)
    (one,) = generations(PLACE, fs=fs)
    assert one.record is None and "too large" in one.damage
    with pytest.raises(KVEngineError):
        restore(PLACE, "/new", fs=fs)
