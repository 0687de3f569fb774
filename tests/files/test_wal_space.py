"""Space of the log that is written ahead: small steps, unless commits are synced."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import pytest

import kvengine
from kvengine.fs.memory import MemoryFileSystem

KIB = 1024


@pytest.mark.parametrize(("durability", "least"), [("os", 16 * KIB), ("sync", 64 * KIB)])
def test_the_log_grows_in_steps(durability: Literal["os", "sync"], least: int) -> None:
    """No os commit writes more zeros than 16 KiB; few syncs write a new file size."""
    fs = MemoryFileSystem()
    with kvengine.open("/db", fs=fs, durability=durability, background="none") as db:
        (path,) = (path for path in fs.paths() if path.endswith(".wal"))
        sizes = [len(fs.read_bytes(path))]
        for number in range(3000):
            db.set("s", f"{number}", "n", bytes(100))
            size = len(fs.read_bytes(path))
            if size != sizes[-1]:
                sizes.append(size)
    steps = [after - before for before, after in pairwise(sizes)]
    assert len(steps) > 1 and min(steps) == least
    assert max(steps) == least if durability == "os" else max(steps) <= 256 * KIB
