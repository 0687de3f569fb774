"""The promises between processes that share a directory. docs/processes.md names each test."""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import kvengine
from kvengine.share import wire
from kvengine.share.transport import at_path
from tests.share.campaign import OWNER, end, kill, start

LIMITED = """
import resource, sys, kvengine
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, most))
with kvengine.open(sys.argv[1], share=True, durability="os") as db:
    print("ready", flush=True)
    sys.stdin.read()
"""
"""An owner none of whose files may grow beyond 300 kB, as on a full disk."""

PAIRS = """
import sys, threading, kvengine
db = kvengine.connect(sys.argv[1], durability="os")
stop = threading.Event()

def write():
    number = 0
    while not stop.is_set():
        number += 1
        with db.batch() as batch:
            for key in ("a", "b"):
                batch.set("Pair", key, "n", str(number).encode())
        print("ready", flush=True) if number == 1 else None

thread = threading.Thread(target=write)
thread.start()
sys.stdin.read()
stop.set()
thread.join()
"""


def test_a_synced_commit_returns_after_its_sync(tmp_path: Path) -> None:
    """P1: the owner answers a client once the disk has the commit; os commits wait for no disk."""
    with kvengine.open(tmp_path / "db") as owner, kvengine.connect(tmp_path / "db") as db:
        for number in range(5):
            before = owner.stats().syncs
            db.set("s", "k", "n", str(number).encode())
            assert owner.stats().syncs > before
        batch = kvengine.Batch()
        batch.set("s", "k", "n", b"x")
        before = owner.stats().syncs
        db.write(batch, durability="os")
        assert owner.stats().syncs == before


def test_each_store_of_a_process_syncs_as_it_says(tmp_path: Path) -> None:
    """Whatever the one says that was opened first, and so has opened the directory as its owner.

    `pop` and `expire` were as durable as that one's, and returned before any sync.
    """
    path = tmp_path / "db"
    with kvengine.open(path, share=True, durability="os") as first:
        first.object("s", "k").set("n", 1)
        with kvengine.open(path, share=True) as db:
            verbs: list[Callable[[], object]] = [
                lambda: db.set("s", "k", "m", b"1"),
                lambda: db.pop("s", "k", "n"),
                lambda: db.expire("s", "k", ttl=100),
                lambda: db.clear_all("s", "k"),
            ]
            for verb in verbs:
                before = db.stats().syncs
                verb()
                assert db.stats().syncs == before + 1


def test_an_os_commit_outlives_the_owner_and_its_client(tmp_path: Path) -> None:
    """P2: both are killed; whoever comes next finds what was returned."""
    owner = start(OWNER, str(tmp_path / "db"), "os")
    with kvengine.connect(tmp_path / "db", durability="os") as db:
        child = os.fork()
        if not child:
            db.set("s", "k", "n", b"1")
            os.kill(os.getpid(), 9)
        os.waitpid(child, 0)
        kill(owner)
    with kvengine.open(tmp_path / "db", share=True) as db:
        assert db.get("s", "k", "n") == b"1"


def test_a_batch_is_seen_whole_by_other_processes(tmp_path: Path) -> None:
    """P3: one process writes two objects in one batch, another one never sees them differ."""
    with kvengine.open(tmp_path / "db", share=True, durability="os") as db:
        writer = start(PAIRS, str(tmp_path / "db"))
        seen = set()
        until = time.monotonic() + 0.5
        while time.monotonic() < until:
            pair = db.load_many("Pair", ["a", "b"])
            values = {each.entries["n"] for each in pair.values()}
            assert len(values) == 1 and len(pair) == 2
            seen |= values
        end(writer)
    assert len(seen) > 10


def test_damage_is_told_to_the_client(tmp_path: Path) -> None:
    """P4: a client that reads a damaged block gets the CorruptionError that the owner gets."""
    with kvengine.open(tmp_path / "db") as db:
        db.set("s", "k", "n", b"1")
        db.flush()
    (segment,) = (tmp_path / "db").glob("*.segment")
    data = bytearray(segment.read_bytes())
    data[40] ^= 1
    segment.write_bytes(data)
    with kvengine.open(tmp_path / "db"), kvengine.connect(tmp_path / "db") as db:
        with pytest.raises(kvengine.CorruptionError, match="block checksum") as raised:
            db.get("s", "k", "n")
        assert (raised.value.path, raised.value.offset) == (str(segment), 32)
        db.set("s", "other", "n", b"1")
        assert db.get("s", "other", "n") == b"1"


