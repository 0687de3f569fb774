"""What the engine asks of a file system.

Errors are `OSError` and its subclasses with `errno` set, as the operating system raises them.
Nothing here survives a power cut by itself, except where a docstring says so:

- the content and the size of a file: after its `sync` or `datasync`,
- a name created, renamed, linked or unlinked: after `sync_dir` of the directory that holds it.
  Syncing a file does not make its name durable.

A failed `sync` or `datasync` leaves it unknown what is on disk; a second call may succeed although
the data was dropped. So it is never called again: the file is given up.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from .directory import Directory

READ_ONLY = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
"""How a system says that a place cannot be written: a read-only mount, or another user's."""


class File(Protocol):
    """An open file. It is closed, without an error, when it is garbage collected.

    `pread` and `size` may be called from any thread. Whoever shares a file between threads lets
    the last reference go instead of calling `close` under a reader: the number of a closed
    descriptor is soon another file's.
    """

    def write(self, data: bytes | bytearray | memoryview, /) -> None:
        """Write all of data at the position and move the position behind it.

        After an error the position tells how much was written. A memoryview is one of bytes.
        """

    def position(self) -> int:
        """The offset in bytes at which the next `write` begins."""

    def seek(self, offset: int, /) -> None:
        """Move the position, which may lie beyond the end: the gap reads as zeros."""

    def pread(self, length: int, offset: int, /) -> bytes:
        """The bytes of [offset, offset + length): fewer only where the file ends.

        Never takes more memory than the file is long. Leaves the position alone.
        """

    def map(self) -> memoryview | None:
        """Map the file and return its bytes, None if that cannot be. `pread` reads there too then.

        For a file that grows and shrinks no more. A page that the device fails to read then ends
        the process (SIGBUS) instead of raising `OSError`.
        """

    def size(self) -> int:
        """The length of the file in bytes."""

    def truncate(self, size: int, /) -> None:
        """Make the file this long; what is added reads as zeros. The position stays."""

    def allocate(self, offset: int, length: int, /) -> None:
        """Reserve [offset, offset + length): the file is at least that long, new bytes are zeros.

        Existing bytes and the position stay. ENOSPC comes here rather than at a later write.
        """

    def datasync(self) -> None:
        """Make the content durable and what is needed to read it back, as its size."""

    def sync(self) -> None:
        """Make the content and all attributes durable."""

    def close(self) -> None:
        """Give the file back without syncing. Idempotent; every other call then raises EBADF."""


class Lock(Protocol):
    """An exclusive lock that ends with `release`, with the process, or with the last reference.

    A forked child has no part in it: its copy is closed as it starts, and the parent stays the
    holder.
    """

    def write(self, text: bytes, /) -> None:
        """Replace what the lock file says about its holder; anybody may read it.

        OSError where a directory is locked.
        """

    def in_place(self) -> bool:
        """Return whether the path that was locked still leads to what was locked.

        False once that was renamed, removed or replaced. True also where nobody can tell.
        """

    def release(self) -> None:
        """Give the lock up and leave the file in place. Idempotent."""


class FileSystem(Protocol):
    """Directories and files under paths separated by `/`.

    A path whose last part is a symbolic link, or not a regular file, is refused by everything that
    opens a file, so that a planted directory cannot lead elsewhere or block. Names in `listdir`
    come in order, so that a run can be repeated call for call.
    """

    @property
    def local(self) -> bool:
        """Whether another process sees the same files under the same paths."""

    def open_dir(self, path: str, /) -> Directory:
        """Open a directory and return a file system bound to it.

        There the paths at and below ``path`` lead into this very directory, also after it was
        renamed or removed, or when its path leads to another one.
        """

    def create(self, path: str, /) -> File:
        """A new, empty file, to read and write; `FileExistsError` if the name is taken."""

    def open(self, path: str, /) -> File:
        """An existing file, to read; every call that would change it raises `OSError`."""

    def open_write(self, path: str, /) -> File:
        """An existing file, to read and write, as it is, with the position at 0."""

    def rename(self, source: str, target: str, /) -> None:
        """Give source the name target; what had it before is replaced in one step."""

    def link(self, source: str, target: str, /) -> None:
        """Give a file a second name. EXDEV across file systems; `FileExistsError` if taken."""

    def unlink(self, path: str, /) -> None:
        """Remove a file's name. Open files, and other names, go on reading it."""

    def rmdir(self, path: str, /) -> None:
        """Remove an empty directory; ENOTEMPTY otherwise."""

    def listdir(self, path: str, /) -> list[str]:
        """The names in a directory, in order."""

    def makedirs(self, path: str, /) -> None:
        """Create a directory and the missing ones above it; nothing if it exists.

        Each directory that this call creates is durable when it returns.
        """

    def exists(self, path: str, /) -> bool:
        """Whether the name is taken, by a file of any kind or a directory."""

    def isdir(self, path: str, /) -> bool:
        """Whether the path is a directory."""

    def size(self, path: str, /) -> int:
        """The length of a file in bytes."""

    def sync_dir(self, path: str, /) -> None:
        """Make the names in a directory durable, but not the content of the files they name."""

    def lock(self, path: str, /) -> Lock | None:
        """Lock a file, created if missing, or None while another holds it, in any process.

        A lock file is never unlinked: its next holder would lock another file.
        """

    def lock_dir(self, path: str, /) -> Lock | None:
        """Lock a directory, or None while another holds it, under any path and in any process.

        It says nothing of the files in it. Some file systems cannot lock directories: there the
        lock keeps nobody out, and still knows whether it is in place.
        """

    def read_bytes(self, path: str, /) -> bytes:
        """All of a file."""
