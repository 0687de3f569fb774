"""What commits and cold reads ask of the system: write and pread, as in `os`, and mapped memory.

Beside this stands a compiled twin, which keeps the interpreter lock over a short call: whoever
gives it up to a busy thread gets it back after 5 ms, a thousand times what the call takes.
"""

import os
from contextlib import suppress
from os import pread, write

__all__ = ["drop", "part", "pread", "write"]


def part(data: memoryview, start: int, length: int) -> bytes:
    """Return up to ``length`` bytes from ``start`` on, fewer where the data ends."""
    return bytes(data[start : start + length])


def drop(fd: int) -> None:
    """Close a descriptor that nobody refers to any more, whatever the system says to that.

    In C it works at the end of the interpreter too, when the names of modules are gone.
    """
    with suppress(OSError):
        os.close(fd)
