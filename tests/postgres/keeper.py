"""Starts the servers of tests, and ends them with the process that asked for them.

It is a program. It prints the directory that it has made for the servers. Each line that it reads
is a command as JSON, and it answers with the process id. When its standard input ends, because the
tests are done or were killed, it kills whatever it started, the daemons of its children included,
and removes the directory.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

_PR_SET_CHILD_SUBREAPER = 36
# The line of postmaster.pid that names its System V shared memory: key and identifier.
_SHARED_MEMORY_LINE = 6


def main(user: str) -> None:
    """Serve requests until standard input ends; `user` owns the directory, "" for this one."""
    # What daemons leave behind becomes a child of this process, and is found at the end.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    # Children that have ended vanish at once, so that nobody waits for a zombie. To ignore the
    # signal would do so too, but the servers would inherit that, and miss their own children.
    signal.signal(signal.SIGCHLD, _reap)
    # Directories of the tests themselves may be closed to other users; /tmp is open to all.
    directory = Path(tempfile.mkdtemp(prefix="kvengine-servers-", dir="/tmp" if user else None))
    try:
        if user:
            shutil.chown(directory, user)
        _answer(str(directory))
        for line in sys.stdin:
            request = json.loads(line)
            with open(request["log"], "ab") as log:
                child = subprocess.Popen(
                    request["command"],
                    env=os.environ | request["environment"],
                    cwd=directory,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            _answer(child.pid)
    finally:
        _kill_descendants()
        _free_shared_memory(directory)
        shutil.rmtree(directory)


def _reap(*_: object) -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass


def _answer(value: object) -> None:
    print(json.dumps(value), flush=True)


def _kill_descendants() -> None:
    """Kill until nothing is left: children of a killed process become children of this one."""
    while descendants := psutil.Process().children(recursive=True):
        for process in descendants:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        time.sleep(0.01)


def _free_shared_memory(directory: Path) -> None:
    """Remove the shared memory that a killed PostgreSQL has left behind."""
    for path in directory.glob("**/postmaster.pid"):
        lines = path.read_text("ascii").splitlines()
        if len(lines) > _SHARED_MEMORY_LINE and lines[_SHARED_MEMORY_LINE].strip():
            identifier = int(lines[_SHARED_MEMORY_LINE].split()[1])
            ctypes.CDLL(None).shmctl(identifier, 0, None)  # 0 is IPC_RMID


if __name__ == "__main__":
    main(*sys.argv[1:])
