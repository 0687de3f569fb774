"""What is broken off gives back what it had: by an interrupt, by a timeout, by the next owner."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import kvengine
from kvengine.share.link import Link
from kvengine.share.owner import RemoteOwner
from kvengine.share.store import SharedStore
from tests.share.campaign import OWNER, end, freeze, kill, start


@pytest.fixture
def client(owner: kvengine.Engine) -> Iterator[SharedStore]:
    with kvengine.connect(owner.path, timeout=5) as found:
        yield found


@pytest.fixture
def other(owner: kvengine.Engine) -> Iterator[SharedStore]:
    with kvengine.connect(owner.path, timeout=5) as found:
        yield found


def at_leave(monkeypatch: pytest.MonkeyPatch, work: Callable[[], object]) -> None:
    """Let ``work`` come before the next request to give an object back is sent."""
    real = Link.ask

    def ask(self: Link, data: bytes, *how: Any) -> bytes | bytearray:
        if b"leave" in data:
            monkeypatch.setattr(Link, "ask", real)
            work()
        return real(self, data, *how)

    monkeypatch.setattr(Link, "ask", ask)


def interrupt() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("waits", [False, True])
def test_an_object_whose_giving_back_was_interrupted(
    owner: kvengine.Engine,
    client: SharedStore,
    other: SharedStore,
    monkeypatch: pytest.MonkeyPatch,
    waits: bool,
) -> None:
    """The process gives it back a little later, whether it had it or stood in its queue.

    The claim was forgotten before the owner was told. The owner then kept the object for this
    process, and others waited for ever.
    """
    with ExitStack() as stack:
        if waits:
            stack.enter_context(owner.object("s", "k").session())
        at_leave(monkeypatch, interrupt)
        with pytest.raises(KeyboardInterrupt):
            with client.object("s", "k").session(timeout=0.2):
                raise ZeroDivisionError
    with other.object("s", "k").session(timeout=10) as state:
        state.set("n", 1)


def test_what_was_dropped_is_given_back_though_there_is_ever_something_to_hear(
    owner: kvengine.Engine, client: SharedStore, other: SharedStore
) -> None:
    """It was looked for when the owner had told nothing for two seconds: never, beside a watch."""
    over = threading.Event()

    def change() -> None:
        while not over.wait(0.01):
            owner.set("s", "changing", "n", b"1")

    changing = threading.Thread(target=change)
    changing.start()
    try:
        with client.watch("s"):
            dropped = client.object("s", "k").session()
            dropped.__enter__()
            del dropped
            with other.object("s", "k").session(timeout=10):
                pass
    finally:
        over.set()
        changing.join()


def test_a_session_that_begins_while_an_object_is_given_back_keeps_it(
    owner: kvengine.Engine, client: SharedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session was dropped, and its object is given back in another thread.

    A new one of the same process began just then: the owner took the object for that one's, and
    then the request to give it back took it away.
    """
    obj = client.object("s", "k")
    entered, failed = threading.Event(), []

    def begin() -> None:
        try:
            with obj.session() as state:
                entered.set()
                time.sleep(0.5)
                state.set("n", 1)
        except Exception as error:
            failed.append(error)

    beginning = threading.Thread(target=begin)
    dropped = obj.session()
    dropped.__enter__()
    at_leave(monkeypatch, lambda: (beginning.start(), entered.wait(0.5)))
    del dropped
    assert entered.wait(10)
    beginning.join(10)
    assert failed == [] and obj.get("n") == 1


def test_a_session_that_ends_while_the_next_owner_is_joined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its object was just claimed again for it, and is given back.

    The old owner was gone and not told; the next one kept the object for a process that had
    forgotten it.
    """
    path = tmp_path / "db"
    owner = start(OWNER, str(path), "os")
    with kvengine.open(path, share=True, durability="os") as db, kvengine.connect(path) as client:
        joined, ended = threading.Event(), threading.Event()
        real = client._member._joined

        def slowly(*args: Any) -> Any:
            found = real(*args)
            if found is not None:
                joined.set()
                assert ended.wait(10)
            return found

        monkeypatch.setattr(client._member, "_joined", slowly)
        with pytest.raises(ZeroDivisionError):
            with client.object("s", "k").session():
                kill(owner)
                assert joined.wait(10)
                raise ZeroDivisionError
        ended.set()
        with db.object("s", "k").session(timeout=10):
            pass


def test_a_session_that_commits_while_the_next_owner_is_joined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits until its claim counts there.

    The next owner was asked as soon as it was found, and the claim still named the old one: the
    commit raised OwnerLost, though the object had been claimed again in time.
    """
    path = tmp_path / "db"
    owner = start(OWNER, str(path), "os")
    with kvengine.open(path, share=True, durability="os"), kvengine.connect(path) as client:
        settling = threading.Event()
        real = client._member._settle

        def slowly(*args: Any) -> None:
            settling.set()
            time.sleep(0.3)
            real(*args)

        monkeypatch.setattr(client._member, "_settle", slowly)
        obj = client.object("s", "k")
        with obj.session() as state:
            kill(owner)
            assert settling.wait(10)
            state.set("n", 1)
        assert obj.get("n") == 1


