"""The file system in memory: what a power cut leaves, and the helpers of the tests."""

from __future__ import annotations

import random
import threading

import pytest

from kvengine.fs import MemoryFileSystem
from kvengine.fs.memory_file import MemoryFile


def durable(fs: MemoryFileSystem, path: str, data: bytes) -> MemoryFile:
    """A file whose content and name survive."""
    file = fs.create(path)
    file.write(data)
    file.sync()
    fs.sync_dir("/")
    return file


def images(fs: MemoryFileSystem, count: int = 400) -> list[MemoryFileSystem]:
    return [fs.crash(random.Random(seed)) for seed in range(count)]


def contents(fs: MemoryFileSystem, path: str) -> set[bytes]:
    return {image.read_bytes(path) for image in images(fs)}


def test_what_was_synced_survives() -> None:
    """P1: a file synced, in a directory synced, is there whole in every image."""
    fs = MemoryFileSystem()
    durable(fs, "a", b"0123456789" * 200)
    assert contents(fs, "a") == {b"0123456789" * 200}
    assert fs.crash(None).read_bytes("a") == b"0123456789" * 200


def test_a_file_sync_does_not_keep_its_name() -> None:
    """A file that was synced is gone where its directory was not, as POSIX allows."""
    fs = MemoryFileSystem()
    file = fs.create("a")
    file.write(b"abc")
    file.sync()
    assert not fs.crash(None).exists("a")
    assert {image.exists("a") for image in images(fs)} == {True, False}
    fs.sync_dir("/")
    assert fs.crash(None).read_bytes("a") == b"abc"


def test_a_directory_sync_does_not_keep_the_content() -> None:
    """A file whose directory was synced, but not itself, may be empty."""
    fs = MemoryFileSystem()
    fs.create("a").write(b"abc")
    fs.sync_dir("/")
    assert fs.crash(None).read_bytes("a") == b""
    assert {b"", b"a", b"abc"} <= contents(fs, "a")


def test_unsynced_writes_are_kept_dropped_and_reordered() -> None:
    """Of two unsynced writes any subset survives: also the later without the earlier."""
    fs = MemoryFileSystem()
    file = durable(fs, "a", b"--------")
    file.seek(0)
    file.write(b"11")
    file.seek(4)
    file.write(b"22")
    file_images = contents(fs, "a")
    assert {b"--------", b"11------", b"----22--", b"11--22--"} <= file_images
    assert fs.crash(None).read_bytes("a") == b"--------"


def test_a_gap_left_by_a_dropped_write_reads_as_zeros() -> None:
    """When a later append survives without the earlier, the hole between is zeros."""
    fs = MemoryFileSystem()
    file = durable(fs, "a", b"ab")
    file.write(b"cd")
    file.write(b"ef")
    assert b"ab\0\0ef" in contents(fs, "a")


def test_writes_are_torn_at_bytes_and_at_sectors() -> None:
    """A write may survive up to any byte, or in some of its sectors of 512 bytes only."""
    fs = MemoryFileSystem()
    durable(fs, "a", b"").write(b"x" * 2048)
    torn = contents(fs, "a")
    assert any(len(data) % 512 and set(data) == set(b"x") for data in torn)
    holes = [data for data in torn if set(data) == set(b"\0x")]
    assert any(not data.startswith(b"x") for data in holes)
    for data in holes:
        for start in range(0, len(data) - 511, 512):
            assert data.count(b"x", start, start + 512) in (0, 512) or len(data) == 2048
    assert b"\0" * 2048 in torn


def test_truncate_and_allocate_are_unsynced_changes() -> None:
    """A size that was changed and not synced may be the old one; allocated space is zeros."""
    fs = MemoryFileSystem()
    durable(fs, "a", b"abcdef").truncate(2)
    assert contents(fs, "a") == {b"abcdef", b"ab"}
    durable(fs, "b", b"ab").allocate(0, 4)
    assert contents(fs, "b") == {b"ab", b"ab\0\0"}
    assert fs.crash(None).read_bytes("b") == b"ab"


def test_datasync_keeps_content_and_size() -> None:
    """What `datasync` covers survives as after `sync`."""
    fs = MemoryFileSystem()
    file = durable(fs, "a", b"ab")
    file.write(b"cd")
    file.datasync()
    assert contents(fs, "a") == {b"abcd"}


def test_rename_shows_the_old_or_the_new_file() -> None:
    """A name that was replaced and not synced shows one of its files whole, never nothing."""
    fs = MemoryFileSystem()
    durable(fs, "CURRENT", b"old")
    durable(fs, "tmp", b"new")
    fs.rename("tmp", "CURRENT")
    assert contents(fs, "CURRENT") == {b"old", b"new"}
    assert fs.crash(None).paths() == ["/CURRENT", "/tmp"]
    assert {tuple(image.paths()) for image in images(fs)} == {
        ("/CURRENT",),
        ("/CURRENT", "/tmp"),
    }
    fs.sync_dir("/")
    assert contents(fs, "CURRENT") == {b"new"}
    assert fs.crash(None).paths() == ["/CURRENT"]


def test_a_rename_before_the_sync_may_show_an_empty_file() -> None:
    """The mistake to find: a file renamed into place before its content was synced."""
    fs = MemoryFileSystem()
    durable(fs, "CURRENT", b"old")
    fs.create("tmp").write(b"new")
    fs.rename("tmp", "CURRENT")
    fs.sync_dir("/")
    assert fs.crash(None).read_bytes("CURRENT") == b""


