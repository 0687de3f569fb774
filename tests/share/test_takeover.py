"""When the owner ends or is killed, another process takes over, and nothing that was
acknowledged is lost."""

from __future__ import annotations

import os
import signal
import socket
import statistics
import threading
import time
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import kvengine
from kvengine.share import requests
from kvengine.share.link import Broken, Link
from kvengine.share.opening import _open
from kvengine.share.owner import RemoteOwner
from kvengine.share.store import SharedStore
from tests.share.campaign import OWNER, campaign, end, freeze, kill, start
from tests.share.races import faults, races
from tests.share.raw import RawClient, eventually


@pytest.mark.slow
@pytest.mark.parametrize("durability", ["sync", "os"])
def test_owners_are_killed_under_writers(tmp_path: Path, durability: str) -> None:
    """No commit is lost, torn or applied twice, and the writers go on by themselves."""
    seen = campaign(str(tmp_path / "db"), 4, durability=durability)
    assert seen.faults == [] and seen.errors == {}
    assert seen.acknowledged > 100
    print(f"stalls: median {statistics.median(seen.stalls or [0]):.3f} s")


@pytest.mark.slow
def test_there_are_never_two_owners(tmp_path: Path) -> None:
    """Whoever races for a directory, and whenever the owner is killed, while it opens too."""
    lines = races(tmp_path, 40)
    assert len(lines) > 3 and faults(lines) == []


def test_two_owners_would_be_seen() -> None:
    """By their witness, and by their epochs."""
    assert faults(["1", "2", "5"]) == []
    assert faults(["1", "3", "2"]) == ["epoch 2 began after 3"]
    assert faults(["1", "two owners: process 7 has epoch 2"])


def open_shared(path: Path) -> SharedStore:
    return kvengine.open(path / "db", share=True, durability="os")


def test_one_of_the_others_takes_over(tmp_path: Path) -> None:
    """At once, whether it is used or not, when the owner closes or is killed."""
    for killed in (False, True):
        owner = start(OWNER, str(tmp_path / "db"), "os")
        with open_shared(tmp_path) as db:
            assert db.owner_pid == owner.pid
            db.set("s", "k", "n", b"1")
            (kill if killed else end)(owner)
            assert db.get("s", "k", "n") == b"1"
            assert db.owner_pid == os.getpid()


def test_a_session_goes_on_under_the_next_owner(tmp_path: Path) -> None:
    """It claims its object again, and nobody else gets it meanwhile."""
    owner = start(OWNER, str(tmp_path / "db"), "os")
    with open_shared(tmp_path) as db, kvengine.connect(tmp_path / "db") as other:
        obj = db.object("s", "k")
        obj.set("n", 1)
        with obj.session() as state:
            state.increment("n")
            kill(owner)
            with pytest.raises(kvengine.SessionTimeout):
                with other.object("s", "k").session(timeout=0.1):
                    pass
        assert other.object("s", "k").get("n") == 2
        with other.object("s", "k").session(timeout=5) as state:
            state.increment("n")
        assert obj.get("n") == 3


def test_a_session_of_the_only_client_goes_on(tmp_path: Path) -> None:
    """The process that takes over claims its own objects again, as every other client does.

    It waited for all other clients of the old owner to join. Where there was none, that was over
    before it began, and what came then counted as too late: its own claims among them.
    """
    owner = start(OWNER, str(tmp_path / "db"), "os")
    with open_shared(tmp_path) as db:
        obj = db.object("s", "k")
        obj.set("n", 1)
        with obj.session() as state:
            state.increment("n")
            kill(owner)
        assert obj.get("n") == 2


def test_the_first_commit_of_all_lands_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answer was lost with the owner, and the process that sent it took over.

    Before it there was no stamp, and 0 passed for a commit that had not been sent: it was made
    again without its token.
    """
    owner = start(OWNER, str(tmp_path / "db"), "os")
    with open_shared(tmp_path) as db:
        real = Link.ask

        def lost(self: Link, data: bytes, *how: Any) -> bytes | bytearray:
            found = real(self, data, *how)
            if b"write" in data:
                monkeypatch.setattr(Link, "ask", real)
                kill(owner)
                self.close()
                raise Broken(True)
            return found

        monkeypatch.setattr(Link, "ask", lost)
        stamp = db.set("s", "k", "n", b"1")
        assert db.version("s", "k") == stamp
        assert db.stats().commits == 0, "by this owner"


def test_the_time_to_claim_again_begins_when_the_next_owner_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients that had sessions have a second to join the next owner, whatever opening takes.

    It was counted from before the log was replayed: where that took longer, the time was over when
    the first of them could join, and objects went to whoever was faster.
    """
    served: list[float] = []

    def slowly(*args: Any) -> kvengine.Engine:
        time.sleep(1.2)
        engine = _open(*args)
        served.append(time.monotonic())
        return engine

    monkeypatch.setattr("kvengine.share.opening._open", slowly)
    owner = start(OWNER, str(tmp_path / "db"), "os")
    with open_shared(tmp_path) as db, RawClient(str(tmp_path / "db")):
        assert eventually(lambda: len(db._member._known or ()) == 2)
        kill(owner)
        with db.object("s", "k").session():
            assert time.monotonic() - served[0] > 0.5


