"""Which directories lie on a network file system.

Several processes share a directory by what their kernel keeps for them: the locks of the owner,
and the Unix socket on which it serves the others. Neither reaches across a network file system.
A lock may be granted on two machines at once, and a socket is a name that leads nowhere on all
machines but one. Whoever shares a directory must know that before two owners write to it.
"""

from __future__ import annotations

import os
import re
import sys
from typing import Final

MOUNTS: Final = "/proc/self/mountinfo"

NETWORK: Final = frozenset(
    {
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "coda",
        "davfs",
        "gfs2",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "ocfs2",
        "orangefs",
        "prl_fs",
        "pvfs2",
        "smb3",
        "smbfs",
        "vboxsf",
        "virtiofs",
        "vmhgfs",
    }
)
"""Types, as Linux names them, of file systems that machines share, virtual ones included."""

NETWORK_FUSE: Final = frozenset(
    {
        "blobfuse",
        "blobfuse2",
        "ceph",
        "davfs2",
        "gcsfuse",
        "glusterfs",
        "goofys",
        "grpcfuse",
        "juicefs",
        "mfs",
        "mountpoint-s3",
        "osxfs",
        "rclone",
        "s3fs",
        "seaweedfs",
        "sshfs",
        "vmhgfs-fuse",
    }
)
"""What follows ``fuse.`` in the type of such a file system that a program serves."""

_ESCAPED = re.compile(r"\\([0-7]{3})")


def network_filesystem(path: str | os.PathLike[str], mounts: str | None = None) -> str | None:
    """Return the type of the network file system that a path lies on ("nfs4", "fuse.sshfs").

    Return None if it is local, or if that is not known: if its type is none of `NETWORK`, or on
    systems other than Linux. The path need not exist; symbolic links are followed.

    ``mounts``: the text of ``/proc/self/mountinfo``, by default that of this process.
    """
    if mounts is None:
        mounts = _mounts()
    kind = _kind(os.fsencode(os.path.realpath(path)), mounts)
    served = kind.removeprefix("fuse.")
    return kind if kind in NETWORK or (served != kind and served in NETWORK_FUSE) else None


def _mounts() -> str:
    if not sys.platform.startswith("linux"):
        return ""
    try:
        with open(MOUNTS, "rb") as file:
            return os.fsdecode(file.read())
    except OSError:  # without /proc
        return ""


def _kind(path: bytes, mounts: str) -> str:
    """Return the type of the file system mounted nearest above a path, "" if none is found.

    A line is ``ID PARENT DEVICE ROOT POINT OPTIONS [TAG ...] - TYPE SOURCE OPTIONS``. Of two mounts
    on one point the later one counts, which covers the other.
    """
    longest, kind = -1, ""
    for line in mounts.split("\n"):  # a mount point may hold what else ends a line
        place, _, what = line.partition(" - ")
        fields, of_what = place.split(" "), what.split(" ")
        if len(fields) < 6 or not what:
            continue
        point = _unescaped(fields[4]).rstrip(b"/")
        if len(point) >= longest and (path == point or path.startswith(point + b"/")):
            longest, kind = len(point), of_what[0]
    return kind


def _unescaped(point: str) -> bytes:
    """Return a mount point whose spaces, tabs, newlines and backslashes are as ``\\040``."""
    return os.fsencode(_ESCAPED.sub(lambda octal: chr(int(octal[1], 8)), point))
