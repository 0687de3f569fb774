"""The socket under load: what clients send, ask and leave behind costs the owner little.

A batch of 480 MB from a tool stopped every thread of the application for seconds.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import kvengine
from kvengine import (
    Batch,
    CorruptionError,
    KVEngineError,
    OutcomeUnknown,
    Unavailable,
    ValueTooLarge,
)
from kvengine.share import requests, server, wire
from kvengine.share.store import SharedStore
from kvengine.store import StoredObject
from tests.share.raw import RawClient, eventually, reached

ROOT = Path(__file__).resolve().parents[2]
MIB = 1024 * 1024


def test_a_batch_that_is_too_large_is_refused_before_it_is_sent(
    owner: kvengine.Engine, tool: SharedStore
) -> None:
    """The error says how much a request may have, and nothing else is lost by it."""
    batch = Batch()
    for number in range(20):
        batch.set("s", f"{number}", "n", b"x" * MIB)
    with pytest.raises(ValueTooLarge, match=r"has 20,\d{3},\d{3} bytes; .* takes 16,777,216 at"):
        tool.write(batch)
    batch = Batch()
    for number in range(requests.MOST_ITEMS + 1):
        batch.clear("s", "k", f"{number}")
    with pytest.raises(ValueTooLarge, match="has 100,001 operations"):
        tool.write(batch)
    assert owner.stats().commits == 0
    tool.set("s", "k", "n", b"x" * 15 * MIB)
    assert owner.get("s", "k", "n") == b"x" * 15 * MIB


def test_the_limits_of_a_client_are_those_of_a_request(
    owner: kvengine.Engine, tool: SharedStore
) -> None:
    """What they let through arrives, with the longest names; a byte more is refused."""
    limits = tool.limits
    names = "s" * limits.name, "k" * limits.name, "n" * limits.name
    tool.set(*names, b"x" * limits.value)
    assert owner.get(*names) == b"x" * limits.value
    with pytest.raises(ValueTooLarge):
        tool.set(*names, b"x" * (limits.value + 1024))


@pytest.mark.parametrize("length", [requests.MOST_BYTES + 1, 2**32 - 1])
def test_a_request_that_is_too_large_is_not_read(owner: kvengine.Engine, length: int) -> None:
    """A client that does not ask how much it may send is hung up on."""
    with RawClient(owner.path) as client:
        client.socket.sendall(wire.LENGTH.pack(length) + b"x" * 1000)
        with suppress(ConnectionResetError):
            assert client.receive() == b""


CLEAR = ["clear", "s", "k", "n"]


@pytest.mark.parametrize(
    ("verb", "arguments", "told"),
    [
        ("get", [None, "s", "k"], "at least length 5, got 4"),
        ("get", [None, "s", 1, "n"], r"got `int` - at `\$\[3\]`"),
        ("get", [None, "s", "k", "n", 1], "at most length 4, got 5"),
        ("services", [None, "", True], r"got `bool` - at `\$\[3\]`"),
        ("get_many", [None, "s", "k", [""] * 100_001], "<= 100000"),
        (
            "write",
            [None, b"", None, [["set", "s", "k", "n", "x", 0, 0]], None],
            r"\[4\]\[0\]",
        ),
        ("write", [None, b"", None, [["drop"]], None], r"Invalid value 'drop'"),
        ("write", [None, b"", None, [[*CLEAR, "more"]], None], r"\[4\]\[0\]"),
        ("write", ["never", b"", None, [], None], "Invalid enum value 'never'"),
        ("write", [None, b"", None, [["expire", "s", "k", -1, None]], None], r"\[4\]\[0\]\[3\]"),
        ("write", [None, b"x" * 33, None, [], None], r"length <= 32"),
        ("next", ["1"], r"got `str` - at `\$\[1\]`"),
        ("flush", [True], "at most length 0, got 1"),
    ],
)
def test_what_is_wrong_in_a_request_is_told_by_its_place(
    owner: kvengine.Engine, verb: str, arguments: list[Any], told: str
) -> None:
    """It was a TypeError about arguments of a function of the owner, or "no operation"."""
    with RawClient(owner.path) as client:
        with pytest.raises(TypeError, match=f"^{verb}: .*{told}"):
            client.ask(verb, *arguments)
        assert client.ask("services", None, "", None) == []


@pytest.mark.parametrize(
    "verb", [*(name for name in dir(kvengine.Engine) if name not in requests.VERBS), "", "_db"]
)
def test_no_other_attribute_can_be_reached(owner: kvengine.Engine, verb: str) -> None:
    with (
        RawClient(owner.path) as client,
        pytest.raises(KVEngineError, match=r"^the owner knows no verb"),
    ):
        client.ask(verb)


def test_large_answers_are_those_of_small_ones() -> None:
    """A large value is sent as it lies there, not copied into the answer; a tool sees nothing."""
    for size in (0, 10, 70_000, 300_000):
        entries = {"a": b"1", "b": b"x" * size, **{f"c{number}": b"2" for number in range(20)}}
        found = StoredObject("s", "k", 7, 1.5, entries)
        for result in (entries["b"], entries, found, (None, [found, found]), [b"", [entries]]):
            parts = wire.answer(result)
            data = b"".join(parts)
            assert wire.LENGTH.unpack(data[:4]) == (len(data) - 4,)
            expected = wire.decode(wire.encode(result))
            assert wire.result_of(data[4:], wire.decode) == expected
            assert size < 70_000 or any(part is entries["b"] for part in parts)


def test_clients_that_do_not_read_are_dropped_before_they_fill_the_memory(
    owner: kvengine.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each connection could keep an answer of any size in the owner for a minute.

    Answers to those who read wait until there is room, and they come.
    """
    monkeypatch.setattr(server, "_MOST_UNSENT", 20 * MIB)
    monkeypatch.setattr(server, "_SLOW", 0.2)
    owner.set("s", "k", "n", b"x" * 8 * MIB)
    slow = []
    for _ in range(3):
        slow.append(RawClient(owner.path))
        slow[-1].send("get", None, "s", "k", "n")
        time.sleep(0.1)
    with RawClient(owner.path) as good:
        assert good.ask("get", None, "s", "k", "n") == b"x" * 8 * MIB
    assert len(slow[0].receive()) < 8 * MIB
    assert len(slow[2].receive()) > 8 * MIB, "it was not needed to drop this one"
    for client in slow:
        client.close()


