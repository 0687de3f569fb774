"""Epochs of ownership: each owner of a directory has one of its own, and its files say so."""

from __future__ import annotations

from random import Random

import pytest

import kvengine
from kvengine.fs.memory import MemoryFileSystem
from kvengine.inspection.audit.verify import audit
from kvengine.storage import filenames
from kvengine.storage.manifest import file as manifest
from kvengine.storage.manifest.file import ManifestWriter
from kvengine.storage.manifest.format import Shape, VersionEdit
from kvengine.storage.wal import format as wal
from kvengine.testing import MemoryDatabase


def open_quiet(fs: MemoryFileSystem, path: str = "/db") -> kvengine.Engine:
    return kvengine.open(path, fs=fs, background="none")


def put(fs: MemoryFileSystem, path: str, data: bytes) -> None:
    fs.unlink(path)
    file = fs.create(path)
    file.write(data)
    file.sync()
    file.close()


def stated(fs: MemoryFileSystem) -> int:
    """The epoch in the manifest in force."""
    return manifest.read(fs, "/db", manifest.read_current(fs, "/db")).epoch


def begun(fs: MemoryFileSystem) -> dict[str, int]:
    """The epoch of each WAL that was begun, by path, in the order of their numbers."""
    names = sorted(name for name in fs.listdir("/db") if name.endswith(".wal"))
    paths = [filenames.join("/db", name) for name in names]
    return {path: wal.decode_header(fs.read_bytes(path)).epoch for path in paths}


def restate(fs: MemoryFileSystem, path: str, epoch: int) -> None:
    """Give a WAL another epoch, in a sound header."""
    data = fs.read_bytes(path)
    header = wal.decode_header(data)._replace(epoch=epoch)
    put(fs, path, wal.encode_header(header) + data[wal.HEADER_SIZE :])


def forget(fs: MemoryFileSystem) -> None:
    """Write a manifest without an epoch, as a release does that knows none."""
    catalog = manifest.read(fs, "/db", manifest.read_current(fs, "/db"))
    catalog.epoch = 0
    number = catalog.next_number
    catalog.next_number += 1
    ManifestWriter(fs, "/db", catalog, number).close()


def four_wals(fs: MemoryFileSystem) -> list[str]:
    """Four owners, one after the other, each with a commit; the paths of their WALs."""
    for number in range(4):
        with open_quiet(fs) as db:
            db.set("s", "k", "n", b"%d" % number)
    return list(begun(fs))


def test_each_owner_has_the_next_epoch() -> None:
    """It is durable in the manifest, and in the WALs that the owner begins, also by rotation."""
    fs = MemoryFileSystem()
    for epoch in (1, 2, 3):
        with open_quiet(fs) as db:
            assert db._db.catalog.epoch == stated(fs) == epoch
            db.set("s", "k", "n", b"%d" % epoch)
            opened_with, _ = sorted(begun(fs).items())[-1]
            db.checkpoint(f"/copy{epoch}")  # it rotates
            rotated_to, _ = sorted(begun(fs).items())[-1]
            assert opened_with < rotated_to
            assert begun(fs)[opened_with] == begun(fs)[rotated_to] == epoch


def test_a_reader_changes_no_epoch() -> None:
    """It shows that of the owner, and after `refresh` that of the next one."""
    fs = MemoryFileSystem()
    four_wals(fs)
    with kvengine.open("/db", fs=fs, read_only=True) as reader:
        assert reader._db.catalog.epoch == stated(fs) == 4
        with open_quiet(fs):
            reader.refresh()
            assert reader._db.catalog.epoch == stated(fs) == 5


def test_a_crash_at_any_point_of_an_open_gives_no_epoch_twice() -> None:
    """Who opens after the crash has an epoch above that of every owner that served."""
    kv = MemoryDatabase()
    kv.db.set("s", "k", "n", b"1")
    with kv:
        points = kv.crash_points(power=True)
        with points:
            kv.reopen()
            kv.db.set("s", "k", "n", b"2")
        epochs = set()
        for db in points:
            served = 2 if db.get("s", "k", "n") == b"2" else 1
            assert db._db.catalog.epoch > served
            epochs.add(db._db.catalog.epoch)
    assert epochs == {2, 3}