def test_a_session_of_a_client_goes_on(tmp_path: Path) -> None:
    """One that was loaded in part reads the rest from the next owner, and commits there."""
    owner = start(OWNER, str(tmp_path / "db"), "os")
    with open_shared(tmp_path), kvengine.connect(tmp_path / "db") as db:
        obj = db.object("s", "k", serde="bytes")
        for name in "abc":
            obj.set(name, bytes(20_000))
        with obj.session(preload=False) as state:
            assert state.get("a") == bytes(20_000)
            kill(owner)
            assert state.get("c") == bytes(20_000)
            state.set("b", b"changed")
        assert obj.get("b") == b"changed"


def test_what_the_owner_held_is_lost_with_it(tmp_path: Path) -> None:
    """Snapshots, walks and watches say so; new ones are of the next owner."""
    owner = start(OWNER, str(tmp_path / "db"), "os")
    with open_shared(tmp_path) as db:
        with db.batch() as batch:
            for number in range(2000):
                batch.set("s", f"{number:05}", "n", b"1")
        snapshot, walk, watch = db.snapshot(), db.object_keys("s"), db.watch("s")
        next(walk)
        kill(owner)
        db.set("s", "k", "n", b"1")
        with pytest.raises(kvengine.OwnerLost):
            snapshot.get("s", "00001", "n")
        with pytest.raises(kvengine.OwnerLost):
            list(walk)
        with pytest.raises(kvengine.OwnerLost):
            watch.poll(5)
        snapshot.close()
        assert len(list(db.object_keys("s"))) == 2001


def test_a_stopped_owner_is_not_displaced(tmp_path: Path) -> None:
    """Its lock is its own: requests end by timeout, with what is known of commits."""
    owner = start(OWNER, str(tmp_path / "db"), "os")
    path = tmp_path / "db"
    with kvengine.connect(path, timeout=0.5) as reader, kvengine.connect(path, timeout=0.5) as db:
        db.set("s", "k", "n", b"1")
        assert reader.get("s", "k", "n") == b"1"
        freeze(owner)
        try:
            silent = pytest.raises(kvengine.Unavailable, match=f"process {owner.pid}.*not answer")
            with silent:
                reader.get("s", "k", "n")
            with pytest.raises(kvengine.OutcomeUnknown, match="it may be stopped"):
                db.set("s", "k", "n", b"2")
            for _ in range(2):
                with pytest.raises(kvengine.Unavailable):
                    db.set("s", "k", "n", b"3")
            with pytest.raises(kvengine.DatabaseLocked):
                kvengine.open(path)
        finally:
            owner.send_signal(signal.SIGCONT)
        assert db.get("s", "k", "n") in (b"1", b"2")
    end(owner)


def test_a_stopped_owner_at_which_many_wait_is_no_absent_one(tmp_path: Path) -> None:
    """The system lets so many wait to be taken in. The next was told that nobody serves."""
    owner = start(OWNER, str(tmp_path / "db"), "os")
    freeze(owner)
    with ExitStack() as stack, pytest.raises(kvengine.Unavailable, match="does not answer"):
        with suppress(BlockingIOError):
            while True:
                waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
                waiting.setblocking(False)
                waiting.connect(f"{tmp_path}/db/LIVE")
        kvengine.connect(tmp_path / "db", timeout=0.1)
    kill(owner)


def test_nobody_serves_the_directory(tmp_path: Path) -> None:
    """A client says so when its time is over: it never owns."""
    with pytest.raises(kvengine.Unavailable, match="nobody serves"):
        kvengine.connect(tmp_path / "db", timeout=0.1)
    with kvengine.open(tmp_path / "db", live_access=False):
        with pytest.raises(kvengine.Unavailable, match="nobody serves"):
            kvengine.connect(tmp_path / "db", timeout=0.1)


