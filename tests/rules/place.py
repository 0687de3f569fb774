"""What the tests of the rules share: a database to open, commits that wait, and a sly dict."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import kvengine
from kvengine.fs.base import FileSystem
from kvengine.storage.clock import ManualClock
from kvengine.storage.state import Commit

OPTIONS: dict[str, Any] = {
    "background": "none",
    "durability": "os",
    "expiry_grace": 0,
    "tombstone_age": 10_000,
    "l0_compact": 100,
    "l0_slow": 1000,
    "l0_stop": 1000,
}
"""Layers stay as a test makes them: nothing is compacted unless it asks for that."""


def opened(fs: FileSystem, clock: ManualClock, **options: Any) -> kvengine.Engine:
    """Open the database of a test."""
    return kvengine.open("/db", fs=fs, clock=clock, **{**OPTIONS, **options})


def heat(db: kvengine.Engine, *names: tuple[str, str]) -> None:
    """Read objects until the memo keeps them."""
    for name in names:
        for _ in range(3):
            db.get_all(*name)
        assert name in db._db.memo.known, f"the memo does not keep {name}"


@contextmanager
def pending(db: kvengine.Engine, write: Callable[[kvengine.Batch], object]) -> Iterator[Commit]:
    """Append a commit that is not visible before the block ends: its sync comes then."""
    batch = kvengine.Batch()
    write(batch)
    commit = db._begin_write(batch)
    assert commit is not None and not commit.published
    yield commit
    db._finish_write(commit)


class Sly(dict[Any, Any]):
    """A dict that lets something happen once, right after it was asked for a key.

    ``asked``: the key; ``times``: how often it is asked for until then.
    """

    asked: Any = ()
    times = 1
    meanwhile: Callable[[], object] | None = None

    def get(self, key: Any, default: Any = None) -> Any:
        found = super().get(key, default)
        if key == self.asked and self.meanwhile is not None:
            self.times -= 1
            if not self.times:
                happen, self.meanwhile = self.meanwhile, None
                happen()
        return found