def test_power_cuts_in_a_chain_of_owners() -> None:
    fs = MemoryFileSystem()
    for epoch in range(1, 30):
        db = open_quiet(fs)
        assert db._db.catalog.epoch == epoch
        db.set("s", "k", "n", b"%d" % epoch)
        fs = fs.crash(Random(epoch))
        db.close()


def test_an_epoch_that_goes_down_is_damage() -> None:
    """It is refused with the path and the offset, and the tools find it."""
    fs = MemoryFileSystem()
    paths = four_wals(fs)
    restate(fs, paths[2], 1)
    with pytest.raises(kvengine.CorruptionError, match="epoch 1, after epoch 2") as refused:
        open_quiet(fs)
    assert (refused.value.path, refused.value.offset) == (paths[2], 52)
    (found,) = audit("/db", fs=fs).damage
    assert (found.path, found.offset) == (paths[2], 52) and "after epoch 2" in found.reason


@pytest.mark.parametrize("epoch", [1 << 63, (1 << 64) - 1])
def test_an_epoch_beyond_all_is_damage(epoch: int) -> None:
    fs = MemoryFileSystem()
    paths = four_wals(fs)
    restate(fs, paths[3], epoch)
    with pytest.raises(kvengine.CorruptionError, match=f"epoch {epoch}"):
        open_quiet(fs)
    assert audit("/db", fs=fs).damage


def test_no_owner_follows_the_last_epoch() -> None:
    """The directory is refused, and can still be read."""
    fs = MemoryFileSystem()
    restate(fs, four_wals(fs)[3], (1 << 63) - 1)
    with pytest.raises(kvengine.KVEngineError, match="largest epoch"):
        open_quiet(fs)
    with kvengine.open("/db", fs=fs, read_only=True) as reader:
        assert reader.get("s", "k", "n") == b"3"


@pytest.mark.parametrize("epochs", [(0, 0, 0, 0), (1, 2, 0, 0), (0, 2, 0, 3)])
def test_what_a_release_without_epochs_wrote_is_read(epochs: tuple[int, ...]) -> None:
    """It leaves 0 in WALs and in its manifest; the next owner that counts goes on above all."""
    fs = MemoryFileSystem()
    for path, epoch in zip(four_wals(fs), epochs, strict=True):
        restate(fs, path, epoch)
    forget(fs)
    with open_quiet(fs) as db:
        assert db.get("s", "k", "n") == b"3"
        assert db._db.catalog.epoch == max(epochs) + 1
        assert not db.verify()
    assert not audit("/db", fs=fs).damage


def test_edits_whose_epochs_go_down_are_refused() -> None:
    catalog = manifest.Catalog(bytes(16), Shape(1, 1))
    catalog.apply(VersionEdit(epoch=7))
    catalog.apply(VersionEdit())
    assert catalog.epoch == catalog.whole().epoch == 7
    for wrong in (6, -1, 1 << 63):
        with pytest.raises(ValueError, match=f"epoch {wrong}"):
            catalog.apply(VersionEdit(epoch=wrong))


def test_a_checkpoint_keeps_the_epoch() -> None:
    """Its WALs are those of the origin. Whoever opens the copy owns that under the next epoch."""
    fs = MemoryFileSystem()
    four_wals(fs)
    with open_quiet(fs) as db:
        db.checkpoint("/copy")
    with open_quiet(fs, "/copy") as copy:
        assert copy._db.catalog.epoch == 6
        assert copy.get("s", "k", "n") == b"3"


def test_a_repaired_database_is_a_new_one() -> None:
    """It has another identity and no WAL: its first owner has epoch 1."""
    fs = MemoryFileSystem()
    four_wals(fs)
    kvengine.repair("/db", "/new", fs=fs)
    with open_quiet(fs, "/new") as db:
        assert db._db.catalog.epoch == 1 and db.get("s", "k", "n") == b"3"
