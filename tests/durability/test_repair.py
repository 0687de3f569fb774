"""P8: repair writes a new directory and a report of what was lost; it never touches the old one."""

from __future__ import annotations

import random

import pytest

import kvengine
from kvengine.fs.memory import MemoryFileSystem
from kvengine.storage.clock import ManualClock

State = dict[tuple[str, str], dict[str, bytes]]


def open_small(fs: MemoryFileSystem, path: str = "/db", clock: ManualClock | None = None):
    return kvengine.open(
        path,
        fs=fs,
        background="none",
        clock=clock or ManualClock(),
        block_size=256,
        chunk_size=512,
    )


def fill(fs: MemoryFileSystem) -> State:
    """Three segments and a WAL: overwrites, clears, a range clear, expiries, a large object."""
    with open_small(fs) as db:
        for number in range(60):
            db.set("s", f"k{number:02}", "n", b"first")
            db.set("s", f"k{number:02}", "m", b"kept")
        for number in range(30):
            db.set("s", "large", f"e{number:02}", bytes([number]) * 100)
        db.set("t", "gone", "n", b"cleared later")
        db.set("t", "expired", "n", b"expired later")
        db.flush()
        for number in range(0, 60, 2):
            db.set("s", f"k{number:02}", "n", b"second")
        db.clear_all("t", "gone")
        db.expire("t", "expired", ttl=1)
        db.clear_range("s", "k50", "k55")
        db.flush()
        db.set("s", "k01", "n", b"third")
        db.set("s", "k03", "ttl", b"x", ttl=3600)
        db.expire("s", "k03", ttl=7200)
        db.flush()
        db.set("s", "k05", "n", b"in the log")
        db.clear("s", "k05", "m")
        db.set("w", "k", "n", b"last")
    clock = ManualClock()
    clock.advance(10)
    return contents(fs, clock=clock)


def contents(fs: MemoryFileSystem, path: str = "/db", clock: ManualClock | None = None) -> State:
    if clock is None:
        clock = ManualClock()
        clock.advance(10)
    with kvengine.open(path, fs=fs, background="none", clock=clock, create=False) as db:
        assert db.verify() == []
        return {(one.service, one.key): one.entries for one in db.scan()}


def files(fs: MemoryFileSystem, kind: str) -> list[str]:
    return [path for path in fs.paths() if path.startswith("/db/") and path.endswith(kind)]


def repaired(fs: MemoryFileSystem, number: int = 0) -> tuple[State, kvengine.RepairReport]:
    """Repair /db; checks that nothing in it changed on the way."""
    before = {path: fs.read_bytes(path) for path in fs.paths()}
    fs.trace = []
    into = f"/new{number}"
    report = kvengine.repair("/db", into, fs=fs)
    assert [call for call in fs.trace if call[1].startswith("/db") and call[0] != "lock"] == []
    fs.trace = None
    assert {path: fs.read_bytes(path) for path in before} == before
    return contents(fs, into), report


def test_a_sound_database_comes_out_whole() -> None:
    """Every live entry, version and expiry, and nothing reported as lost."""
    fs = MemoryFileSystem()
    expected = fill(fs)
    with open_small(fs.copy()) as db:
        facts = [(one.version, one.expires_at) for one in db.scan()]
        stamp = db.stats().last_stamp
    found, report = repaired(fs)
    assert found == expected
    assert report.lost == [] and "nothing was lost" in str(report)
    assert report.objects == len(expected) + 1, "one had expired and is still on disk"
    clock = ManualClock()
    with open_small(fs, "/new0", clock) as db:
        assert [(one.version, one.expires_at) for one in db.scan()] == facts
        assert db.get("s", "k03", "ttl") == b"x"
        assert db.set("s", "k", "n", b"") > stamp, "stamps only ever grow"
        clock.advance(3601)
        assert db.get("s", "k03", "ttl") is None
        clock.advance(3600)
        assert db.get_all("s", "k03") == {}


def test_what_expired_or_was_cleared_stays_so() -> None:
    """P9 through a repair: neither a cleared nor an expired object comes back."""
    fs = MemoryFileSystem()
    fill(fs)
    found, _ = repaired(fs)
    assert ("t", "gone") not in found
    assert ("t", "expired") not in found
    assert ("s", "k52") not in found
    assert found["s", "k05"] == {"n": b"in the log"}


@pytest.mark.parametrize("damage", ["missing", "garbage", "empty"])
@pytest.mark.parametrize("what", ["CURRENT", ".manifest"])
def test_without_current_or_manifest_everything_is_found(what: str, damage: str) -> None:
    """What names the files is lost, the files are not: all state comes out."""
    fs = MemoryFileSystem()
    expected = fill(fs)
    for path in files(fs, what):
        if damage == "missing":
            fs.unlink(path)
        elif damage == "empty":
            fs.cut(path, 0)
        else:
            for offset in range(0, fs.size(path), 7):
                fs.flip(path, offset, 0x55)
    found, report = repaired(fs)
    assert found == expected
    assert report.lost == []
    assert any(what in note or "manifest" in note for note in report.notes)