def test_a_process_that_was_interrupted_as_it_joined_joins_again(
    owner: kvengine.Engine, client: SharedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that listens ran on, and to the owner this client had joined already, for ever."""
    real = threading.Thread.start

    def begin(self: threading.Thread) -> None:
        real(self)
        if self.name == "kvengine-listen":
            monkeypatch.setattr(threading.Thread, "start", real)
            raise KeyboardInterrupt

    monkeypatch.setattr(client._member, "lose", lambda _: None)  # it must not be faster
    found = client._member.owner()
    found.close()
    monkeypatch.setattr(threading.Thread, "start", begin)
    with pytest.raises(KeyboardInterrupt):
        client.exists("s", "k")
    assert not client.exists("s", "k")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # sockets unclosed
def test_connections_that_interrupts_have_dropped_are_not_missed(
    owner: kvengine.Engine, client: SharedStore
) -> None:
    """They were counted as long as the process lived; after 32 of them every request waited."""
    remote = client._member.owner()
    assert isinstance(remote, RemoteOwner)
    for _ in range(40):
        remote._take()  # as one that is interrupted right after this
    asking = threading.Thread(target=client.exists, args=("s", "k"), daemon=True)
    asking.start()
    asking.join(10)
    assert not asking.is_alive()


def test_a_watch_ends_whoever_notices_that_the_owner_is_gone(tmp_path: Path) -> None:
    """A thread that asked something did, and no owner followed: the watch waited for ever."""
    owner = start(OWNER, str(tmp_path / "db"), "os")
    with kvengine.connect(tmp_path / "db", timeout=0.2) as db:
        watch = db.watch("s")
        db._member.owner().close()
        kill(owner)
        with pytest.raises(kvengine.OwnerLost):
            watch.poll(5)


def test_a_watch_of_the_next_owner_does_not_end_with_the_one_before(
    owner: kvengine.Engine, client: SharedStore
) -> None:
    """The thread that listened to the old owner may come late to say that it is gone."""
    before = client._member.owner()
    before.close()
    watch = client.watch("s")
    client._member.lose(before)
    owner.set("s", "k", "n", b"1")
    change = watch.poll(5)
    assert change is not None and change.key == "k"


def test_a_watch_of_a_stopped_owner_is_given_up(tmp_path: Path) -> None:
    """It was asked for again and again, each time for the whole timeout."""
    owner = start(OWNER, str(tmp_path / "db"), "os")
    with kvengine.connect(tmp_path / "db", timeout=0.4) as db:
        walks = [db.object_keys("s") for _ in range(2)]
        assert list(walks[0]) == []
        member: Any = db._member
        links = [member.owner()._take() for _ in range(6)]
        for link in links:
            member.owner()._give(link)
        freeze(owner)
        try:
            begun = time.monotonic()
            with pytest.raises(kvengine.Unavailable):
                db.watch("s")
            assert time.monotonic() - begun < 1.5
        finally:
            owner.send_signal(signal.SIGCONT)
    end(owner)


def test_a_snapshot_of_a_stopped_owner_is_not_lost(tmp_path: Path) -> None:
    """Its reads end by timeout, and said that it was gone. It goes on when the owner does."""
    owner = start(OWNER, str(tmp_path / "db"), "os")
    with kvengine.connect(tmp_path / "db", timeout=0.5) as db, db.snapshot() as snapshot:
        db.set("s", "k", "n", b"1")
        freeze(owner)
        try:
            with pytest.raises(kvengine.Unavailable, match="has not answered"):
                snapshot.get("s", "k", "n")
        finally:
            owner.send_signal(signal.SIGCONT)
        assert snapshot.get("s", "k", "n") is None
    end(owner)


def test_a_session_outlives_an_owner_that_stands_still(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that opened one more connection was not greeted within three seconds.

    So the process left the owner, with all that it held there; who waited for its object got it.
    """
    monkeypatch.setattr("kvengine.share.owner.GREETING", 0.3)
    owner = start(OWNER, str(tmp_path / "db"), "os")
    with kvengine.connect(tmp_path / "db") as db, kvengine.connect(tmp_path / "db") as other:
        obj = db.object("s", "k")

        def begin() -> None:
            with other.object("s", "k").session() as state:
                state.increment("n", 10)

        waiting = threading.Thread(target=begin)
        asking = [threading.Thread(target=db.exists, args=("s", "x")) for _ in range(3)]
        with db.snapshot() as snapshot, obj.session() as state:
            waiting.start()
            time.sleep(0.2)
            freeze(owner)
            for thread in asking:
                thread.start()
            time.sleep(1)
            owner.send_signal(signal.SIGCONT)
            for thread in asking:
                thread.join()
            time.sleep(0.2)
            state.increment("n")
            assert snapshot.get("s", "k", "n") is None
        waiting.join(20)
        assert obj.get("n") == 11
    end(owner)


def test_nobody_waits_longer_because_others_wait_too(tmp_path: Path) -> None:
    """Each thread looked for an owner for the whole timeout, one after the other."""
    owner = start(OWNER, str(tmp_path / "db"), "os")
    with kvengine.connect(tmp_path / "db", timeout=0.5) as db:
        kill(owner)
        begun, waited = time.monotonic(), []

        def ask() -> None:
            with pytest.raises(kvengine.Unavailable):
                db.exists("s", "k")
            waited.append(time.monotonic() - begun)

        threads = [threading.Thread(target=ask) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(waited) == 6 and max(waited) < 2


def test_what_is_dropped_waits_for_no_answer(tmp_path: Path) -> None:
    """The collector may run in any thread, an event loop's too, while the owner stands still."""
    owner = start(OWNER, str(tmp_path / "db"), "os")
    with kvengine.connect(tmp_path / "db", timeout=2) as db:
        with db.batch() as batch:
            for number in range(3000):
                batch.set("s", f"{number:05}", "n", b"1")
        walk, watch, snapshot = db.object_keys("s"), db.watch("s"), db.snapshot()
        freeze(owner)
        try:
            begun = time.monotonic()
            del walk, watch
            snapshot.close()
            assert time.monotonic() - begun < 0.5
        finally:
            owner.send_signal(signal.SIGCONT)
    end(owner)