def test_a_takeover_recovers_as_an_open_does(tmp_path: Path) -> None:
    """P5: it drops a torn tail, and refuses damage before the last proven sync."""
    owner = start(OWNER, str(tmp_path / "db"), "sync")
    with kvengine.connect(tmp_path / "db") as db:
        for number in range(3):
            db.set("s", "k", "n", str(number).encode())
    kill(owner)
    (wal,) = (tmp_path / "db").glob("*.wal")
    sound = wal.read_bytes()
    written = len(sound.rstrip(b"\0"))
    torn = bytearray(sound)
    torn[written : written + 5] = b"\x20torn"
    wal.write_bytes(torn)
    with kvengine.open(tmp_path / "db", share=True) as db:
        assert db.get("s", "k", "n") == b"2"

    owner = start(OWNER, str(tmp_path / "db"), "sync")
    with kvengine.connect(tmp_path / "db") as db:
        for number in range(3):
            db.set("s", "k", "n", str(number).encode())
    kill(owner)
    wal = max((tmp_path / "db").glob("*.wal"))
    hurt = bytearray(wal.read_bytes())
    hurt[90] ^= 1
    wal.write_bytes(hurt)
    with pytest.raises(kvengine.CorruptionError):
        kvengine.open(tmp_path / "db", share=True)


def test_a_full_disk_of_the_owner(tmp_path: Path) -> None:
    """P6: writes raise and reads go on, until that owner ends; its successor has all."""
    owner = start(LIMITED, str(tmp_path / "db"))
    done = 0
    with kvengine.connect(tmp_path / "db", durability="os") as db:
        with pytest.raises((OSError, kvengine.WriteFailed)):
            for done in range(1000):
                db.set("s", str(done), "n", bytes(2000))
        with pytest.raises(kvengine.WriteFailed):
            db.set("s", "k", "n", b"1")
        assert db.get("s", "0", "n") == bytes(2000)
        kill(owner)
        with kvengine.open(tmp_path / "db", share=True, durability="os") as next_owner:
            assert next_owner.owner_pid == os.getpid()
            db.set("s", "k", "n", b"1")
            assert db.get("s", "k", "n") == b"1"
            assert all(db.get("s", str(number), "n") for number in range(done))


def test_a_directory_that_is_no_longer_its_owners(tmp_path: Path) -> None:
    """P7: its owner stops with OwnerLost, which clients are told; nothing goes to the new one."""
    with kvengine.open(tmp_path / "db") as owner, kvengine.connect(tmp_path / "db") as db:
        db.set("s", "k", "n", b"1")
        os.rename(tmp_path / "db", tmp_path / "moved")
        os.mkdir(tmp_path / "db")
        with pytest.raises(kvengine.OwnerLost):
            db.flush()
        with pytest.raises(kvengine.OwnerLost):
            db.set("s", "k", "n", b"2")
        assert list((tmp_path / "db").iterdir()) == []
        with pytest.raises(kvengine.OwnerLost):
            owner.close()
    with kvengine.open(tmp_path / "moved") as db:
        assert db.get("s", "k", "n") == b"1"


def test_repair_waits_for_no_owner(tmp_path: Path) -> None:
    """P8: while a process owns the directory, repair is refused and makes nothing."""
    with kvengine.open(tmp_path / "db", share=True):
        with pytest.raises(kvengine.DatabaseLocked):
            kvengine.repair(tmp_path / "db", tmp_path / "mended")
        assert not (tmp_path / "mended").exists()


def test_what_has_expired_stays_gone_under_the_next_owner(tmp_path: Path) -> None:
    """P9: the next owner goes on from the last time that the one before knew."""
    owner = start(OWNER, str(tmp_path / "db"), "os")
    with kvengine.connect(tmp_path / "db", durability="os") as db:
        db.set("s", "k", "n", b"1", ttl=0.05)
        until = time.monotonic() + 10
        while db.get("s", "k", "n") is not None:
            assert time.monotonic() < until
        db.set("s", "k", "later", b"1")
        kill(owner)
        with kvengine.open(tmp_path / "db", share=True):
            assert db.get_all("s", "k") == {"later": b"1"}
            assert db.expires_at("s", "k", "n") is None


def _lies(length: int) -> Callable[[socket.socket], None]:
    return lambda peer: peer.sendall(struct.pack("<I", length) + b"\x93")


@pytest.mark.parametrize(
    "attack",
    [
        _lies(0xFFFF_FFFF),
        lambda peer: peer.sendall(wire.frame(["get", None, "s", "k", "n"])),
        lambda peer: peer.sendall(struct.pack("<I", 100_000) + b"\x91" * 100_000),
    ],
    ids=["a frame of 4 GiB", "a request before it has joined", "deep nesting"],
)
def test_a_hostile_client_harms_nobody_else(
    tmp_path: Path, attack: Callable[[socket.socket], None]
) -> None:
    """P10: what it sends is refused or hung up on, and the others are served."""
    with kvengine.open(tmp_path / "db"), kvengine.connect(tmp_path / "db") as db:
        db.set("s", "k", "n", b"1")
        with socket.socket(socket.AF_UNIX) as peer, at_path(str(tmp_path / "db")) as place:
            peer.settimeout(10)
            peer.connect(place)
            greeting = peer.recv(65536)
            assert b"protocol" in greeting
            attack(peer)
            answer = peer.recv(65536)
            assert answer == b"" or answer[4:5] == b"\xc2", "refused, or hung up on"
            assert db.get("s", "k", "n") == b"1"
        db.set("s", "k", "n", b"2")
        assert db.get("s", "k", "n") == b"2"
