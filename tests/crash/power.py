"""A random life of a database whose disk may lose power at every call that changes it.

`Life` runs operations on a file system that takes images of what a power cut
would leave, each with what must then be there: a prefix of the commits, between
those known to be durable and those begun.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from random import Random
from typing import Any, NamedTuple

import kvengine
from kvengine.fs import MemoryFileSystem
from kvengine.storage.clock import ManualClock
from kvengine.testing.contract.reference import Operation, Reference
from tests.model.program import Mood, operation, operations
from tests.model.world import call

PATH = "/home/db"

OPTIONS: dict[str, Any] = {
    "background": "none",
    "memtable_size": 1500,
    "segment_size": 1024,
    "block_size": 200,
    "chunk_size": 200,
    "l0_compact": 2,
    "l0_slow": 1000,
    "l0_stop": 1000,
    "level_base": 2048,
    "level_ratio": 2,
    "expiry_grace": 0,
    "tombstone_age": 0,
}


class Lost(AssertionError):
    """A power cut took what it must not, or left what cannot be."""


class Image(NamedTuple):
    """What a power cut leaves: states ``low`` to ``high`` are allowed."""

    after: str
    fs: MemoryFileSystem
    low: int
    high: int
    made: bool


class Medium(MemoryFileSystem):
    """Tells a life of each call that changes it. ``links``: whether it has hard links."""

    def __init__(self, life: Life, before: MemoryFileSystem | None = None) -> None:
        super().__init__()
        self.life = life
        self.links = True
        if before is not None:
            self._tree = before._tree

    def record(self, *call: str) -> None:
        self.life.io(self, call)

    def link(self, source: str, target: str, /) -> None:
        if not self.links:
            raise OSError(errno.EXDEV, "no hard links here", target)
        super().link(source, target)


class Life:
    """One database. ``images`` is how many of the I/O points are tried, of 100."""

    def __init__(self, seed: int, images: int = 40) -> None:
        self.random = Mood(seed)
        self.images = images
        self.clock = ManualClock()
        self.taken: list[Image] = []
        self.reference = Reference()
        self.states: list[list[Any]] = [[]]
        self.low = self.high = 0
        self.made = False
        self.doing = "create"
        self.checkpoints = 0
        self.db: Any = None
        self.fs = Medium(self)
        self.fs.links = self.random.random() < 0.5
        self._place()

    def _place(self) -> None:
        """The directory: absent, or made a moment ago by somebody who synced nothing."""
        self.fs.makedirs("/home")
        if self.random.random() < 0.5:
            self.fs.makedirs("/home/new")
            self.fs.rename("/home/new", PATH)

    def io(self, fs: Medium, call: Sequence[str]) -> None:
        if self.random.randrange(100) < self.images:
            self.take(fs, f"{self.doing}, {' '.join(call)}")

    def take(self, fs: Medium, after: str) -> None:
        rng = None if self.random.random() < 0.4 else Random(self.random.getrandbits(32))
        self.taken.append(Image(after, fs.crash(rng), self.low, self.high, self.made))

    @property
    def now(self) -> int:
        return int(self.clock.wall())

    def open(self, fs: MemoryFileSystem, path: str = PATH, **options: Any) -> Any:
        return kvengine.open(path, fs=fs, clock=self.clock, **{**OPTIONS, **options})

    # --- the life

    def run(self, count: int) -> None:
        self.db = self.open(self.fs)
        self.made = True
        self.settle()
        for _ in range(count):
            weights = {"commit": 60, "flush": 6, "compact": 2, "background": 4}
            weights |= {"checkpoint": 3, "close": 3, "kill": 4}
            self.doing = self.random.choices(list(weights), list(weights.values()))[0]
            getattr(self, "do_" + self.doing)()
            if self.db.stats().background_errors:
                raise Lost(self.db.stats().last_background_error)
            self.settle()
        self.do_close()
        self.settle()
        self.db.close()

    def settle(self) -> None:
        """Try the images of the operation that ended, and two of the moment after it."""
        self.take(self.fs, f"after {self.doing}")
        self.taken.append(
            Image(f"after {self.doing}", self.fs.crash(None), self.low, self.high, self.made)
        )
        taken, self.taken = self.taken, []
        for image in taken:
            self.check(image)

    def do_commit(self) -> None:
        random = self.random
        chosen: list[Operation] = []
        while not chosen:
            chosen = [operation(random)] if random.random() < 0.7 else operations(random)
            chosen = [one for one in chosen if one[0] != "expire_in" and not _past(one)]
        before = self.reference.last_stamp
        self.reference.commit(chosen, self.now)
        if self.reference.last_stamp == before:
            return
        self.states.append(list(self.reference.scan(None, "", self.now)))
        self.high += 1
        batch = kvengine.Batch()
        for one in chosen:
            call(batch, one)
        durability = random.choice(("os", "os", "sync"))
        self.db.write(batch, durability=durability)
        if durability == "sync":
            self.low = self.high

    def do_flush(self) -> None:
        self.db.flush()
        self.low = self.high

    def do_compact(self) -> None:
        self.db.compact()
        self.low = self.high

    def do_background(self) -> None:
        self.db._scheduler.wake()

    def do_checkpoint(self) -> None:
        self.checkpoints += 1
        path = f"/home/checkpoint-{self.checkpoints}"
        self.db.checkpoint(path)
        self.low = self.high
        image = self.fs.crash(None)
        try:
            copy = self.open(image, path, create=False)
        except (kvengine.KVEngineError, OSError) as error:
            raise Lost(f"a returned checkpoint does not open: {error!r}") from error
        with copy:
            if list(copy.scan()) != self.states[self.high] or copy.verify():
                raise Lost("a returned checkpoint is not what it was")

    def do_close(self) -> None:
        self.db.close()
        self.low = self.high
        image = self.fs.crash(None)
        with self.open(image, create=False) as again:
            if again.stats().recovery or list(again.scan()) != self.states[self.high]:
                raise Lost(f"a clean close left less than it had, or {again.stats().recovery}")
        self.doing = "reopen"
        self.db = self.open(self.fs)

    def do_kill(self) -> None:
        """kill -9 keeps what was written; what was not synced then is still not synced."""
        fs = Medium(self, self.fs.copy())
        fs.links = self.fs.links
        quiet, self.images = self.images, 0
        self.db.close()
        self.images = quiet
        self.fs = fs
        self.doing = "recovery"
        self.db = self.open(fs)
        if list(self.db.scan()) != self.states[self.high]:
            raise Lost("kill -9 lost a commit")
        # Recovery proves what it found.
        self.low = self.high

    # --- what a power cut left

    def check(self, image: Image) -> None:
        try:
            found, again = self._reopen(image)
        except (kvengine.KVEngineError, OSError) as error:
            raise Lost(f"{image.after}: it does not open: {error!r}") from error
        allowed = self.states[image.low : image.high + 1]
        if found not in allowed:
            raise Lost(f"{image.after}: {found!r} is no prefix of {image.low}..{image.high}")
        if again != found:
            raise Lost(f"{image.after}: a second power cut took what recovery had found")

    def _reopen(self, image: Image) -> tuple[list[Any], list[Any]]:
        """What is found, and what is still there after a write and one more power cut."""
        db = self.open(image.fs, create=not image.made)
        found = list(db.scan())
        if db.verify():
            raise Lost(f"{image.after}: verify() finds {db.verify()}")
        if self.random.random() < 0.7:
            db.close()
            return found, found
        db.set("zz", "", "", b"still works")
        if self.random.random() < 0.5:
            db.flush()
        last = image.fs.crash(None)
        db.close()
        with self.open(last, create=False) as once_more:
            if once_more.get("zz", "", "") != b"still works":
                raise Lost(f"{image.after}: a commit after recovery was lost")
            once_more.clear_all("zz", "")
            return found, list(once_more.scan())


def _past(one: Operation) -> bool:
    return one[0] == "expire" and one[4] is None and one[3] is not None
