"""Frames over a Unix socket, and its path, which may be longer than a socket address holds."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from kvengine.share.wire import LENGTH
from kvengine.storage.filenames import LIVE

_PIECE = 1024 * 1024
_LONGEST = 100
"""Bytes that a socket's address holds on any system."""

SLOW = 60.0
"""Seconds for a frame that has begun to arrive, or to be taken, piece by piece."""


class BadFrame(Exception):
    """What arrived is no frame: too long, or broken off."""


@contextmanager
def at_path(directory: str) -> Iterator[str]:
    """An address for the socket in ``directory``; OSError where the system has none for it."""
    path = f"{directory}/{LIVE}"
    if len(os.fsencode(path)) <= _LONGEST:
        yield path
        return
    place = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield at_descriptor(directory, place)
    finally:
        os.close(place)


def at_descriptor(directory: str, place: int) -> str:
    """An address for the socket in the directory that a descriptor names, wherever it has moved.

    By its path on a system that cannot look a name up from a descriptor.
    """
    here = f"/proc/self/fd/{place}"
    return f"{here if os.path.isdir(here) else directory}/{LIVE}"


def send(connection: socket.socket, data: bytes | bytearray) -> None:
    """All of ``data``; OSError where the other side has gone or takes nothing for too long."""
    connection.settimeout(SLOW)
    connection.sendall(data)


def arrives(connection: socket.socket, seconds: float) -> bool:
    """Whether something arrives, or the other side ends, within so long."""
    return bool(_polled(connection, select.POLLIN, seconds))


def has_gone(connection: socket.socket) -> bool:
    """Whether the other side has closed, as far as is known now."""
    return bool(_polled(connection, 0, 0) & (select.POLLHUP | select.POLLERR))


def _polled(connection: socket.socket, events: int, seconds: float) -> int:
    poll = select.poll()
    poll.register(connection, events)
    return sum(found for _, found in poll.poll(seconds * 1000))


def receive(
    connection: socket.socket, most: int, timeout: float | None = None
) -> bytes | bytearray | None:
    """The next frame; None where the other side has ended. BadFrame, OSError (TimeoutError).

    ``timeout``: seconds until it begins, None: for ever. Memory grows with what
    arrives, not with what a frame says of its length.
    """
    connection.settimeout(timeout)
    head = connection.recv(1)
    if not head:
        return None
    connection.settimeout(SLOW)
    while len(head) < LENGTH.size:
        head += _some(connection, LENGTH.size - len(head))
    (length,) = LENGTH.unpack(head)
    if length > most:
        raise BadFrame(f"a frame of {length:,} bytes is over the limit of {most:,}")
    data: bytes | bytearray = b""
    if length <= _PIECE:  # nearly all: one piece, and no copy of it
        data = _some(connection, length) if length else b""
    if len(data) < length:
        data = bytearray(data)
        while len(data) < length:
            data += _some(connection, min(length - len(data), _PIECE))
    return data


def _some(connection: socket.socket, length: int) -> bytes:
    piece = connection.recv(length)
    if not piece:
        raise BadFrame("broken off within a frame")
    return piece
