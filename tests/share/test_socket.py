"""The socket: who may connect, what it leaves behind, what it does not understand."""

from __future__ import annotations

import ctypes.util
import errno
import os
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

import kvengine
from kvengine import DatabaseClosed, DatabaseLocked, KVEngineError, OutcomeUnknown, Unavailable
from kvengine.inspection.access import Access
from kvengine.share import server, transport, wire
from kvengine.share.opening import reach
from kvengine.share.owner import OwnerSilent
from kvengine.share.store import SharedStore
from tests.share.campaign import freeze
from tests.share.raw import Raw, RawClient, eventually, reached, standing_still

ROOT = Path(__file__).resolve().parents[2]

OWNER = """
import sys, time, kvengine
db = kvengine.open(sys.argv[1], durability="os")
db.set("s", "k", "n", b"1")
print("ready", flush=True)
time.sleep(60)
"""


def start_owner(path: Path) -> subprocess.Popen[str]:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None and owner.stdout.readline() == "ready\n"
    return owner


def stop(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def test_it_is_for_the_owners_user_alone_and_goes_with_the_owner(tmp_path: Path) -> None:
    """Mode 0600 while open; no socket and no thread after close."""
    before = threading.active_count()
    with kvengine.open(tmp_path / "db", background="thread") as db:
        mode = os.lstat(tmp_path / "db" / "LIVE").st_mode
        assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600
        assert db.stats().live_access == "on"
        with reached(db.path) as tool:
            assert tool.owner_pid == os.getpid() and tool.has_owner
    assert not (tmp_path / "db" / "LIVE").exists()
    assert threading.active_count() == before


def test_a_client_that_has_just_left_is_none_that_an_owner_closes_beside(tmp_path: Path) -> None:
    """The thread that serves had not seen yet that it hung up, and the socket stayed."""
    db = kvengine.open(tmp_path / "db", background="thread")
    serving = db._access
    assert serving is not None
    begun, go = [threading.Event() for _ in range(2)], [threading.Event() for _ in range(2)]
    closing = threading.Thread(target=db.close)
    with reached(db.path):
        for number in range(2):
            serving._soon(lambda number=number: (begun[number].set(), go[number].wait(30)))
            assert number or begun[0].wait(30)
        closing.start()
        assert eventually(lambda: len(serving._done) == 2)
        go[0].set()  # what has been left by now is done without a look at the sockets in between
        assert begun[1].wait(30)
    go[1].set()
    closing.join(30)
    assert not (tmp_path / "db" / "LIVE").exists()


def test_an_owner_that_closes_beside_clients_leaves_the_socket_to_the_next(tmp_path: Path) -> None:
    """By it the next owner knows that clients may come who had objects in sessions. It misleads
    nobody: a client is told that there is no owner, and goes on with the next."""
    with kvengine.open(tmp_path / "db", background="thread") as db:
        tool = reached(db.path)
    with tool:
        assert (tmp_path / "db" / "LIVE").exists() and reach(db.path) is None
        with pytest.raises(Unavailable, match="nobody serves"):
            tool.get("s", "k", "n")
        assert not tool.has_owner
        with kvengine.open(tmp_path / "db", background="thread") as db:
            tool.set("s", "k", "n", b"1")
            assert tool.has_owner and db.get("s", "k", "n") == b"1"


@pytest.mark.parametrize("options", [{"live_access": False}, {"background": "none"}])
def test_off_leaves_everything_else_working(tmp_path: Path, options: dict[str, object]) -> None:
    """No socket; tools read the files beside the owner, follow it, and edits are refused."""
    with kvengine.open(tmp_path / "db", **options) as db:
        assert db.stats().live_access == "off" and not (tmp_path / "db" / "LIVE").exists()
        db.set("s", "k", "n", b"1")
        with Access(db.path) as access:
            assert (access.mode, access.writable) == ("files", False)
            assert access.store.get("s", "k", "n") == b"1"
            db.set("s", "k", "n", b"2")
            access.refresh()
            assert access.store.get("s", "k", "n") == b"2"
        with pytest.raises(DatabaseLocked, match=str(os.getpid())):
            Access(db.path, write=True, wait=0.1)


def test_with_background_none_it_is_on_where_it_is_asked_for(tmp_path: Path) -> None:
    with kvengine.open(tmp_path / "db", background="none", live_access=True) as db:
        reached(db.path).close()


def test_a_tool_finds_an_owner_that_comes_later(tmp_path: Path) -> None:
    """Files first, then the socket, then the files again: a refresh is enough."""
    kvengine.open(tmp_path / "db").close()
    with Access(str(tmp_path / "db")) as access:
        assert access.mode == "files"
        with kvengine.open(tmp_path / "db") as db:
            db.set("s", "k", "n", b"1")
            access.refresh()
            assert (access.mode, access.store.get("s", "k", "n")) == ("live", b"1")
        with pytest.raises(Unavailable):
            access.store.get("s", "k", "n")
        access.refresh()
        assert (access.mode, access.store.get("s", "k", "n")) == ("files", b"1")


def test_the_socket_of_a_killed_owner_misleads_nobody(tmp_path: Path) -> None:
    """Left behind by kill -9, it is no owner; the next owner replaces it, and open says nothing."""
    owner = start_owner(tmp_path / "db")
    try:
        with Access(str(tmp_path / "db")) as access:
            assert access.mode == "live" and access.store.get("s", "k", "n") == b"1"
    finally:
        stop(owner)
    assert (tmp_path / "db" / "LIVE").exists()
    with Access(str(tmp_path / "db")) as access:
        assert access.mode == "files" and access.store.stats().recovery == ()
    with kvengine.open(tmp_path / "db") as db:
        assert db.stats().recovery == () and db.stats().live_access == "on"
        reached(db.path).close()


def test_an_owner_that_is_stopped_is_told_from_one_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Edits are refused with a clear error; reads go by the files."""
    monkeypatch.setattr("kvengine.share.owner.GREETING", 0.3)
    owner = start_owner(tmp_path / "db")
    try:
        freeze(owner)
        with pytest.raises(OwnerSilent, match="does not answer"):
            reach(str(tmp_path / "db"))
        with pytest.raises(OwnerSilent):
            Access(str(tmp_path / "db"), write=True, wait=0.1)
        with Access(str(tmp_path / "db")) as access:
            assert access.mode == "files" and access.store.get("s", "k", "n") == b"1"
    finally:
        owner.send_signal(signal.SIGCONT)
        stop(owner)


def test_a_directory_deeper_than_a_socket_address(tmp_path: Path) -> None:
    """sockaddr_un holds 108 bytes; a path may be far longer."""
    path = tmp_path / ("d" * 100) / ("e" * 100)
    path.mkdir(parents=True)
    with kvengine.open(path / "db") as db:
        assert db.stats().live_access == "on"
        reached(db.path).close()


@pytest.mark.parametrize("kind", ["file", "link", "directory"])
def test_what_stands_at_the_name_is_neither_followed_nor_fatal(tmp_path: Path, kind: str) -> None:
    """A file or a link there is replaced, not opened; a directory leaves live access off."""
    kvengine.open(tmp_path / "db").close()
    place, target = tmp_path / "db" / "LIVE", tmp_path / "target"
    target.write_bytes(b"precious")
    if kind == "file":
        place.write_bytes(b"x")
    elif kind == "link":
        place.symlink_to(target)
    else:
        place.mkdir()
    assert reach(str(tmp_path / "db")) is None
    with kvengine.open(tmp_path / "db") as db:
        db.set("s", "k", "n", b"1")
        told = db.stats().live_access
        assert told.startswith("failed:") if kind == "directory" else told == "on"
    assert target.read_bytes() == b"precious"


FORKED = """
import os, sys, time, kvengine
db = kvengine.open(sys.argv[1], durability="os", background="thread")
db.set("s", "k", "n", b"1")
child = os.fork()
if child == 0:
    time.sleep(60)
    os._exit(0)
print(child, flush=True)
time.sleep(60)
"""


def test_a_forked_child_answers_nobody_and_keeps_nobody_waiting(tmp_path: Path) -> None:
    """The parent is killed and its child lives on: a tool is refused at once, for the child has
    let go of the socket on which nobody would answer any more."""
    path = tmp_path / "db"
    owner = subprocess.Popen(
        [sys.executable, "-c", FORKED, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    child = int(owner.stdout.readline())
    try:
        with Access(str(path), write=True) as access:
            assert access.mode == "live" and access.store.set("s", "k", "n", b"2")
        owner.kill()
        owner.wait()
        os.kill(child, 0)
        assert reach(str(path)) is None
        with kvengine.open(path) as db:
            assert db.get("s", "k", "n") == b"2"
    finally:
        os.kill(child, signal.SIGKILL)
        stop(owner)


GARBAGE = [
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\0\0\0\0",
    struct.pack("<I", 2**32 - 1) + b"x" * 1000,
    wire.frame("no request"),
    wire.frame([]),
    wire.frame(["get"]),
    wire.frame([1, {}]),
    wire.frame(["__init__"]),
    wire.frame(["close"]),
    wire.frame(["_db"]),
    wire.frame(["get", None, "s"]),
    wire.frame(["get", 99, "s", "k", "n"]),
    wire.frame(["get", [], "s", "k", "n"]),
    wire.frame(["get", None, "s", "k", "n", "more"]),
    wire.frame(["write", None, b"", None, [["drop"]], None]),
    wire.frame(["write", None, b"", None, 5, None]),
    wire.frame(["write", None, b"", None, [], [["s"]]]),
    wire.frame(["write", None, b"x" * 33, None, [["clear", "s", "k", "n"]], None]),
    wire.frame(["write", None, b"", None, [["set", "s", "k", "n", b"x", 2**63, None]], None])[:-1],
    wire.frame(["write", "no", b"", None, [["clear", "s", "k", "n"]], None]),
    wire.frame(["commit", None, b"", None, "s", "k", 0, True, [["clear", "s", "k", "n"]]]),
    struct.pack("<I", 5) + b"\xc1\xc1\xc1\xc1\xc1",
    struct.pack("<I", 100_000) + b"\x91" * 100_000,
]


@pytest.mark.parametrize("has_joined", [True, False], ids=["joined", "newcomer"])
@pytest.mark.parametrize("garbage", range(len(GARBAGE)))
def test_garbage_harms_nobody(
    owner: kvengine.Engine, tool: SharedStore, garbage: int, has_joined: bool
) -> None:
    """It is answered by an error or the end of the connection; others go on, nothing changes."""
    owner.set("s", "k", "n", b"1")
    with RawClient(owner.path) if has_joined else Raw(owner.path) as connection:
        connection.socket.sendall(GARBAGE[garbage])
        connection.socket.shutdown(socket.SHUT_WR)
        with suppress(ConnectionResetError):
            answer = connection.receive()
            assert not answer or answer[:1] == b"\xc2", "it was taken for a request"
        assert connection.is_over()
    assert tool.get_all("s", "k") == {"n": b"1"}
    assert owner.get_all("s", "k") == {"n": b"1"}


def reach_all(owner: kvengine.Engine, count: int) -> list[SharedStore]:
    """Connect so many tools, or as many as are served."""
    found: list[SharedStore] = []
    for _ in range(count):
        try:
            found.append(reached(owner.path))
        except OwnerSilent:
            break
    return found


def test_many_clients(owner: kvengine.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """More clients than it serves at once: the surplus is told so, the others are served.

    They were turned away without a word, and then said that the owner had no socket.
    """
    monkeypatch.setattr(server, "MOST_CLIENTS", 8)
    owner.set("s", "k", "n", b"1")
    served = reach_all(owner, 10)
    assert len(served) == 8
    with pytest.raises(OwnerSilent, match="serves 8 clients already"):
        reach(owner.path)
    with pytest.raises(OwnerSilent, match="serves 8 "), Access(owner.path, write=True):
        pass
    with Access(owner.path) as access:  # its files can be read all the same
        assert access.mode == "files"
        assert access.store.get("s", "k", "n") == b"1"
    assert all(one.get("s", "k", "n") == b"1" for one in served)
    for one in served:
        one.close()
    again: list[SharedStore] = []
    assert eventually(lambda: again or again.extend(reach_all(owner, 1)))
    assert again[0].get("s", "k", "n") == b"1"
    again[0].close()


def test_silent_clients_make_room(owner: kvengine.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that somebody leaked keep nobody out: the longest silent one goes, and joins again
    by itself if it asks for something."""
    monkeypatch.setattr(server, "MOST_CLIENTS", 8)
    owner.set("s", "k", "n", b"1")
    leaked = reach_all(owner, 8)
    monkeypatch.setattr(server, "_SILENT", 0.2)
    time.sleep(0.3)
    for one in leaked[1:]:
        assert one.get("s", "k", "n") == b"1"
    (tool,) = reach_all(owner, 1)
    assert tool.get("s", "k", "n") == b"1"
    assert eventually(lambda: not leaked[0].has_owner)
    assert all(one.has_owner and one.get("s", "k", "n") == b"1" for one in leaked[1:])
    tool.close()
    assert eventually(lambda: leaked[0].get("s", "k", "n") == b"1")
    for one in leaked:
        one.close()


def test_closing_answers_what_has_begun(tmp_path: Path) -> None:
    """Writes in flight while the owner closes: each that was answered is there, the others say
    whether they are in doubt, and nobody hangs."""
    db = kvengine.open(tmp_path / "db", durability="os", background="thread")
    done = [-1] * 4
    told: dict[int, Exception] = {}

    def work(number: int) -> None:
        with reached(db.path) as tool:
            for i in range(100_000):
                try:
                    tool.set("s", f"{number}", "n", b"%d" % i)
                except KVEngineError as error:
                    told[number] = error
                    return
                done[number] = i

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    while min(done) < 20:
        time.sleep(0.01)
    db.close()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert all(isinstance(told[number], Unavailable | OutcomeUnknown) for number in range(4))
    with kvengine.open(tmp_path / "db") as db:
        for number, last in enumerate(done):
            value = db.get("s", f"{number}", "n")
            in_doubt = isinstance(told[number], OutcomeUnknown)
            assert value is not None and int(value) in (last, last + in_doubt)


def test_a_tool_that_asks_nothing_for_long_keeps_no_files(
    owner: kvengine.Engine, tool: SharedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its snapshots and walks go; it may go on asking, and is told that they are closed."""
    tool.set("s", "k", "n", b"1")
    monkeypatch.setattr(server, "_IDLE", 0.05)
    with tool.snapshot() as snapshot:
        assert snapshot.get("s", "k", "n") == b"1"
        assert eventually(lambda: owner.stats().open_snapshots == 0)
        with pytest.raises(KVEngineError, match="closed"):
            snapshot.get("s", "k", "n")
        assert tool.get("s", "k", "n") == b"1"


def test_a_long_request_does_not_hold_up_a_close(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A compaction that a client asked for is given up like any other; the client is told."""
    db = kvengine.open(tmp_path / "db", background="thread")
    monkeypatch.setattr(server, "_GRACE", 0.1)
    begun = threading.Event()

    def endless(self: kvengine.Engine, service: str | None = None) -> None:
        begun.set()
        while not self._is_closed:
            time.sleep(0.01)
        raise DatabaseClosed("closed meanwhile")

    monkeypatch.setattr(kvengine.Engine, "compact", endless)
    tool = reached(db.path)
    told: list[str] = []

    def work() -> None:
        try:
            tool.compact()
        except Unavailable as error:
            told.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    assert begun.wait(10)
    db.close()
    thread.join(10)
    assert told and not thread.is_alive()
    tool.close()


def test_tools_without_an_owner_wait_for_each_other(tmp_path: Path) -> None:
    """Several at once on a directory that nobody owns: each edits in its turn."""
    kvengine.open(tmp_path / "db").close()

    def work(number: int) -> None:
        with Access(str(tmp_path / "db"), write=True, wait=20) as access:
            access.store.set("s", f"{number}", "n", b"1")

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    with kvengine.open(tmp_path / "db") as db:
        assert list(db.object_keys("s")) == [f"{i}" for i in range(6)]


def test_access_gets_over_an_owner_that_ended_and_files_that_were_away(tmp_path: Path) -> None:
    """A refresh that failed may be tried again; and an owner that has ended may come back: a
    tool that edits through it does not take the directory in its place."""
    path = tmp_path / "db"
    with kvengine.open(path) as db:
        db.set("s", "k", "n", b"1")
        access = Access(str(path), write=True)
    with access:
        with pytest.raises(Unavailable):
            access.store.get("s", "k", "n")
        path.rename(tmp_path / "away")
        with pytest.raises(kvengine.NotADatabase):
            access.refresh()
        (tmp_path / "away").rename(path)
        access.refresh()
        assert (access.mode, access.writable) == ("files", False)
        assert access.store.get("s", "k", "n") == b"1"
        with kvengine.open(path) as db:
            access.refresh()
            assert access.mode == "live" and access.store.set("s", "k", "n", b"2")
            assert db.get("s", "k", "n") == b"2"


def test_answers_of_one_round_come_in_order(owner: kvengine.Engine) -> None:
    """Small answers wait until all requests of a round are done, and large ones do not."""
    values = [b"small", bytes(10_000), b"more", bytes(3_000_000), b"last"]
    for number, value in enumerate(values):
        owner.set("s", "k", f"{number}", value)
    with RawClient(owner.path) as one, RawClient(owner.path) as other:
        with standing_still(owner):
            for number in range(len(values)):
                one.send("get", None, "s", "k", f"{number}")
            one.send("get", None, "s", "k", 7)
            other.send("get", None, "s", "k", "4")
        assert other.answer() == b"last"
        assert [one.answer() for _ in values] == values
        with pytest.raises(TypeError):
            one.answer()
        assert one.ask("get", None, "s", "k", "0") == b"small"


@pytest.mark.parametrize("way", ["SO_PEERCRED", "getpeereid"])
def test_the_system_tells_who_is_at_the_other_end(way: str) -> None:
    """By an option of the socket, or by a function of macOS and BSD, which libbsd has here."""
    one, other = socket.socketpair()
    with one, other:
        if way == "SO_PEERCRED":
            assert transport.peer_user(one) == os.geteuid()
            return
        library = ctypes.util.find_library("bsd")
        if library is None:
            pytest.skip("NOT TESTED: it takes libbsd")
        assert transport._peer_of_bsd(one.fileno(), library) == os.geteuid()
        with pytest.raises(OSError, match="getpeereid"):
            transport._peer_of_bsd(-1, library)


def test_without_an_answer_the_mode_of_the_socket_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = socket.socketpair()
    with one, other:
        monkeypatch.delattr(socket, "SO_PEERCRED")
        assert transport.peer_user(one) is None  # glibc has no getpeereid
        assert transport.is_allowed(one)


def test_who_has_left_already_is_not_let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_: socket.socket) -> int:
        raise OSError(errno.ENOTCONN, "getpeereid failed")

    one, other = socket.socketpair()
    with one, other:
        monkeypatch.setattr(transport, "peer_user", gone)
        assert not transport.is_allowed(one)


@pytest.mark.parametrize(("user", "is_allowed"), [(0, True), (1234, False)])
def test_others_are_refused(monkeypatch: pytest.MonkeyPatch, user: int, is_allowed: bool) -> None:
    """Root may connect, and nobody else but the owner's user."""
    one, other = socket.socketpair()
    with one, other:
        monkeypatch.setattr(transport, "peer_user", lambda _: user)
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        assert transport.is_allowed(one) is is_allowed
