"""The socket under load: what tools send, ask and leave behind costs the owner little.

A batch of 480 MB from a tool stopped every thread of the application for seconds.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import kvengine
from kvengine import Batch, CorruptionError, DatabaseClosed, ValueTooLarge
from kvengine.share import requests, server, wire
from kvengine.share.client import LiveStore
from kvengine.store import StoredObject
from tests.live.test_socket import connect_all, raw

ROOT = Path(__file__).resolve().parents[2]
MIB = 1024 * 1024


def ask(connection: socket.socket, verb: str, **arguments: Any) -> Any:
    connection.sendall(wire.frame([verb, arguments]))
    return wire.decode(read(connection))


def read(connection: socket.socket) -> bytes:
    """A frame, or what came of it before the end."""
    (length,) = wire.LENGTH.unpack(connection.recv(4, socket.MSG_WAITALL))
    data = bytearray()
    while len(data) < length and (piece := connection.recv(length - len(data))):
        data += piece
    return bytes(data)


def eventually(condition: Callable[[], object], seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def test_a_batch_that_is_too_large_is_refused_before_it_is_sent(
    owner: kvengine.Engine, tool: LiveStore
) -> None:
    """The error says how much a request may have, and nothing else is lost by it."""
    batch = Batch()
    for number in range(20):
        batch.set("s", f"{number}", "n", b"x" * MIB)
    with pytest.raises(ValueTooLarge, match=r"has 20,\d+,\d+ bytes; process .* takes 16,777,216"):
        tool.write(batch)
    batch = Batch()
    for number in range(requests.MOST_ITEMS + 1):
        batch.clear("s", "k", f"{number}")
    with pytest.raises(ValueTooLarge, match="has 100,001 operations"):
        tool.write(batch)
    assert owner.stats().commits == 0
    tool.set("s", "k", "n", b"x" * 15 * MIB)
    assert owner.get("s", "k", "n") == b"x" * 15 * MIB


def test_the_limits_of_a_tool_are_those_of_a_request(
    owner: kvengine.Engine, tool: LiveStore
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
    """A tool that does not ask how much it may send is hung up on."""
    with raw(owner.path) as connection:
        connection.sendall(wire.LENGTH.pack(length) + b"x" * 1000)
        with suppress(ConnectionResetError):
            assert connection.recv(1) == b""


@pytest.mark.parametrize(
    ("verb", "arguments", "told"),
    [
        ("get", {"service": "s", "key": "k"}, "missing required field `state_key`"),
        ("get", {"service": "s", "key": 1, "state_key": "n"}, r"got `int` - at `\$.key`"),
        ("get", {"service": "s", "key": "k", "state_key": "n", "x": 1}, "unknown field `x`"),
        ("services", {"limit": True}, r"got `bool` - at `\$.limit`"),
        ("get_many", {"service": "s", "key": "k", "state_keys": [""] * 100_001}, "<= 100000"),
        ("write", {"operations": [["set", "s", "k", "n", "text", None, None]]}, r"operations\[0\]"),
        ("write", {"operations": [["drop"]]}, r"Invalid value 'drop'"),
        ("write", {"operations": [["clear", "s", "k", "n", "more"]]}, r"operations\[0\]"),
        ("write", {"operations": [], "durability": "never"}, "Invalid enum value 'never'"),
        ("write", {"operations": [["expire", "s", "k", -1, None]]}, r"operations\[0\]\[3\]"),
        ("next", {"walk": "1"}, r"got `str` - at `\$.walk`"),
        ("flush", {"now": True}, "unknown field `now`"),
    ],
)
def test_what_is_wrong_in_a_request_is_told_by_name(
    owner: kvengine.Engine, verb: str, arguments: dict[str, Any], told: str
) -> None:
    """It was a TypeError about arguments of a function of the owner, or "no operation"."""
    with raw(owner.path) as connection:
        done, kind, (message,) = ask(connection, verb, **arguments)
        assert (done, kind) == (False, "TypeError")
        with pytest.raises(TypeError, match=f"^{verb}: .*{told}"):
            raise TypeError(message)
        assert ask(connection, "services") == [True, []]


@pytest.mark.parametrize(
    "verb", [*(name for name in dir(kvengine.Engine) if name not in requests.REQUESTS), "", "_db"]
)
def test_no_other_attribute_can_be_reached(owner: kvengine.Engine, verb: str) -> None:
    with raw(owner.path) as connection:
        done, kind, (message,) = ask(connection, verb)
        assert (done, kind) == (False, "KVEngineError")
        assert message.startswith("the owner knows no verb")


def test_large_answers_are_those_of_small_ones() -> None:
    """A large value is sent as it lies there, not copied into the answer; a tool sees nothing."""
    for size in (0, 10, 70_000, 300_000):
        entries = {"a": b"1", "b": b"x" * size, **{f"c{number}": b"2" for number in range(20)}}
        found = StoredObject("s", "k", 7, 1.5, entries)
        for result in (entries["b"], entries, found, (None, [found, found]), [b"", [entries]]):
            parts = wire.answer(result)
            data = b"".join(parts)
            assert wire.LENGTH.unpack(data[:4]) == (len(data) - 4,)
            expected = wire.decode(wire.encode((True, result)))
            assert wire.decode(data[4:]) == expected
            assert size < 70_000 or any(part is entries["b"] for part in parts)


def test_tools_that_do_not_read_are_dropped_before_they_fill_the_memory(
    owner: kvengine.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of 64 connections could keep an answer of any size in the owner for a minute."""
    monkeypatch.setattr(server, "_MOST_UNSENT", 20 * MIB)
    monkeypatch.setattr(server, "_SLOW", 0.2)
    owner.set("s", "k", "n", b"x" * 8 * MIB)
    request = wire.frame(["get", {"service": "s", "key": "k", "state_key": "n"}])
    slow = []
    for _ in range(3):
        slow.append(raw(owner.path))
        slow[-1].sendall(request)
        time.sleep(0.1)
    with raw(owner.path) as good:
        assert ask(good, "get", service="s", key="k", state_key="n") == [True, b"x" * 8 * MIB]
    assert len(read(slow[0])) < 8 * MIB
    assert len(read(slow[2])) > 8 * MIB, "it was not needed to drop this one"
    for connection in slow:
        connection.close()


