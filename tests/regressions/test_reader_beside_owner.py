"""A reader that opens in the few instants in which the owner changes the set of files."""

from __future__ import annotations

import threading
from itertools import count
from typing import Any

import pytest

import kvengine
from kvengine.fs.memory import MemoryFileSystem
from kvengine.storage.lifecycle import recover
from tests.regressions.disks import HookedDisk


class Shared(HookedDisk):
    """Another process's way to the same files, with a hook of its own."""

    def __init__(self, disk: MemoryFileSystem) -> None:
        super().__init__()
        self.mutex, self._tree, self._locked = disk.mutex, disk._tree, disk._locked


def keys_seen(n: int) -> tuple[list[str], int]:
    """What a reader sees whose n-th call meets the end of a rotation, and how many it makes.

    The owner has stated its new WAL and has not yet begun it when the reader comes.
    At the n-th call one more commit goes to the old WAL, and one to the new.
    """
    disk = HookedDisk()
    owner = kvengine.open("db", fs=disk, background="none", durability="os")
    for key in "abc":
        owner.set("s", key, "n", b"1")
    stated, go = threading.Event(), threading.Event()

    def pause(called: str, path: str) -> None:
        if called == "datasync" and path.endswith(".wal"):
            disk.hook = None
            stated.set()
            assert go.wait(10)

    created: list[str] = []

    def watch(called: str, path: str) -> None:
        if called == "create" and path.endswith(".wal"):
            created.append(path)
        if called == "datasync" and path.endswith(".manifest") and created:
            disk.hook = pause

    disk.hook = watch
    rotation = threading.Thread(target=owner.flush)
    rotation.start()
    assert stated.wait(10)
    calls = 0

    def meet(called: str, path: str) -> None:
        nonlocal calls
        calls += 1
        if calls == n:
            owner.set("s", "d", "n", b"1")
            go.set()
            rotation.join(10)
            owner.set("s", "e", "n", b"1")

    other = Shared(disk)
    other.hook = meet
    try:
        with kvengine.open("db", fs=other, read_only=True) as reader:
            return list(reader.object_keys("s")), calls
    finally:
        go.set()
        rotation.join(10)
        owner.close()


def test_reader_beside_a_rotation() -> None:
    """Wherever a rotation ends while a reader opens, it sees a prefix of the commits.

    It had read the old WAL to its end when one more commit went there, and then
    found the new one with the commit after that: a state that never was. What
    the new WAL says of the one before was not held against what had been read.
    """
    for n in count(1):
        seen, calls = keys_seen(n)
        assert seen == list("abcde")[: len(seen)] and len(seen) >= 3, f"at call {n}"
        if calls < n:
            break
    assert n > 5


@pytest.mark.parametrize("fault", ["rotations", "damage"])
def test_an_owner_that_rotates_at_every_attempt(
    monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """A reader that met the begin of a WAL four times running took that for damage: the log, read
    to where it ended then, is shorter than the next WAL says. The manifest does not tell of it. But
    damage is met in the same place each time, and is reported at once.
    """
    disk = MemoryFileSystem()
    with kvengine.open("/db", fs=disk, background="none") as owner:
        owner.set("s", "k", "n", b"1")
        attempts: list[int] = []
        real = recover.Recovery

        def recovered(*args: Any) -> Any:
            attempts.append(1)
            if fault == "damage" or len(attempts) < 20:
                offset = 1000 if fault == "damage" else 1000 + len(attempts)
                raise kvengine.CorruptionError("/db/000002.wal", offset, "it was sealed at 5000")
            return real(*args)

        monkeypatch.setattr(recover, "Recovery", recovered)
        if fault == "damage":
            with pytest.raises(kvengine.CorruptionError, match="sealed at 5000"):
                kvengine.open("/db", fs=disk, read_only=True)
            assert len(attempts) < 10
        else:
            with kvengine.open("/db", fs=disk, read_only=True) as reader:
                assert reader.get("s", "k", "n") == b"1"
