"""What both ends of a connection ask of the system: send, receive, and a look without sleeping.

Beside this stands a compiled twin, which keeps the interpreter lock over calls that never wait:
whoever gives it up to a busy thread gets it back after 5 ms, a hundred times what a request takes.
"""

import os
import select
import socket
from time import monotonic_ns
from typing import Final

__all__ = ["look", "receive", "send"]

_PIECE: Final = 65536
_FLAGS: Final = getattr(socket, "MSG_NOSIGNAL", 0)
"""No SIGPIPE, whatever the program does with that."""


def send(connection: socket.socket, data: bytes | bytearray | memoryview) -> int:
    """Send what the system takes now of ``data``; return how many bytes that is, maybe 0.

    The socket must not block. Raise OSError if the other side is gone.
    """
    try:
        return connection.send(data, _FLAGS)
    except BlockingIOError:
        return 0


def receive(connection: socket.socket) -> bytes | None:
    """Return up to 64 KiB that have arrived; b"" at the end, None if there is nothing yet.

    The socket must not block. Raise OSError if the connection has failed.
    """
    try:
        return connection.recv(_PIECE)
    except BlockingIOError:
        return None


def look(fd: int, nanoseconds: int, keeps_lock: bool) -> bool:  # noqa: ARG001
    """Return whether something can be read within so long. Do not sleep meanwhile.

    Others that wait for this core have it in between; if that takes longer, the answer is False.
    ``keeps_lock``: no other thread of this interpreter runs meanwhile, where that can be had.
    """
    if fd < 0:
        return False
    until = monotonic_ns() + nanoseconds
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    while not poll.poll(0):
        os.sched_yield()
        if monotonic_ns() > until:
            return False
    return monotonic_ns() <= until
