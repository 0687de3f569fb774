"""Whatever a crash leaves, a commit with a token that is sent again is made at most once.

A client sends commits, some of them again, while the database flushes, rotates, closes and opens.
Wherever a kill or a power cut hits it, the next owner answers for each commit what is true.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from random import Random
from typing import Any, NamedTuple

import pytest

import kvengine
from kvengine import OutcomeUnknown
from kvengine.fs import MemoryFileSystem
from kvengine.storage.clock import ManualClock

OPTIONS: dict[str, Any] = {"background": "none", "memtable_size": 1500, "l0_compact": 3}
PATH = "/home/db"


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Torn tails are what this is about."""
    caplog.set_level(logging.ERROR, "kvengine")


@dataclass(eq=False)
class Sent:
    """A commit that a client has sent at least once; ``since``: a stamp that it knew before."""

    token: bytes
    since: int
    attempts: int = 0
    durable: bool = False

    @property
    def key(self) -> str:
        """The object that this commit alone writes: its version is the stamp."""
        return self.token.decode()

    def send(self, db: kvengine.Engine, durability: kvengine.options.Durability) -> int:
        """Make an attempt. Each adds an entry of its own, so that two of them would be seen."""
        batch = kvengine.Batch()
        batch.set("sent", self.key, f"attempt {self.attempts}", b"")
        since = self.since if self.attempts else None
        self.attempts += 1
        stamp = db._committer.write_once(batch, None, durability, self.token, since)
        assert stamp is not None
        return stamp


class Image(NamedTuple):
    """What a crash leaves after a call, and the tokens of what was acknowledged as durable."""

    after: str
    fs: MemoryFileSystem
    durable: set[bytes]


class Medium(MemoryFileSystem):
    """Keeps what crashes leave, at some of the calls that change it."""

    def __init__(self, life: Life) -> None:
        super().__init__()
        self.life = life

    def record(self, *call: str) -> None:
        life = self.life
        if not life.random.randrange(6):
            rng = Random(life.random.getrandbits(32))
            image = self.copy() if life.random.randrange(2) else self.crash(rng)
            durable = {sent.token for sent in life.sent if sent.durable}
            life.images.append(Image(" ".join(call), image, durable))


class Life:
    """The database, the commits that were sent to it, and the crashes that were tried."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.clock = ManualClock()
        self.images: list[Image] = []
        self.sent: list[Sent] = []
        self.seen = 0
        self.unknown = self.found = self.unmade = 0
        self.fs = Medium(self)
        self.fs.makedirs("/home")
        self.db = self.open(self.fs)

    def open(self, fs: MemoryFileSystem) -> kvengine.Engine:
        return kvengine.open(PATH, fs=fs, clock=self.clock, **OPTIONS)

    def run(self, steps: int) -> None:
        for _ in range(steps):
            choices = {"commit": 60, "again": 20, "plain": 20, "flush": 4, "reopen": 5, "copy": 3}
            doing = self.random.choices(list(choices), list(choices.values()))[0]
            getattr(self, f"do_{doing}")()
            images, self.images = self.images, []
            for image in images if self.sent else ():
                self.check(f"{doing}, {image.after}", image)
        self.db.close()

    def do_commit(self) -> None:
        sent = Sent(b"%d" % len(self.sent), self.seen)
        self.sent.append(sent)
        durability = self.random.choice(["sync", "os"])
        self.seen = sent.send(self.db, durability)  # type: ignore[arg-type]
        sent.durable = durability == "sync"

    def do_again(self) -> None:
        """Send an old commit again: it is there, or this owner cannot know."""
        if self.sent:
            sent = self.random.choice(self.sent[-12:])
            try:
                assert sent.send(self.db, "os") == self.db.version("sent", sent.key)
            except OutcomeUnknown:
                assert sent.since < self.db._db.tokens.since
            assert len(self.db.get_all("sent", sent.key)) == 1

    def do_plain(self) -> None:
        self.clock.advance(0.001)
        self.seen = self.db.set("plain", "k", "n", bytes(self.random.randrange(100)))

    def do_flush(self) -> None:
        self.db.flush()

    def do_copy(self) -> None:
        """It rotates, without a flush."""
        self.db.checkpoint(f"/home/{self.random.getrandbits(64)}")

    def do_reopen(self) -> None:
        self.db.close()
        self.db = self.open(self.fs)

    def check(self, after: str, image: Image) -> None:
        """The next owner tells of each commit whether it was made, or that it cannot know."""
        with self.open(image.fs) as db:
            tokens = db._db.tokens
            for sent in self.sent:
                made = db.version("sent", sent.key)
                found = tokens.find(sent.token)
                where = f"{sent} after {after}: version {made}, found {found}, {tokens.since}"
                assert found == (made or None) or (found is None and made <= tokens.since), where
                assert made or sent.token not in image.durable, where
            some = self.sent[-2:] + self.random.choices(self.sent[-20:], k=4)
            for sent in dict.fromkeys(some):
                self.check_again(db, Sent(sent.token, sent.since, 100 + sent.attempts), after)

    def check_again(self, db: kvengine.Engine, sent: Sent, after: str) -> None:
        """Sent again, and again to the owner after that, the commit is there once."""
        made = db.version("sent", sent.key)
        since = db._db.tokens.since
        try:
            stamp = sent.send(db, "sync")
        except OutcomeUnknown:
            assert sent.since < since, f"{sent} after {after}"
            self.unknown += 1
            return
        assert stamp == db.version("sent", sent.key) == (made or stamp), f"{sent} after {after}"
        assert sent.send(db, "os") == stamp
        assert len(db.get_all("sent", sent.key)) == 1, f"{sent} after {after}"
        if made:
            self.found += 1
        else:
            self.unmade += 1


@pytest.mark.parametrize("seed", range(12))
def test_a_commit_is_made_at_most_once_whatever_crashes(seed: int) -> None:
    """`find` is right of each commit whose stamp is above `since`; none is made twice, none that
    was acknowledged as durable is made again or reported as unknown without need.
    """
    life = Life(seed)
    life.run(120)
    assert life.unknown and life.found and life.unmade