def test_a_flip_anywhere_loses_at_most_what_the_report_names() -> None:
    """Any one flipped byte of any file: repair ends, the copy verifies, differences are reported.

    What differs from the sound state lies in a range that a loss names; where
    none is named, nothing differs.
    """
    sound = MemoryFileSystem()
    expected = fill(sound)
    rng = random.Random(7)
    losses = 0
    for path in [p for p in sound.paths() if not p.endswith("LOCK")]:
        size = len(sound.read_bytes(path).rstrip(b"\0"))
        for offset in {0, 9, 20, size - 1, *(rng.randrange(size) for _ in range(60))}:
            fs = sound.copy()
            fs.flip(path, offset, 1 << rng.randrange(8))
            found, report = repaired(fs)
            where = f"{path} at {offset}: {report}"
            names = expected.keys() | found.keys()
            differing = [name for name in names if expected.get(name) != found.get(name)]
            losses += bool(report.lost)
            for name in differing:
                assert any(concerns(loss, name) for loss in report.lost), f"{name}: {where}"
            assert ("t", "gone") not in found or report.lost, where
    assert losses > 20


def concerns(loss: kvengine.Loss, name: tuple[str, str]) -> bool:
    return (loss.start is None or loss.start <= name) and (loss.stop is None or name < loss.stop)


def test_a_bad_block_loses_only_its_own_objects() -> None:
    """The report names file, offset and key range; the rest of the segment is there."""
    fs = MemoryFileSystem()
    expected = fill(fs)
    path = files(fs, ".segment")[0]
    fs.flip(path, 40)
    found, report = repaired(fs)
    (loss,) = report.lost
    assert loss.file == path.rpartition("/")[2] and loss.offset == 32
    assert "checksum" in loss.reason and "older state may show" in str(loss)
    assert loss.start == ("s", "k00") and loss.stop is not None
    same = [name for name in expected if found.get(name) == expected[name]]
    assert len(same) > len(expected) * 0.8
    assert all(concerns(loss, name) for name in expected if name not in same)


def test_a_bad_chunk_loses_only_its_own_entries() -> None:
    """A large object keeps the entries of its other chunks."""
    fs = MemoryFileSystem()
    expected = fill(fs)
    path = files(fs, ".segment")[0]
    fs.flip(path, fs.read_bytes(path).index(bytes([15]) * 100))
    found, report = repaired(fs)
    (loss,) = report.lost
    assert "a chunk is damaged: entries from" in loss.reason
    left, before = found["s", "large"], expected["s", "large"]
    assert 0 < len(before) - len(left) < 10
    assert left.items() <= before.items()
    assert {k: v for k, v in found.items() if k[1] != "large"} == {
        k: v for k, v in expected.items() if k[1] != "large"
    }


def test_a_segment_without_footer_and_index_is_walked_block_by_block() -> None:
    """Cut behind its blocks, a segment still gives up all rows before the cut."""
    fs = MemoryFileSystem()
    expected = fill(fs)
    path = files(fs, ".segment")[0]
    fs.cut(path, fs.size(path) - 80)
    found, report = repaired(fs)
    assert found == expected
    assert any(path.rpartition("/")[2] in note for note in report.notes)


def test_a_missing_segment_is_reported_with_its_range() -> None:
    fs = MemoryFileSystem()
    expected = fill(fs)
    path = files(fs, ".segment")[1]
    fs.unlink(path)
    found, report = repaired(fs)
    assert any(one.reason == "the file is missing" for one in report.lost)
    assert found["s", "k07"] == expected["s", "k07"]
    assert found["s", "k00"]["n"] == b"first", "older state shows, which the report says"


def test_a_damaged_wal_gives_up_every_whole_commit() -> None:
    """Commits before and behind damaged bytes are saved; the report names the stamps between."""
    fs = MemoryFileSystem()
    expected = fill(fs)
    path = next(p for p in files(fs, ".wal") if b"in the log" in fs.read_bytes(p))
    fs.flip(path, fs.read_bytes(path).index(b"in the log"))
    found, report = repaired(fs)
    (loss,) = report.lost
    assert loss.file == path.rpartition("/")[2] and "commits after stamp" in loss.reason
    assert found["w", "k"] == {"n": b"last"}
    assert found["s", "k05"] == {"n": b"first"}, "the clear behind the damage is kept"
    assert {k: v for k, v in found.items() if k != ("s", "k05")} == {
        k: v for k, v in expected.items() if k != ("s", "k05")
    }


def test_a_wal_with_a_damaged_header_is_read_by_scan() -> None:
    fs = MemoryFileSystem()
    expected = fill(fs)
    for path in files(fs, ".wal"):
        fs.flip(path, 3)
    found, report = repaired(fs)
    assert found == expected and report.lost == []


