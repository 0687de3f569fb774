"""Clients of the owner's own user that are hostile, broken or killed harm neither it nor others."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

import kvengine
from kvengine import KVEngineError, Unavailable
from kvengine.share import holdings, requests, server, wire
from kvengine.share.owner import OwnerSilent
from kvengine.share.server import Server
from kvengine.share.store import SharedStore
from kvengine.share.workers import Workers
from tests.share.raw import Raw, RawClient, eventually, reached, standing_still

ROOT = Path(__file__).resolve().parents[2]
MIB = 1024 * 1024
GET = "get", None, "s", "k", "n"

pytestmark = pytest.mark.timeout(90)


def serving(owner: kvengine.Engine) -> Server:
    found = owner._access
    assert found is not None
    return found


@contextmanager
def held_up(
    monkeypatch: pytest.MonkeyPatch, of: Any, name: str
) -> Iterator[tuple[threading.Event, threading.Event]]:
    """Let a method wait; give an event that tells that it does, and one that lets it go on."""
    begun, go = threading.Event(), threading.Event()
    real = getattr(of, name)

    def late(*given: Any, **named: Any) -> Any:
        begun.set()
        assert go.wait(60)
        return real(*given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(of, name, late)
        try:
            yield begun, go
        finally:
            go.set()


def begin(client: Raw, *state_keys: str, key: str = "k") -> bool:
    """Claim an object; return whether the client has it."""
    granted: bool = client.ask("begin", "s", key, False, 0, state_keys)[0]
    return granted


# --- requests of connections that were given up


BEGIN = "begin", "s", "k", False, 0, ()


def give_up(owner: kvengine.Engine, client: RawClient) -> None:
    """Let a client wait for its object in vain, since the owner stands still. It hangs up, and
    gives the object back on another connection, which the owner reads before the old one."""
    old = client.another()
    with standing_still(owner):
        client.send("leave", "s", "k")
        with old:
            old.send(*BEGIN)
    client.answer()


def test_a_session_that_was_given_up_claims_nothing(owner: kvengine.Engine) -> None:
    """It was claimed by a request that nobody waited for any more."""
    with RawClient(owner.path) as client, RawClient(owner.path) as other:
        give_up(owner, client)
        assert eventually(lambda: begin(other), 5)


def test_a_session_that_was_given_up_leaves_no_place_in_the_queue(owner: kvengine.Engine) -> None:
    with RawClient(owner.path) as client, RawClient(owner.path) as other:
        assert begin(other)
        give_up(owner, client)
        other.ask("leave", "s", "k")
        with RawClient(owner.path) as third:
            assert eventually(lambda: begin(third), 5)


def test_a_session_that_was_given_up_takes_nothing_from_the_next(owner: kvengine.Engine) -> None:
    """The client has begun another session of the object meanwhile."""
    with RawClient(owner.path) as client, RawClient(owner.path) as other:
        old = client.another()
        with standing_still(owner):
            client.send(*BEGIN)
            with old:
                old.send(*BEGIN)
        assert client.answer()[0]
        assert eventually(lambda: serving(owner)._busy == 0) and not begin(other)
        client.ask("get", None, "s", "k", "n")
        assert not begin(other)


# --- frames


def test_a_flood_of_requests_lets_others_have_their_turn(
    owner: kvengine.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one client sends at once is answered some at a time, in between what others ask."""
    rounds = [0]
    begun, go = threading.Event(), threading.Event()
    handle, serve = Server._handle, Server._serve

    def noted(self: Server, connection: Any, data: Any) -> None:
        begun.set()
        assert go.wait(60)
        rounds[-1] += 1
        handle(self, connection, data)

    def new_round(self: Server, seconds: float) -> None:
        rounds.append(0)
        serve(self, seconds)

    with RawClient(owner.path) as flood:
        assert flood.ask(*GET) is None
        monkeypatch.setattr(Server, "_handle", noted)
        monkeypatch.setattr(Server, "_serve", new_round)
        flood.send(*GET)
        assert begun.wait(60)
        flood.socket.sendall(wire.frame(GET) * 2000)
        go.set()
        for _ in range(2001):
            flood.receive()
    assert sum(rounds) == 2001
    assert max(rounds) <= 2 * server._MOST_AT_ONCE <= 200


