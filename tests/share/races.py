"""Openers, killers and takeovers race for a directory: two owners at once never happen.

``python -m tests.share.races [races]`` runs it at length. A handful of processes share a directory;
one of them, or the owner, is killed or closes, and another one comes, again and again. Whoever owns
holds a second lock beside that of the directory, as a witness, and notes its epoch in a journal.
"""

from __future__ import annotations

import fcntl
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from itertools import pairwise
from pathlib import Path

import kvengine
from kvengine.fs.disk import DiskFileSystem
from kvengine.share.owner import LocalOwner
from kvengine.storage.lifecycle.lock import holder

_GONE = 1.0
"""Seconds in which the system closes the files of a process that was killed, one by one."""


def race(path: str, witness: str, journal: str, seed: int) -> None:
    """Share the directory, write, and be a witness of owning it, until somebody ends this."""
    dice = random.Random(seed)
    end = time.monotonic() + dice.uniform(0.05, 1.0)
    held = os.open(witness, os.O_RDWR | os.O_CREAT)
    told = 0
    with kvengine.open(path, share=True, durability="os") as db:
        while time.monotonic() < end:
            try:
                db.set("Race", str(os.getpid()), "n", b"1")
            except (kvengine.Unavailable, kvengine.OutcomeUnknown):
                continue
            owner = db._member._owner
            if isinstance(owner, LocalOwner) and owner.epoch != told:
                told = owner.epoch
                if not _take(held):
                    _note(journal, f"two owners: process {os.getpid()} has epoch {told}")
                _note(journal, str(told))
    os.close(held)  # after the directory: the next owner may have to wait for it a moment


def _take(held: int) -> bool:
    """Take the witness's lock, which nobody else has for long."""
    until = time.monotonic() + _GONE
    while True:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > until:
                return False
            time.sleep(0.001)


def _note(journal: str, line: str) -> None:
    file = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, f"{line}\n".encode())
    finally:
        os.close(file)


def races(folder: Path, number: int, *, racers: int = 4, seed: int = 0) -> list[str]:
    """Run so many races, and return the journal: the epochs in the order in which they began."""
    dice = random.Random(seed)
    path, witness, journal = (str(folder / name) for name in ("db", "witness", "journal"))
    running: set[int] = set()
    disk = DiskFileSystem()
    for turn in range(number):
        while len(running) < racers:
            child = os.fork()
            if not child:
                status = 1
                try:
                    race(path, witness, journal, seed + turn * racers + len(running))
                    status = 0
                except Exception:
                    traceback.print_exc()
                finally:
                    os._exit(status)
            running.add(child)
        end = time.monotonic() + 0.5
        while (owner := holder(disk, f"{path}/LOCK")) not in running and time.monotonic() < end:
            time.sleep(0.001)
        killed = owner if owner in running and dice.random() < 0.9 else dice.choice(sorted(running))
        time.sleep(dice.choice((0.0, dice.uniform(0.0, 0.1))))
        os.kill(killed, signal.SIGKILL)
        while killed not in (ended := _ended(running)):
            running -= ended
        running -= ended
    while running:
        running -= _ended(running)
        time.sleep(0.01)
    lines = Path(journal).read_text().splitlines()
    with kvengine.open(path, create=False) as db:
        return [*lines, str(db._db.catalog.epoch)]


def _ended(running: set[int]) -> set[int]:
    """Return the children that have ended. Raise AssertionError if one of them failed."""
    ended = set()
    for child in running:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            code = os.waitstatus_to_exitcode(status)
            assert code in (0, -signal.SIGKILL), f"a racer ended with {code}"
            ended.add(child)
    return ended


def faults(lines: list[str]) -> list[str]:
    """Return what is wrong with a journal: witnesses of two owners, epochs that do not grow."""
    found = [line for line in lines if not line.isdigit()]
    epochs = [int(line) for line in lines if line.isdigit()]
    found += [
        f"epoch {later} began after {earlier}"
        for earlier, later in pairwise(epochs)
        if later <= earlier
    ]
    return found


def main() -> None:
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with tempfile.TemporaryDirectory() as folder:
        lines = races(Path(folder), number, seed=os.getpid())
    print(f"{number} races, {len(lines)} owners noted, the last epoch is {lines[-1]}")
    print("\n".join(faults(lines)) or "never two owners at once")
    sys.exit(bool(faults(lines)))


if __name__ == "__main__":
    main()