@pytest.mark.parametrize("late", ["arrives", "receive"])
def test_a_tool_whose_request_is_just_arriving_is_not_silent(
    owner: kvengine.Engine, monkeypatch: pytest.MonkeyPatch, late: str
) -> None:
    """It was hung up on for a newcomer, and then could not say whether its write was done."""
    monkeypatch.setattr(server, "_MOST_TOOLS", 2)
    monkeypatch.setattr(server, "_SILENT", 0.1)
    real, holding, asked = getattr(server, late), threading.Event(), threading.Event()

    def slow(connection: socket.socket, limit: float) -> Any:
        """The thread of the tool comes to its request late: behind the newcomer."""
        found = real(connection, limit)
        if limit and holding.is_set():
            asked.wait(10)
        return found

    monkeypatch.setattr(server, late, slow)
    with raw(owner.path) as asking, raw(owner.path) as silent:
        assert ask(asking, "services") == ask(silent, "services") == [True, []]
        holding.set()
        time.sleep(0.2)
        asking.sendall(wire.frame(["services", {}]))
        time.sleep(0.1)
        with raw(owner.path):
            asked.set()
            assert wire.decode(read(asking)) == [True, []]
            told = wire.decode(read(silent))
        assert told[:2] == [False, "DatabaseClosed"]
        assert "nothing was done" in told[2][0]


def test_a_tool_that_was_dropped_is_told_so(
    owner: kvengine.Engine, tool: LiveStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With nothing in doubt: a write that came too late was not done."""
    monkeypatch.setattr(server, "_MOST_TOOLS", 1)
    monkeypatch.setattr(server, "_SILENT", 0.1)
    time.sleep(0.2)
    (other,) = connect_all(owner, 1)
    with pytest.raises(DatabaseClosed, match="nothing was done of this request"):
        tool.set("s", "k", "n", b"1")
    assert other.get("s", "k", "n") is None
    other.close()


def test_only_a_write_that_was_sent_is_in_doubt(
    owner: kvengine.Engine, tool: LiveStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection breaks off before the answer. A read leaves nothing in doubt."""

    def leave(*_: object) -> None:
        raise ConnectionResetError

    (other,) = connect_all(owner, 1)
    monkeypatch.setattr(server.Server, "_answer", leave)
    with pytest.raises(DatabaseClosed, match="whether it was written is not known: read it again"):
        tool.set("s", "k", "n", b"1")
    with pytest.raises(DatabaseClosed, match=r"closed before it answered$"):
        other.get("s", "k", "n")


KILLED = """
import os, sys, time
from kvengine.share.client import connect
tool = connect(sys.argv[1])
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


def test_a_tool_that_went_away_in_a_long_request_makes_room(
    owner: kvengine.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """64 compactions that somebody broke off by Ctrl-C kept all others out until they ended."""
    monkeypatch.setattr(server, "_MOST_TOOLS", 1)
    begun, go = threading.Event(), threading.Event()

    def compact(*_: object) -> None:
        begun.set()
        assert go.wait(10)

    monkeypatch.setattr(kvengine.Engine, "compact", compact)
    with raw(owner.path) as gone:
        gone.sendall(wire.frame(["compact", {"service": None}]))
        assert begun.wait(10)
    try:
        with raw(owner.path) as newcomer:
            assert ask(newcomer, "services") == [True, []]
    finally:
        go.set()


def test_walks_that_failed_keep_no_place(
    owner: kvengine.Engine, tool: LiveStore, monkeypatch: pytest.MonkeyPatch
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