def test_half_frames_for_ever_keep_a_bounded_memory(
    owner: kvengine.Engine, tool: SharedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that has sent most is hung up on, and those who ask are served."""
    monkeypatch.setattr(server, "_MOST_UNSENT", 4 * MIB)
    half = wire.LENGTH.pack(8 * MIB)
    with ExitStack() as opened:
        halves = [opened.enter_context(RawClient(owner.path)) for _ in range(6)]
        for number, client in enumerate(halves):
            with suppress(BrokenPipeError, ConnectionResetError):
                client.socket.sendall(half + b"x" * (MIB + number))
            assert eventually(lambda: serving(owner)._unfinished <= 4 * MIB)
            assert tool.set("s", "k", "n", b"1") and tool.get("s", "k", "n") == b"1"
        assert sum(client.number in serving(owner)._clients for client in halves) == 6
        dropped = [client for client in halves if hangs_up(client)]
        assert 0 < len(dropped) < 6
    assert eventually(lambda: serving(owner)._unfinished == 0)


def hangs_up(client: Raw) -> bool:
    """Return whether the owner has hung up on a connection on which it says nothing."""
    client.socket.settimeout(0.05)
    try:
        return client.socket.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("length", [0, 1, 2**31, 2**32 - 1])
def test_frames_that_lie_about_their_length(
    owner: kvengine.Engine, tool: SharedStore, length: int
) -> None:
    with RawClient(owner.path) as liar:
        with suppress(BrokenPipeError, ConnectionResetError):
            liar.socket.sendall(struct.pack("<I", length) + wire.frame(GET) * 3)
            liar.socket.shutdown(socket.SHUT_WR)
        assert liar.is_over()
    assert tool.get("s", "k", "n") is None


def test_a_frame_may_come_byte_by_byte(owner: kvengine.Engine) -> None:
    """And several at once; each is answered, in order."""
    owner.set("s", "k", "n", b"1")
    with RawClient(owner.path) as client:
        for byte in wire.frame(GET):
            client.socket.sendall(bytes((byte,)))
        client.socket.sendall(wire.frame(["exists", None, "s", "k"]) + wire.frame(GET))
        assert [client.answer() for _ in range(3)] == [b"1", True, b"1"]


BOMBS: dict[str, bytes] = {
    "an array of 4 billion": b"\xdd\xff\xff\xff\xff",
    "a map of 4 billion": b"\xdf\xff\xff\xff\xff",
    "16 million of something": b"\xdd\x00\xff\xff\xf0" + b"\xc0" * 0xFFFFF0,
    "8 million lists": b"\xdd\x00\x7f\xff\xf0" + b"\x91\x90" * 0x7FFFF0,
    "a million levels": b"\x91" * 1_000_000 + b"\x90",
    "a million maps": b"\x81\xa0" * 1_000_000 + b"\x80",
}


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("place", ["request", "argument", "options", "list"])
def test_what_is_decoded_takes_no_more_than_it_has_bytes(bomb: str, place: str) -> None:
    """A request of 16 MB became objects of a gigabyte before it was refused."""
    around = {
        "request": b"",
        "argument": wire.encode(["get", None, "s", "k"])[1:],
        "options": wire.encode(["late", "s", "k", 1, 1, "get", "n"])[1:] + b"\x81\xa5limit",
        "list": wire.encode(["get_many", None, "s", "k"])[1:],
    }[place]
    head = {"request": b"", "argument": b"\x95", "options": b"\x98", "list": b"\x95"}[place]
    tracemalloc.start()
    try:
        with pytest.raises((TypeError, KVEngineError)):
            requests.decode(head + around + BOMBS[bomb])
        assert tracemalloc.get_traced_memory()[1] < 40 * MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_answered(owner: kvengine.Engine, tool: SharedStore, bomb: str) -> None:
    with RawClient(owner.path) as client:
        client.socket.sendall(wire.LENGTH.pack(len(BOMBS[bomb])) + BOMBS[bomb])
        with pytest.raises((TypeError, KVEngineError)):
            client.answer()
        assert client.ask(*GET) is None
    assert tool.get("s", "k", "n") is None


# --- who joins


def test_a_connection_joins_first_and_once(owner: kvengine.Engine) -> None:
    """What comes before is refused; so is a second time, and all that is asked on the listener."""
    with Raw(owner.path) as connection, RawClient(owner.path) as client:
        for request in (GET, ("snapshot",), ("begin", "s", "k", False, 0, [])):
            with pytest.raises(KVEngineError, match="joins first"):
                connection.ask(*request)
        with pytest.raises(KVEngineError, match="has not joined"):
            connection.ask("join", 1, "nobody", False, [])
        with pytest.raises(KVEngineError, match="has joined already"):
            connection.ask("join", client.number, "a thief", True, [])
        for each in (client, client.listener):
            for listens in (True, False):
                with pytest.raises(KVEngineError, match="and once"):
                    each.ask("join", client.number, "again", listens, [])
        with pytest.raises(KVEngineError, match="nothing more"):
            client.listener.ask(*GET)
        connection.ask("join", client.number, "late", False, [])
        assert connection.ask(*GET) is None and client.ask(*GET) is None


def test_a_client_is_gone_with_the_connection_on_which_it_listens(owner: kvengine.Engine) -> None:
    """Its others are hung up on, whatever they do."""
    with RawClient(owner.path) as client, client.another() as other:
        client.ask("snapshot")
        client.listener.close()
        assert other.is_over() and client.is_over()
        assert eventually(lambda: owner.stats().open_snapshots == 0)


def test_a_thousand_connections(
    owner: kvengine.Engine, tool: SharedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that do not join make room for those who do; who is beyond the bound is told so."""
    monkeypatch.setattr(server, "_MOMENT", 3600.0)  # on a busy machine all of this takes long
    with ExitStack() as opened:
        told = []
        for _ in range(1000):
            with suppress(ConnectionResetError):  # it was dropped for another
                told.append(opened.enter_context(Raw(owner.path)).hello["refused"])
        assert len(serving(owner)._connections) <= server.MOST_CONNECTIONS
        assert any("connections already" in each for each in told)
        assert tool.get("s", "k", "n") is None
        monkeypatch.setattr(server, "_MOMENT", 0.0)
        with reached(owner.path) as newcomer:
            assert newcomer.set("s", "k", "n", b"1")
        assert tool.get("s", "k", "n") == b"1"
    assert eventually(lambda: len(serving(owner)._connections) <= 2)


def test_connections_that_dribble_and_never_join_make_room(
    owner: kvengine.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A byte now and then kept their places for ever."""
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 4)
    monkeypatch.setattr(server, "_MOMENT", 0.2)
    with ExitStack() as opened:
        dribbling = [opened.enter_context(Raw(owner.path)) for _ in range(4)]
        for byte in wire.LENGTH.pack(100) + b"xxxx":
            for each in dribbling:
                each.socket.sendall(bytes((byte,)))
            time.sleep(0.05)
        with Raw(owner.path) as newcomer:
            assert newcomer.hello["refused"] == ""


def test_one_client_does_not_take_all_connections(owner: kvengine.Engine) -> None:
    """Others find room, however many one opens; and it is told why it gets no more."""
    with ExitStack() as opened:
        greedy = opened.enter_context(RawClient(owner.path))
        for _ in range(server.MOST_OF_A_CLIENT - 1):
            opened.enter_context(greedy.another())
        with pytest.raises(KVEngineError, match="a client may have 64 connections"):
            greedy.another()
        with reached(owner.path) as other:
            assert other.get("s", "k", "n") is None


def test_a_process_of_many_threads_needs_few_connections(owner: kvengine.Engine) -> None:
    """200 that ask at once: each is answered, and nothing that the process holds is lost."""
    owner.set("s", "k", "n", b"1")
    with kvengine.connect(owner.path) as db, db.snapshot() as snapshot:
        start = threading.Barrier(200)
        found: list[bytes | None] = []

        def work() -> None:
            start.wait(60)
            found.extend(db.get("s", "k", "n") for _ in range(20))

        threads = [threading.Thread(target=work) for _ in range(200)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert found == [b"1"] * 4000
        assert snapshot.get("s", "k", "n") == b"1"
        assert len(serving(owner)._connections) <= server.MOST_OF_A_CLIENT


# --- what is held


def test_what_a_client_holds_is_bounded(
    owner: kvengine.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Snapshots, walks, watches, objects: more are refused, until some are given back."""
    monkeypatch.setattr(holdings, "_MOST_TURNS", 64)
    with owner.batch() as batch:
        for number in range(1001):
            batch.set("s", f"{number:04}", "n", b"1")
    kinds: list[tuple[Callable[[Raw, int], Any], Callable[[Any], tuple[Any, ...]]]] = [
        (lambda client, _: client.ask("snapshot")[0], lambda at: ("release", at)),
        (
            lambda client, _: client.ask("object_keys", None, "s", "", None, None, False, None)[0],
            lambda walk: ("end", walk),
        ),
        (
            lambda client, number: client.ask("watch", number, "s", None, "") or number,
            lambda watch: ("unwatch", watch),
        ),
        (
            lambda client, number: begin(client, key=f"{number}") and f"{number}",
            lambda key: ("leave", "s", key),
        ),
    ]
    with RawClient(owner.path) as client:
        for get, give_back in kinds:
            got = [get(client, number) for number in range(64)]
            with pytest.raises(KVEngineError, match="a client may keep 64 of these open"):
                get(client, 64)
            client.ask(*give_back(got[0]))
            client.ask(*give_back(got[0]))  # may be said again
            assert get(client, 65) is not None
        assert owner.stats().open_snapshots == 128
        assert len(owner._db.feeds) == 64
    assert eventually(lambda: not owner.stats().open_snapshots)
    assert not len(owner._host.turns)


@pytest.mark.parametrize("number", [0, 1, -1, 2**63, 2**64 - 1])
def test_numbers_that_nobody_gave_are_refused(owner: kvengine.Engine, number: int) -> None:
    """Those of other clients too."""
    with RawClient(owner.path) as other, RawClient(owner.path) as client:
        assert other.ask("snapshot")[0] == 1
        with pytest.raises(KVEngineError, match="this snapshot is closed"):
            client.ask("get", number, "s", "k", "n")
        with pytest.raises(KVEngineError, match="this walk has ended"):
            client.ask("next", number)
        for verb in ("end", "release", "unwatch"):
            assert client.ask(verb, number) is None
        assert client.ask("leave", "s", "k") is None
        assert other.ask("get", 1, "s", "k", "n") is None


def test_answers_that_are_not_read_are_no_more_than_one(owner: kvengine.Engine) -> None:
    """A client that sent thousands of requests at once filled the memory with their answers."""
    owner.set("s", "k", "n", b"x" * MIB)
    with RawClient(owner.path) as client, RawClient(owner.path) as other:
        client.socket.sendall(wire.frame(GET) * 1000)
        assert eventually(lambda: serving(owner)._unsent)
        assert other.ask(*GET) == b"x" * MIB
        assert serving(owner)._unsent <= MIB + 1024
        for _ in range(1000):
            assert client.answer() == b"x" * MIB


def test_a_listener_that_does_not_read_gets_a_gap(owner: kvengine.Engine) -> None:
    """Writers do not wait for it, and what is kept for it is bounded."""
    with RawClient(owner.path) as client:
        client.ask("watch", 7, "s", None, "")
        for number in range(60):
            with owner.batch() as batch:
                for key in range(1000):
                    batch.set("s", f"{key:0100}", "n", b"%d" % number)
        last = owner.set("s", "end", "n", b"1")
        (feed,) = owner._db.feeds
        assert len(feed._changes) <= 10_000
        assert serving(owner)._unsent < MIB
        seen: list[list[Any]] = []
        while not seen or seen[-1][2] != last:
            event = client.listener.event()
            if event[0] == "changes":
                seen += event[2]
        assert len(seen) < 60_001
        assert any(change[3] for change in seen), "the gap was not told"
        stamps = [change[2] for change in seen]
        assert stamps == sorted(stamps)


def test_a_listener_that_never_reads_is_dropped_though_there_is_ever_more_to_tell(
    owner: kvengine.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each new event made it look as if it had read."""
    monkeypatch.setattr(server, "_STUCK", 1.0)
    monkeypatch.setattr(server, "_TICK", 0.1)
    with RawClient(owner.path) as deaf, RawClient(owner.path) as other:
        event = requests.Members(0, list(range(20_000)))
        end = time.monotonic() + 30
        while deaf.number in serving(owner)._clients and time.monotonic() < end:
            serving(owner)._tell(serving(owner)._clients[deaf.number].listener, event)
            assert other.ask(*GET) is None
            time.sleep(0.02)
        assert deaf.number not in serving(owner)._clients


@pytest.mark.parametrize(
    "request_",
    [
        ("expire", None, b"", None, "s", "k", 2**63, None),
        ("expire", None, b"", None, "s", "k", None, -1),
        ("expire", None, b"", None, "s", "k", -1, None),
        ("set_retention", "s", -1),
        ("write", None, b"", None, [["set", "s", "k", "n", b"", 2**63, None]], None),
        ("write", None, b"", None, [["complete", "s", "k", 2**63, None]], None),
        ("write", None, b"", None, [["clear_range", "s", "b", "x" * 70_000]], None),
        ("begin", "s" * 70_000, "k", False, 0, []),
        ("late", "s", "k", 0, 2**64 - 1, "state_keys", None, {"limit": -1}),
        ("late", "s", "k", 0, 0, "close", None, {}),
        ("late", "s", "k", 0, 0, "get", ["n"], {}),
        ("checkpoint", b"\0"),
        ("watch", 1, "s", "k", "prefix"),
        ("join", 1, "x" * 1000, False, []),
    ],
    ids=str,
)
def test_arguments_that_no_verb_takes_do_nothing(
    owner: kvengine.Engine, request_: tuple[Any, ...]
) -> None:
    """An expiry beyond all times was stored; a name too long for one was claimed for ever."""
    owner.set("s", "k", "n", b"1")
    with RawClient(owner.path) as client:
        with pytest.raises((TypeError, ValueError, KVEngineError)):
            client.ask(*request_)
        assert owner.get_all("s", "k") == {"n": b"1"} and owner.expires_at("s", "k") is None
        assert owner.stats().commits == 1 and not owner.retentions()
        assert not len(owner._host.turns)


# --- clients that are gone


HOLDS = """
import sys, time, kvengine
with kvengine.connect(sys.argv[1]) as db:
    snapshot = db.snapshot()
    walk = db.object_keys("s")
    next(walk)
    watch = db.watch("s")
    with db.object("s", "k").session():
        print("go", flush=True)
        time.sleep(60)
"""


def test_what_a_killed_client_held_is_free_at_once(owner: kvengine.Engine) -> None:
    """Its turn goes to the next who waits; its snapshot, walk and watch keep nothing any more."""
    with owner.batch() as batch:
        for number in range(2000):
            batch.set("s", f"{number:04}", "n", b"1")
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS, owner.path], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "go\n"
        assert owner.stats().open_snapshots == 2 and len(owner._db.feeds) == 1
        with RawClient(owner.path) as next_one, RawClient(owner.path) as last:
            assert not begin(next_one) and not begin(last)
            process.kill()
            assert granted(next_one) == ["s", "k"] and begin(next_one)
            assert not begin(last)
            next_one.close()
            assert granted(last) == ["s", "k"] and begin(last)
        assert eventually(lambda: not owner.stats().open_snapshots, 2)
        assert not [each for each in owner._db.feeds if not each.is_over]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def granted(client: RawClient) -> list[str]:
    """Wait until the client is told that it has an object."""
    while True:
        event = client.listener.event()
        if event[0] == "granted":
            return event[1:]


MANY = [f"{number:0300}" for number in range(1000)]
"""Names that make a request so large that another thread answers it."""

LATE: dict[str, tuple[Any, str, tuple[Any, ...]]] = {
    "a snapshot": (kvengine.Engine, "snapshot", ("snapshot",)),
    "a walk": (
        kvengine.Engine,
        "object_keys",
        ("object_keys", None, "s", "", None, None, False, None),
    ),
    "an object": (holdings.Holdings, "claim", ("begin", "s", "k", False, 0, MANY)),
    "a watch": (holdings.Holdings, "watch", ("watch", 1, "s", None, "x" * 300_000)),
}


@pytest.mark.parametrize("kind", LATE)
def test_what_a_client_gets_when_it_is_gone_is_given_back(
    owner: kvengine.Engine, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """It was killed while a thread answered: what that got for it was kept for ever."""
    with owner.batch() as batch:
        for number in range(2000):
            batch.set("s", f"{number:04}", "n", b"1")
    of, name, request = LATE[kind]
    with held_up(monkeypatch, of, name) as (begun, _):
        client = RawClient(owner.path)
        client.send(*request)
        assert begun.wait(10)
        client.close()
        assert eventually(lambda: not serving(owner)._clients)
    assert eventually(lambda: not serving(owner)._busy)
    assert not owner.stats().open_snapshots and not len(owner._host.turns)
    assert not [each for each in owner._db.feeds if not each.is_over]
    with RawClient(owner.path) as other:
        assert begin(other)


@pytest.mark.parametrize("kind", ["a snapshot", "a walk", "a page of a walk"])
def test_what_an_answer_gives_that_nobody_takes_is_given_back(
    owner: kvengine.Engine, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """The client lives, and has left the request: by an interrupt, or since its time was over.

    It does not know the number of what it got. After 64 of them it got no snapshot and no walk any
    more, and the owner kept the files.
    """
    with owner.batch() as batch:
        for number in range(3000):
            batch.set("s", f"{number:04}", "n", b"1")
    with RawClient(owner.path) as client:
        if kind == "a page of a walk":
            number, _ = client.ask("object_keys", None, "s", "", None, None, False, None)
            of, name, request = holdings.Holdings, "page", ("next", number)
        else:
            of, name, request = LATE[kind]
        with held_up(monkeypatch, of, name) as (begun, _), client.another() as left:
            left.send(*request)
            assert begun.wait(10)
            left.close()
        assert eventually(lambda: not serving(owner)._busy)
        assert eventually(lambda: not owner.stats().open_snapshots)
        assert client.ask(*GET) is None


def test_a_client_that_joins_late_makes_no_room_for_itself(
    owner: kvengine.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there were too many clients, a connection that had not joined was dropped.

    That may be the one which is joining just now. Its client stayed on the list, though its
    connection had ended, and kept the objects that it claimed for ever.
    """
    monkeypatch.setattr(server, "MOST_CLIENTS", 1)
    monkeypatch.setattr(server, "_MOMENT", 0.0)
    with RawClient(owner.path) as first, Raw(owner.path) as late:
        with pytest.raises(KVEngineError, match="serves 1 clients"):
            late.ask("join", 7, "late", True, [("s", "k")])
        assert list(serving(owner)._clients) == [first.number]
    with owner.object("s", "k").session(timeout=5):
        pass


def test_a_commit_of_a_client_that_is_gone_comes_before_the_next_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The object goes on when its commit is visible: the next session would not see it, and fail
    at its end."""
    with kvengine.open(tmp_path / "db", background="thread") as owner:
        dying, other = RawClient(owner.path), RawClient(owner.path)
        assert begin(dying) and not begin(other)
        with held_up(monkeypatch, kvengine.Engine, "_finish_write") as (begun, go):
            operations = [["set", "s", "k", "n", b"1", None, None]]
            dying.send("commit", None, b"", None, "s", "k", 0, True, operations)
            assert begun.wait(10)
            dying.close()
            assert eventually(lambda: dying.number not in serving(owner)._clients)
            assert not begin(other)
            go.set()
        assert granted(other) == ["s", "k"]
        answer = other.ask("begin", "s", "k", False, None, [])
        assert answer[0] is True and answer[2]["entries"] == {"n": b"1"}
        other.close()


def test_an_object_that_is_given_back_within_its_commit_goes_on_after_it(tmp_path: Path) -> None:
    """A client that was interrupted in a commit gives its object back, and may want it again.

    The next session had it before the commit was visible, and failed at its end. One of the same
    client lost it when the commit ended, since that gave it back again.
    """
    with kvengine.open(tmp_path / "db", background="thread") as owner, ExitStack() as stack:
        first, other = (stack.enter_context(RawClient(owner.path)) for _ in range(2))
        assert begin(first) and not begin(other)
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        with held_up(patch, kvengine.Engine, "_finish_write") as (begun, go):
            operations = [["set", "s", "k", "n", b"1", None, None]]
            first.send("commit", None, b"", None, "s", "k", 0, True, operations)
            assert begun.wait(10)
            again = stack.enter_context(first.another())
            again.ask("leave", "s", "k")
            assert not begin(other) and not begin(again)
            go.set()
        assert granted(first) == granted(other) == ["s", "k"]
        answer = other.ask("begin", "s", "k", False, None, [])
        assert answer[0] is True and answer[2]["entries"] == {"n": b"1"}
        assert not begin(again)
        other.ask("leave", "s", "k")
        assert granted(first) == ["s", "k"] and begin(again)


# --- the service goes on


def test_a_request_that_raises_ends_nothing(
    owner: kvengine.Engine, tool: SharedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the service, and not the connection, unless what failed is the connection itself."""
    real_answer, real_take = server.answer, Server._take

    def fail(store: Any, client: Any, request: Any) -> Any:
        if type(request) is requests.Exists:
            raise MemoryError
        return real_answer(store, client, request)

    def break_(self: Server, connection: Any) -> None:
        if b"exists" in connection.arrived:
            raise ZeroDivisionError
        real_take(self, connection)

    with RawClient(owner.path) as client, monkeypatch.context() as patch:
        patch.setattr(server, "answer", fail)
        with pytest.raises(KVEngineError, match="in the owner: MemoryError"):
            client.ask("exists", None, "s", "k")
        assert client.ask(*GET) is None
        patch.setattr(Server, "_take", break_)
        data = wire.frame(["exists", None, "s", "k"])
        client.socket.sendall(data + data)
        assert client.is_over()
    assert tool.set("s", "k", "n", b"1")
    assert owner.get("s", "k", "n") == b"1"


def test_without_a_thread_requests_are_refused_one_by_one(
    owner: kvengine.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first of several that came at once was answered for ever."""

    def none(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(Workers, "submit", none)
    with RawClient(owner.path) as client:
        client.socket.sendall(wire.frame(["count", None, "s", ""]) * 3 + wire.frame(GET))
        for _ in range(3):
            with pytest.raises(KVEngineError, match="can't start new thread"):
                client.answer()
        assert client.answer() is None
    assert serving(owner)._busy == 0


def test_gets_do_not_wait_for_a_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor for a flush; and commits that come meanwhile share the next sync."""
    with kvengine.open(tmp_path / "db", background="thread") as owner:
        clients = [RawClient(owner.path) for _ in range(4)]
        writing, *others = clients
        with held_up(monkeypatch, kvengine.Engine, "_finish_write") as (begun, go):
            operations = [["set", "s", "k", "n", b"1", None, None]]
            write = "write", None, b"", None, operations, None
            writing.send(*write)
            assert begun.wait(10)
            for client in others:
                client.send(*write)
            with RawClient(owner.path) as reading:
                for _ in range(200):
                    assert reading.ask(*GET) is None, "a commit is visible before it is durable"
            assert len(serving(owner)._syncs) == 3
            go.set()
        stamps = [client.answer() for client in clients]
        assert sorted(stamps) == stamps and len({*stamps}) == 4
        assert others[0].ask(*GET) == b"1"
        for client in clients:
            client.close()


def test_long_requests_keep_neither_commits_nor_walks_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """64 compactions took all threads, and commits waited behind them for one to sync them."""
    with (
        kvengine.open(tmp_path / "db", background="thread") as owner,
        ExitStack() as opened,
        held_up(monkeypatch, kvengine.Engine, "compact") as (begun, go),
    ):
        first = opened.enter_context(RawClient(owner.path))
        compacting = [first, *(opened.enter_context(first.another()) for _ in range(63))]
        for each in compacting:
            each.send("compact", None)
        assert begun.wait(10)
        with reached(owner.path) as other:
            assert other.set("s", "k", "n", b"1")
            assert list(other.object_keys("s")) == ["k"]
            with other.snapshot() as snapshot:
                assert snapshot.count("s") == 1
        go.set()
        assert [each.answer() for each in compacting] == [None] * 64


def test_closing_answers_requests_that_are_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flush and a commit that waits for its sync: both are done, and their clients told so."""
    owner = kvengine.open(tmp_path / "db", background="thread")
    flushing, writing = RawClient(owner.path), RawClient(owner.path)
    closing = threading.Thread(target=owner.close)
    with (
        held_up(monkeypatch, kvengine.Engine, "flush") as (flushes, flush),
        held_up(monkeypatch, kvengine.Engine, "_finish_write") as (syncs, sync),
    ):
        flushing.send("flush")
        operations = [["set", "s", "k", "n", b"1", None, None]]
        writing.send("write", None, b"", None, operations, None)
        assert flushes.wait(10) and syncs.wait(10)
        closing.start()
        assert eventually(lambda: serving(owner)._stopping)
        sync.set()
        flush.set()
        assert writing.answer() > 0
        assert flushing.answer() is None
    closing.join(20)
    assert not closing.is_alive() and writing.is_over()
    writing.close()
    flushing.close()
    with kvengine.open(tmp_path / "db") as owner:
        assert owner.get("s", "k", "n") == b"1"


# --- the owner's process


FEW = """
import resource, sys, kvengine
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
db = kvengine.open(sys.argv[1], durability="os", background="thread")
print("ready", flush=True)
for line in sys.stdin:
    print(db.set("s", "k", "n", line.encode()), flush=True)
"""


def test_an_owner_out_of_descriptors_goes_on_and_recovers(tmp_path: Path) -> None:
    """Those who have connected are served meanwhile, and newcomers as soon as there is room."""
    path = str(tmp_path / "db")
    process = subprocess.Popen(
        [sys.executable, "-c", FEW, path],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        with reached(path) as tool, ExitStack() as opened:
            for number in range(100):
                found = opened.enter_context(socket.socket(socket.AF_UNIX))
                found.settimeout(5)
                found.connect(f"{path}/LIVE")
                assert tool.set("s", "k", "n", b"%d" % number)
            for number in range(20):
                assert tool.get("s", "k", "n") == (b"99" if not number else b"x%d\n" % number)
                process.stdin.write(f"x{number + 1}\n")
                process.stdin.flush()
                assert int(process.stdout.readline())
            opened.close()
            assert eventually(lambda: answers(path))
            assert tool.has_owner
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def answers(path: str) -> bool:
    try:
        with reached(path) as tool:
            return tool.get("s", "k", "n") is not None
    except OwnerSilent:
        return False


FORKS = """
import os, subprocess, sys, time, kvengine
db = kvengine.open(sys.argv[1], durability="os", background="thread")
print("ready", flush=True)
sys.stdin.readline()
for _ in range(20):
    subprocess.run([sys.executable, "-S", "-c", ""], check=True)
child = subprocess.Popen(["sleep", "60"], close_fds=False)
forked = os.fork()
if not forked:
    time.sleep(60)
    os._exit(0)
print(child.pid, forked, flush=True)
time.sleep(60)
"""


def test_an_owner_that_forks_keeps_its_clients_and_its_children_keep_none(tmp_path: Path) -> None:
    """Clients go on meanwhile. Killed while its children live, it is gone for its clients."""
    path = str(tmp_path / "db")
    process = subprocess.Popen(
        [sys.executable, "-c", FORKS, path],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None
    children: list[int] = []
    try:
        assert process.stdout.readline() == "ready\n"
        with reached(path) as tool:
            done: list[str] = []
            reading = threading.Thread(target=lambda: done.append(process.stdout.readline()))
            process.stdin.write("go\n")
            process.stdin.flush()
            reading.start()
            while not done:
                assert tool.set("s", "k", "n", b"1") and tool.get("s", "k", "n") == b"1"
            reading.join()
            children = [int(each) for each in done[0].split()]
            assert tool.set("s", "k", "n", b"2")
            process.kill()
            process.wait()
            with pytest.raises(Unavailable, match="nobody serves"):
                tool.get("s", "k", "n")
        with kvengine.open(path) as db:
            assert db.get("s", "k", "n") == b"2"
    finally:
        process.kill()
        process.wait()
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        process.stdin.close()
        process.stdout.close()
