"""Records in the form of pytest-benchmark's, and the stores that parts are run on."""

from __future__ import annotations

import multiprocessing
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from benchmarks import peers
from benchmarks.peers.base import OURS

Record = dict[str, Any]
Returned = TypeVar("Returned")
SPAWN = multiprocessing.get_context("spawn")


def record(
    line: str,
    peer: str,
    samples: Sequence[float],
    *,
    operations: int = 1,
    loops: Sequence[float] | None = None,
    note: str = "",
) -> Record:
    """Return a record of a line: samples in seconds, or plain figures, each of so many operations.

    ``loops`` is what an empty loop took beside each sample; ``note`` stands below the table.
    """
    store = peers.find(peer)
    extra: dict[str, Any] = {"peer": peer, "operations": operations, "note": note}
    extra.update(version=store.version(), settings=store.settings(OURS))
    if loops is not None:
        extra["loops"] = list(loops)
    return {"group": line, "extra_info": extra, "stats": {"data": list(samples)}}


def available(say: Callable[[str], None]) -> list[str]:
    """Return the names of the stores that are installed, kvengine first; say what is not."""
    found = []
    for name in (peers.KVENGINE, *peers.OTHERS):
        try:
            peers.find(name)
        except peers.Unavailable as reason:
            say(f"SKIPPED: {reason}")
        else:
            found.append(name)
    return found


def apart(function: Callable[..., Returned], *arguments: object) -> Returned:
    """Call a function of a module in a process of its own; return what it returns."""
    with ProcessPoolExecutor(1, SPAWN) as pool:
        return pool.submit(function, *arguments).result()


class Place:
    """A directory for stores, and the names of those to measure."""

    def __init__(self, scratch: Path, names: list[str], say: Callable[[str], None]) -> None:
        self.scratch = scratch
        self.names = names
        self.say = say

    def new(self, name: str) -> str:
        """Return the path of a directory, empty where it exists."""
        path = self.scratch / name
        self.drop(name)
        path.mkdir(parents=True)
        return str(path)

    def drop(self, name: str) -> None:
        """Remove a directory, if it is there."""
        shutil.rmtree(self.scratch / name, ignore_errors=True)
