"""The owner's socket in the directory: how it is made, reached and told from another one's.

Its path may be longer than an address holds.
"""

from __future__ import annotations

import os
import socket
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from kvengine.storage.filenames import LIVE

_LONGEST = 100
"""Bytes that a socket's address holds on any system."""


@contextmanager
def at_path(directory: str) -> Iterator[str]:
    """Give an address of the socket in ``directory``. Raise OSError if the system has none."""
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
    """Return an address of the socket in the directory that ``place``, a descriptor, names.

    It leads there wherever the directory has moved, except on a system that cannot look up a name
    from a descriptor: there it is the path ``directory``.
    """
    here = f"/proc/self/fd/{place}"
    return f"{here if os.path.isdir(here) else directory}/{LIVE}"


def has_socket(directory: str) -> bool:
    """Return whether there is a socket.

    If nobody owns the directory, its last owner left it behind: it was killed, or had clients.
    """
    try:
        return stat.S_ISSOCK(os.lstat(f"{directory}/{LIVE}").st_mode)
    except OSError:
        return False


def listening_socket(directory: str, place: int) -> socket.socket:
    """Make the socket in the directory that ``place`` names, for its owner's user alone; listen.

    What had its name is removed. Raise OSError if it cannot be made: IsADirectoryError if a
    directory has its name, FileNotFoundError if the path has led elsewhere, on a system that binds
    by path.
    """
    with suppress(FileNotFoundError):
        if stat.S_ISDIR(_status(place).st_mode):
            raise IsADirectoryError(f"{directory}/{LIVE} is a directory, not the owner's socket")
        os.unlink(LIVE, dir_fd=place)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        listener.bind(at_descriptor(directory, place))
        os.chmod(LIVE, 0o600, dir_fd=place)  # before `listen`: until then nobody can connect
        listener.listen(128)
    except BaseException:
        listener.close()
        raise
    return listener


def identity(place: int) -> tuple[int, int]:
    """Return which file has the socket's name in the directory that ``place`` names."""
    found = _status(place)
    return found.st_dev, found.st_ino


def _status(place: int) -> os.stat_result:
    return os.stat(LIVE, dir_fd=place, follow_symlinks=False)


def is_allowed(connection: socket.socket) -> bool:
    """Return whether the peer is of this user, or root.

    Where the system does not tell who it is, the mode of the socket has kept others out.
    """
    try:
        return peer_user(connection) in (0, os.geteuid(), None)
    except OSError:  # it has left already
        return False


def peer_user(connection: socket.socket) -> int | None:
    """Return the user of the process at the other end, None if the system does not tell.

    Raise OSError if the other end has gone, on some systems.
    """
    kind = getattr(socket, "SO_PEERCRED", None)
    if kind is not None:
        given = connection.getsockopt(socket.SOL_SOCKET, kind, struct.calcsize("3i"))
        user: int = struct.unpack("3i", given)[1]
        return user
    return _peer_of_bsd(connection.fileno(), None)


def _peer_of_bsd(fd: int, library: str | None) -> int | None:
    """Ask getpeereid(3), which macOS and the BSDs have, and libbsd on Linux."""
    try:
        import ctypes

        getpeereid = ctypes.CDLL(library, use_errno=True).getpeereid
    except (ImportError, AttributeError, OSError):
        return None
    user, group = ctypes.c_uint32(), ctypes.c_uint32()
    if getpeereid(fd, ctypes.byref(user), ctypes.byref(group)):
        raise OSError(ctypes.get_errno(), "getpeereid failed")
    return user.value
