"""The address of the owner's socket, whose path may be longer than an address holds."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from kvengine.storage.filenames import LIVE

_LONGEST = 100
"""Bytes that a socket's address holds on any system."""


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


def has_socket(directory: str) -> bool:
    """Return whether there is a socket: if nobody owns the directory, its owner left it behind.

    An owner that ends while it has clients does so, as one that is killed does.
    """
    try:
        return stat.S_ISSOCK(os.lstat(f"{directory}/{LIVE}").st_mode)
    except OSError:
        return False