def test_options_that_disagree_are_refused_by_name(tmp_path: Path) -> None:
    """Whoever shares a directory may own it next: all have the same options."""
    with kvengine.open(tmp_path / "db", share=True):
        with pytest.raises(ValueError, match="memtable_size=16777216"):
            kvengine.open(tmp_path / "db", share=True, memtable_size=1 << 20)
        with kvengine.open(tmp_path / "db", share=True, durability="os", serde="msgpack") as other:
            other.object("s", "k").set("n", 1)


def test_stores_of_one_process_are_counted(tmp_path: Path) -> None:
    """The last one that is closed lets go of the directory."""
    first = kvengine.open(tmp_path / "db", share=True)
    second = kvengine.open(tmp_path / "db", share=True)
    first.set("s", "k", "n", b"1")
    first.close()
    with pytest.raises(kvengine.DatabaseClosed):
        first.get("s", "k", "n")
    assert second.get("s", "k", "n") == b"1"
    with pytest.raises(kvengine.DatabaseLocked):
        kvengine.open(tmp_path / "db")
    second.close()
    kvengine.open(tmp_path / "db").close()


def test_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks and sockets do not reach across: two machines would both own the directory."""
    monkeypatch.setattr("kvengine.share.opening.network_filesystem", lambda _: "nfs4")
    for opening in (partial(kvengine.open, share=True), kvengine.connect):
        with pytest.raises(ValueError, match="lies on nfs4"):
            opening(tmp_path / "db")


def test_a_session_that_was_dropped_gives_its_object_back(tmp_path: Path) -> None:
    """Its frame is gone, by an interrupt in its last line, and nobody says that it has ended."""
    with kvengine.open(tmp_path / "db"), kvengine.connect(tmp_path / "db") as other:
        for db in (kvengine.connect(tmp_path / "db"),):
            with db:
                dropped = db.object("s", "k").session()
                dropped.__enter__()
                del dropped
                with other.object("s", "k").session(timeout=20) as state:
                    state.set("n", 1)
    with open_shared(tmp_path) as db, kvengine.connect(tmp_path / "db") as other:
        dropped = db.object("s", "k").session()
        dropped.__enter__()
        del dropped
        with other.object("s", "k").session(timeout=20) as state:
            state.increment("n")


def test_many_threads_of_a_client_share_its_connections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hundreds that wait for an object have no connection; requests wait for a free one.

    The owner's thread was not woken where a sync ended just as it woke for another one, and then
    each commit waited for its next tick. Here there is none.
    """
    monkeypatch.setattr("kvengine.share.server._TICK", 3600.0)
    with kvengine.open(tmp_path / "db"), kvengine.connect(tmp_path / "db") as db:

        def work() -> None:
            with db.object("s", "all").session() as state:
                state.increment("n")
            db.set("s", str(threading.get_ident()), "n", b"1")

        threads = [threading.Thread(target=work, daemon=True) for _ in range(200)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert db.object("s", "all").get("n") == 200


def test_an_object_is_given_back_as_the_next_owner_is_joined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session ends and asks an owner that was just killed to take its object back.

    Meanwhile another thread has joined the next owner, and has claimed the object once more. It
    stayed claimed for as long as the process lived: nobody else could have it.
    """
    first = start(OWNER, str(tmp_path / "db"), "os")
    second = start(OWNER, str(tmp_path / "db"), "os")
    ask = RemoteOwner.ask

    def late(self: RemoteOwner, request: Any, decode: Any) -> Any:
        if type(request) is not requests.Leave:
            return ask(self, request, decode)
        monkeypatch.setattr(RemoteOwner, "ask", ask)
        kill(first)
        assert eventually(lambda: db._member.at_hand not in (None, self))  # type: ignore[attr-defined]
        raise Broken(True)

    with kvengine.connect(tmp_path / "db") as db:
        with db.object("s", "k").session():
            monkeypatch.setattr(RemoteOwner, "ask", late)
        with kvengine.connect(tmp_path / "db") as other, other.object("s", "k").session(timeout=5):
            pass
    end(second)


def test_an_object_is_given_back_though_the_connection_broke(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner may live: that one connection broke, or it took no more of them.

    It was taken for gone, and kept the object for a session that had ended.
    """
    owner = start(OWNER, str(tmp_path / "db"), "os")
    ask = RemoteOwner.ask

    def broken(self: RemoteOwner, request: Any, decode: Any) -> Any:
        if type(request) is not requests.Leave:
            return ask(self, request, decode)
        monkeypatch.setattr(RemoteOwner, "ask", ask)
        raise Broken(False)

    with kvengine.connect(tmp_path / "db") as db:
        with db.object("s", "k").session():
            monkeypatch.setattr(RemoteOwner, "ask", broken)
        with kvengine.connect(tmp_path / "db") as other, other.object("s", "k").session(timeout=5):
            pass
    end(owner)