def test_a_torn_tail_is_no_loss() -> None:
    """An unclean end is what a crash leaves: noted, not reported as lost."""
    fs = MemoryFileSystem()
    db = open_small(fs)
    db.set("s", "k", "n", b"kept")
    image = fs.copy()
    db.close()
    path = next(p for p in image.paths() if p.endswith(".wal"))
    data = image.read_bytes(path)
    end = len(data.rstrip(b"\0"))
    image.flip(path, end + 5)
    found, report = repaired(image)
    assert found == {("s", "k"): {"n": b"kept"}}
    assert report.lost == []
    assert any("torn tail" in note for note in report.notes)


def test_a_dropped_tail_stays_dropped() -> None:
    """Commits that a recovery dropped behind a torn one do not come back by a repair.

    Their bytes are still in the WAL file, sound in themselves; the manifest
    says where its content ends.
    """
    fs = MemoryFileSystem()
    db = kvengine.open("/db", fs=fs, background="none", durability="os")
    for number in range(5):
        db.set("s", f"k{number}", "n", b"value %d" % number)
    image = fs.copy()
    db.close()
    (path,) = files(image, ".wal")
    image.flip(path, image.read_bytes(path).index(b"value 2"))
    expected = contents(image)
    assert sorted(key for _, key in expected) == ["k0", "k1"]
    assert b"value 3" in image.read_bytes(path)
    found, report = repaired(image)
    assert found == expected and report.lost == []


def test_a_file_of_another_database_is_not_taken_in() -> None:
    """A segment or WAL that belongs elsewhere is reported, its rows are not mixed in."""
    fs, other = MemoryFileSystem(), MemoryFileSystem()
    fill(fs)
    with open_small(other) as db:
        db.set("foreign", "k", "n", b"x")
        db.flush()
        db.set("foreign", "k2", "n", b"x")
    (segment,) = files(other, ".segment")
    wal = files(other, ".wal")[-1]
    for target, source in ((files(fs, ".segment")[2], segment), (files(fs, ".wal")[0], wal)):
        fs.unlink(target)
        file = fs.create(target)
        file.write(other.read_bytes(source))
        file.close()
    found, report = repaired(fs)
    assert not any(service == "foreign" for service, _ in found)
    assert {
        "this is not the segment that the manifest names",
        "the WAL is of another database",
    } <= {one.reason for one in report.lost}


@pytest.mark.parametrize("seed", range(12))
def test_any_history_comes_out_as_it_reads(seed: int) -> None:
    """Random writes, flushes, compactions and reopens: the copy reads as the database does.

    With a manifest although a snapshot keeps replaced files in the directory; and
    without one, once it has closed. (A replaced file beside a lost manifest cannot
    be told from a live one; the report says so.)
    """
    rng, clock, fs = random.Random(seed), ManualClock(), MemoryFileSystem()
    db = open_small(fs, clock=clock)
    snapshots = []
    for _ in range(200):
        key = f"k{rng.randrange(6)}"
        clock.advance(rng.choice([0.001, 0.1, 3]))
        verb = rng.randrange(12)
        if verb < 6:
            db.set("s", key, f"n{rng.randrange(4)}", rng.randbytes(4), ttl=rng.choice([None, 5]))
        elif verb == 6:
            db.clear("s", key, f"n{rng.randrange(4)}")
        elif verb == 7:
            db.clear_all("s", key)
        elif verb == 8:
            db.clear_range("s", key, f"k{rng.randrange(6)}")
        elif verb == 9:
            db.expire("s", key, ttl=rng.choice([2, 60]))
        else:
            rng.choice([db.flush, db.compact, lambda: snapshots.append(db.snapshot())])()
    images = [fs.copy()]
    for snapshot in snapshots:
        snapshot.close()
    images.append(fs.copy())
    db.close()
    images[1].unlink("/db/CURRENT")
    for path in files(images[1], ".manifest"):
        images[1].flip(path, 100)
    expected = contents(images[0].copy(), clock=clock)
    for image in images:
        report = kvengine.repair("/db", "/new", fs=image)
        assert report.lost == []
        assert contents(image, "/new", clock) == expected


def test_a_large_database_is_cut_into_segments_of_one_level() -> None:
    """Output is cut between objects, like a compaction's, and the segments do not overlap."""
    fs = MemoryFileSystem()
    with kvengine.open("/db", fs=fs, background="none") as db:
        for number in range(40):
            db.set("s", f"{number:02}", "n", random.Random(number).randbytes(1_000_000))
    report = kvengine.repair("/db", "/new", fs=fs)
    with kvengine.open("/new", fs=fs, background="none") as db:
        assert db.stats().segments >= 2
        assert db.verify() == []
        assert len(list(db.object_keys("s"))) == report.objects == 40
