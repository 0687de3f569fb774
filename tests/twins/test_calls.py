"""The calls of a connection do the same in both forms: send, receive, look."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from types import ModuleType

import pytest

from tests.twins.forms import ROOT, twins

MILLISECOND = 1_000_000
FORMS = twins("kvengine.share.calls")


@pytest.fixture(params=FORMS, ids=["running", "plain"])
def calls(request: pytest.FixtureRequest) -> ModuleType:
    """The calls, in the form that runs and in plain Python."""
    found: ModuleType = request.param
    return found


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection, neither of which blocks."""
    with_, without = socket.socketpair()
    with with_, without:
        with_.setblocking(False)
        without.setblocking(False)
        yield with_, without


@pytest.mark.parametrize("size", [1, 100, 65_535, 65_536, 65_537, 150_000])
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_what_is_sent_is_received(
    calls: ModuleType, ends: tuple[socket.socket, socket.socket], size: int, kind: type
) -> None:
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)
    sent = calls.send(ends[0], kind(data))
    assert sent == size
    found = []
    while (piece := calls.receive(ends[1])) is not None:
        found.append(piece)
    assert b"".join(found) == data
    assert len(found[0]) == min(size, 65_536)


def test_part_of_a_view_is_sent(
    calls: ModuleType, ends: tuple[socket.socket, socket.socket]
) -> None:
    assert calls.send(ends[0], memoryview(b"abcdef")[2:4]) == 2
    assert calls.receive(ends[1]) == b"cd"


def test_nothing_is_there_yet(calls: ModuleType, ends: tuple[socket.socket, socket.socket]) -> None:
    assert calls.receive(ends[0]) is None


def test_the_end(calls: ModuleType, ends: tuple[socket.socket, socket.socket]) -> None:
    ends[1].close()
    assert calls.receive(ends[0]) == b""


def test_what_the_system_does_not_take_now(
    calls: ModuleType, ends: tuple[socket.socket, socket.socket]
) -> None:
    """A send never waits for a peer that does not read: it takes a part, and at last nothing."""
    piece = bytes(1 << 20)
    while calls.send(ends[0], piece):
        pass
    assert calls.send(ends[0], piece) == 0


@pytest.mark.parametrize("is_closed", [True, False])
def test_nobody_is_there(
    calls: ModuleType, ends: tuple[socket.socket, socket.socket], is_closed: bool
) -> None:
    """A connection that this side has closed, or the other one, raises OSError."""
    ends[0 if is_closed else 1].close()
    with pytest.raises(OSError, match=r"Bad file descriptor|Broken pipe"):
        calls.send(ends[0], b"data")
    if is_closed:
        with pytest.raises(OSError, match="Bad file descriptor"):
            calls.receive(ends[0])


@pytest.mark.parametrize("data", ["text", None, 7])
def test_what_is_no_bytes(
    calls: ModuleType, ends: tuple[socket.socket, socket.socket], data: object
) -> None:
    with pytest.raises(TypeError):
        calls.send(ends[0], data)


KILLED = """
import signal, socket, sys
from tests.twins.forms import plain
import kvengine.share.calls as calls
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
for each in calls, plain("kvengine.share.calls"):
    one, other = socket.socketpair()
    other.close()
    try:
        each.send(one, b"data")
    except BrokenPipeError:
        print("refused")
"""


def test_a_program_that_dies_of_broken_pipes_does_not_die_of_an_owner() -> None:
    """Command-line tools restore what SIGPIPE does by default, which is to kill."""
    found = subprocess.run(
        [sys.executable, "-c", KILLED], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (found.returncode, found.stdout.split()) == (0, ["refused"] * 2), found.stderr


@pytest.mark.parametrize("keeps_lock", [True, False])
def test_looks(
    calls: ModuleType, ends: tuple[socket.socket, socket.socket], keeps_lock: bool
) -> None:
    fd = ends[0].fileno()
    assert calls.look(fd, MILLISECOND, keeps_lock) is False
    ends[1].send(b"x")
    assert calls.look(fd, 30_000 * MILLISECOND, keeps_lock) is True
    assert calls.look(-1, 30_000 * MILLISECOND, keeps_lock) is False


def test_the_end_can_be_read(calls: ModuleType, ends: tuple[socket.socket, socket.socket]) -> None:
    ends[1].close()
    assert calls.look(ends[0].fileno(), 30_000 * MILLISECOND, True) is True


def test_a_look_that_gives_up_the_lock_lets_others_run(
    calls: ModuleType, ends: tuple[socket.socket, socket.socket]
) -> None:
    """What arrives only because another thread of this interpreter runs, is found."""

    def later() -> None:
        time.sleep(0.01)
        ends[1].send(b"x")

    thread = threading.Thread(target=later)
    thread.start()
    assert calls.look(ends[0].fileno(), 30_000 * MILLISECOND, False) is True
    thread.join()


def test_signals_wait_for_a_look_no_longer_than_it_takes(
    calls: ModuleType, ends: tuple[socket.socket, socket.socket]
) -> None:
    arrived: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, _: arrived.append(number))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.001)
        assert calls.look(ends[0].fileno(), 20 * MILLISECOND, True) is False
        time.sleep(0)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert arrived