def test_a_client_that_was_dropped_for_another_joins_again(
    owner: kvengine.Engine, tool: SharedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It held nothing, and so nothing is lost: its next request goes to the owner as any other.

    It was told that it had been dropped, and had to connect anew.
    """
    tool.set("s", "k", "n", b"1")
    monkeypatch.setattr(server, "MOST_CLIENTS", 1)
    monkeypatch.setattr(server, "_SILENT", 0.1)
    time.sleep(0.2)
    with reached(owner.path) as other:
        assert eventually(lambda: not tool.has_owner)
        assert other.get("s", "k", "n") == b"1"
    assert eventually(lambda: owner_has_room(tool))
    tool.set("s", "k", "n", b"2")
    assert tool.has_owner and owner.get("s", "k", "n") == b"2"


def owner_has_room(tool: SharedStore) -> bool:
    try:
        return tool.get("s", "k", "n") == b"1"
    except Unavailable:
        return False


def test_a_client_that_has_asked_is_not_silent(
    owner: kvengine.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One whose request is under way, or is just arriving, is not dropped for a newcomer."""
    monkeypatch.setattr(server, "MOST_CLIENTS", 2)
    begun, go = threading.Event(), threading.Event()

    def compact(*_: object) -> None:
        begun.set()
        assert go.wait(20)

    monkeypatch.setattr(kvengine.Engine, "compact", compact)
    with RawClient(owner.path) as waiting, RawClient(owner.path) as asking:
        waiting.send("compact", None)
        assert begun.wait(10)
        asking.socket.sendall(wire.frame(["get", None, "s", "k", "n"])[:-1])
        time.sleep(0.2)
        monkeypatch.setattr(server, "_SILENT", 0.1)
        with pytest.raises(KVEngineError, match="serves 2 clients already"):
            RawClient(owner.path)
        asking.socket.sendall(wire.frame(["get", None, "s", "k", "n"])[-1:])
        assert asking.answer() is None
        go.set()
        assert waiting.answer() is None


@pytest.mark.parametrize("breaks", ["before", "after"])
def test_a_read_whose_connection_breaks_is_asked_again(
    owner: kvengine.Engine, tool: SharedStore, monkeypatch: pytest.MonkeyPatch, breaks: str
) -> None:
    """Whether the owner had got the request or not: a read of now is as good a moment later."""
    owner.set("s", "k", "n", b"1")
    real, broken = server.Server._handle, []

    def leave(self: server.Server, connection: Any, data: Any) -> None:
        if not broken and connection.client is not None:
            broken.append(connection)
            if breaks == "after":
                real(self, connection, data)
            self._drop(connection)
        else:
            real(self, connection, data)

    monkeypatch.setattr(server.Server, "_handle", leave)
    assert tool.get("s", "k", "n") == b"1"
    assert len(broken) == 1


def test_a_request_that_breaks_every_connection_is_given_up(
    owner: kvengine.Engine, tool: SharedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was sent again for ever: to one owner after the other, if it was what ended them."""
    real, sent = server.Server._handle, 0

    def leave(self: server.Server, connection: Any, data: Any) -> None:
        nonlocal sent
        if type(requests.decode(data)) in (requests.Get, requests.Write):
            sent += 1
            self._drop(connection)
        else:
            real(self, connection, data)

    monkeypatch.setattr(server.Server, "_handle", leave)
    with pytest.raises(Unavailable, match="has broken off the connection at this request 10 times"):
        tool.get("s", "k", "n")
    with pytest.raises(OutcomeUnknown, match=r"it may be made.* 10 times"):
        tool.set("s", "k", "n", b"1")
    assert sent == 20 and owner.stats().commits == 0
    assert tool.load("s", "k") is None


def test_only_a_commit_that_was_sent_is_in_doubt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner ends before it has answered, and nobody follows it.

    It was told as "nothing was written", although it was.
    """
    real = server.Server._handle
    answers = True

    def leave(self: server.Server, connection: Any, data: Any) -> None:
        if answers:
            real(self, connection, data)
            return
        db.set("s", "k", "n", b"1")  # as the commit that was sent
        self._drop(connection)
        self._stopping = True

    with kvengine.open(tmp_path / "db", durability="os", background="thread") as db:
        monkeypatch.setattr(server.Server, "_handle", leave)
        with reached(db.path) as tool, reached(db.path) as reading:
            answers = False
            with pytest.raises(OutcomeUnknown, match="the answer to a commit was lost"):
                tool.set("s", "k", "n", b"1")
            with pytest.raises(Unavailable):
                tool.set("s", "k", "n", b"2")
            with pytest.raises(Unavailable):
                reading.get("s", "k", "n")


KILLED = """
import os, sys, time
from kvengine.share.opening import reach
tool = reach(sys.argv[1])
snapshot = tool.snapshot()
walk = snapshot.object_keys("s")
next(walk)
print("go", flush=True)
time.sleep(60)
"""


def test_what_a_killed_tool_held_is_free_at_once(owner: kvengine.Engine) -> None:
    """Its connection, its snapshot and its walk: nobody has to ask anything for that."""
    with owner.batch() as batch:
        for number in range(2000):
            batch.set("s", f"{number:04}", "n", b"1")
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, owner.path], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "go\n"
    assert owner.stats().open_snapshots
    process.kill()
    process.wait()
    process.stdout.close()
    assert eventually(lambda: owner.stats().open_snapshots == 0, 2)


def test_a_client_that_went_away_in_a_long_request_makes_room(
    owner: kvengine.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """64 compactions that somebody broke off by Ctrl-C kept all others out until they ended."""
    monkeypatch.setattr(server, "MOST_CLIENTS", 1)
    begun, go = threading.Event(), threading.Event()

    def compact(*_: object) -> None:
        begun.set()
        assert go.wait(20)

    monkeypatch.setattr(kvengine.Engine, "compact", compact)
    with RawClient(owner.path) as gone:
        gone.send("compact", None)
        assert begun.wait(10)
    try:
        with RawClient(owner.path) as newcomer:
            assert newcomer.ask("get", None, "s", "k", "n") is None
    finally:
        go.set()


def test_walks_that_failed_keep_no_place(
    owner: kvengine.Engine, tool: SharedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After 64 that met damage no other walk could begin on the connection."""

    def damaged(*_: object, **__: object) -> Iterator[str]:
        raise CorruptionError("/db/1.segment", 7, "damaged")
        yield ""

    monkeypatch.setattr(kvengine.Engine, "object_keys", damaged)
    for _ in range(70):
        with pytest.raises(CorruptionError):
            tool.object_keys("s")
    monkeypatch.undo()
    assert list(tool.object_keys("s")) == []