def test_unlinked_files_come_back_until_the_directory_is_synced() -> None:
    """An unlink that was not synced may not have happened; after the sync it has."""
    fs = MemoryFileSystem()
    durable(fs, "a", b"abc")
    fs.unlink("a")
    assert fs.crash(None).read_bytes("a") == b"abc"
    assert {image.exists("a") for image in images(fs)} == {True, False}
    fs.sync_dir("/")
    assert not any(image.exists("a") for image in images(fs))


def test_links_share_one_file_in_the_image() -> None:
    """Two names of one file show the same survivors, and go on being one file."""
    fs = MemoryFileSystem()
    file = durable(fs, "a", b"")
    fs.link("a", "b")
    fs.sync_dir("/")
    file.write(b"0123456789")
    for image in images(fs, 100):
        assert image.read_bytes("a") == image.read_bytes("b")
        image.open_write("a").truncate(3)
        assert image.size("b") == 3


def test_directories_are_durable_when_created() -> None:
    """`makedirs` is durable when it returns; a removal is so after the parent's sync."""
    fs = MemoryFileSystem()
    fs.makedirs("a/b")
    assert fs.crash(None).isdir("/a/b")
    fs.rmdir("a/b")
    assert fs.crash(None).isdir("/a/b")
    fs.sync_dir("a")
    assert not fs.crash(None).exists("/a/b")


def test_a_renamed_directory_shows_once() -> None:
    """No image has one directory under two names."""
    fs = MemoryFileSystem()
    fs.makedirs("tmp")
    fs.create("tmp/f").sync()
    fs.sync_dir("tmp")
    fs.rename("tmp", "final")
    found = {tuple(image.paths()) for image in images(fs)}
    assert {("/final/f",), ("/tmp/f",)} <= found <= {("/final/f",), ("/tmp/f",), ()}


def test_images_are_independent_and_settled() -> None:
    """The crashed file system goes on; its image is all durable, free of locks, and repeatable."""
    fs = MemoryFileSystem()
    file = durable(fs, "a", b"ab")
    lock = fs.lock("LOCK")
    file.write(b"cd")
    first, second = fs.crash(random.Random(7)), fs.crash(random.Random(7))
    assert first.paths() == second.paths()
    assert first.read_bytes("a") == second.read_bytes("a") == first.crash(None).read_bytes("a")
    file.write(b"ef")
    assert fs.read_bytes("a") == b"abcdef"
    assert lock is not None
    assert fs.lock("LOCK") is None
    assert first.lock("LOCK") is not None


def test_copy_is_as_after_a_kill() -> None:
    """P2: `copy` has everything written, no locks, and a power cut may still take what it may."""
    fs = MemoryFileSystem()
    file = durable(fs, "a", b"ab")
    file.write(b"cd")
    lock = fs.lock("LOCK")
    image = fs.copy()
    file.truncate(0)
    assert image.read_bytes("a") == b"abcd"
    assert image.crash(None).read_bytes("a") == b"ab"
    assert image.paths() == ["/LOCK", "/a"]
    assert lock is not None
    assert image.lock("LOCK") is not None
    image.open_write("a").sync()
    image.sync_dir("/")
    assert image.crash(None).read_bytes("a") == b"abcd"


def test_what_a_failed_sync_dropped_is_lost() -> None:
    """After a failed sync the data can be read, yet the next sync does not make it durable."""
    fs = MemoryFileSystem()
    file = durable(fs, "a", b"ab")
    file.write(b"cd")
    file.forget_unsynced()
    file.write(b"ef")
    file.sync()
    assert fs.read_bytes("a") == b"abcdef"
    assert fs.crash(None).read_bytes("a") == b"ab\0\0ef"


def test_damage_is_on_the_disk() -> None:
    """`flip` and `cut` change what is read and what survives; beyond the end is an error."""
    fs = MemoryFileSystem()
    durable(fs, "a", b"abc")
    fs.flip("a", 1, 0xFF)
    fs.cut("a", 2)
    assert fs.read_bytes("a") == fs.crash(None).read_bytes("a") == bytes([0x61, 0x62 ^ 0xFF])
    with pytest.raises(IndexError):
        fs.flip("a", 2)


def test_trace_records_changes_and_syncs_in_order() -> None:
    """The trace has what changes or syncs, and neither reads nor what failed."""
    fs = MemoryFileSystem(trace=[])
    fs.makedirs("db")
    fs.makedirs("db")
    file = fs.create("db/tmp")
    file.write(b"x")
    file.allocate(0, 10)
    file.truncate(1)
    file.datasync()
    file.sync()
    file.pread(1, 0)
    fs.rename("db/tmp", "db/a")
    fs.link("db/a", "db/b")
    with pytest.raises(FileNotFoundError):
        fs.unlink("db/missing")
    fs.unlink("db/a")
    fs.sync_dir("db")
    assert fs.trace == [
        ("makedirs", "db"),
        ("create", "db/tmp"),
        ("write", "db/tmp"),
        ("allocate", "db/tmp"),
        ("truncate", "db/tmp"),
        ("datasync", "db/tmp"),
        ("sync", "db/tmp"),
        ("rename", "db/tmp", "db/a"),
        ("link", "db/a", "db/b"),
        ("unlink", "db/a"),
        ("sync_dir", "db"),
    ]


def test_threads_may_share_it() -> None:
    """Files created, written and renamed by many threads at once are all there."""
    fs = MemoryFileSystem()
    shared = fs.create("shared")

    def work(number: int) -> None:
        for turn in range(50):
            file = fs.create(f"{number}-{turn}.tmp")
            file.write(b"x" * 100)
            fs.rename(f"{number}-{turn}.tmp", f"{number}-{turn}")
            shared.write(b"y" * 10)
            fs.crash(None)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(fs.paths()) == 401
    assert fs.read_bytes("shared") == b"y" * 4000
