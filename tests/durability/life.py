"""A scripted life of a database on a file system that fails, and what may be left of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

import kvengine
from kvengine import KVEngineError, WriteFailed
from kvengine.fs.faulty import FaultyFileSystem
from kvengine.fs.memory import MemoryFileSystem
from kvengine.options import Durability

State = dict[str, dict[str, bytes]]
OPTIONS: dict[str, object] = {
    "background": "none",
    "memtable_size": 2000,
    "segment_size": 2000,
    "level_base": 4000,
    "l0_compact": 2,
}


class Life:
    """Runs the script; a step that fails is noted and those after it are tried all the same.

    ``states``: after each commit that returned. ``synced``: the last of them that
    must survive a power cut. ``doubtful``: what a commit that failed would have made.
    """

    def __init__(self, fs: FaultyFileSystem) -> None:
        self.fs = fs
        self.states: list[State] = [{}]
        self.synced = 0
        self.doubtful: State | None = None
        self.errors: list[BaseException] = []
        self.background_errors = 0
        self.db: kvengine.Engine | None = None
        self._refused = False

    def run(self) -> None:
        try:
            self.db = kvengine.open("db", fs=self.fs, **OPTIONS)
        except (OSError, KVEngineError) as error:
            self.errors.append(error)
            return
        for step in self._steps(self.db):
            try:
                step()
            except (OSError, KVEngineError) as error:
                self.errors.append(error)
            self._reads_go_on(self.db)

    def close(self) -> None:
        """Let go of the database, whatever state it is in."""
        if self.db is not None:
            with suppress(OSError, KVEngineError):
                self.db.close()

    def after_reopen(self) -> list[State]:
        """What may be found after the process ended: the last returned commit counts."""
        return self._with_doubtful(self.states[-1:])

    def after_power_cut(self) -> list[State]:
        """What may be found after a power cut: the last synced commit counts."""
        return self._with_doubtful(self.states[self.synced :])

    def _with_doubtful(self, states: list[State]) -> list[State]:
        return states if self.doubtful is None else [*states, self.doubtful]

    def _steps(self, db: kvengine.Engine) -> Iterator[Callable[[], object]]:
        for n in range(4):
            yield lambda n=n: self._commit(n, "sync" if n % 2 else "os")
        yield db.flush
        yield lambda: self._clear(4)
        for n in range(5, 15):
            yield lambda n=n: self._commit(n, "os" if n % 2 else "sync")
        yield db.flush
        yield lambda: db.checkpoint("copy")
        yield lambda: self._commit(15, "os")
        yield lambda: self._commit(16, "sync")
        yield db.compact
        yield lambda: self._note_errors(db)
        yield lambda: self._commit(17, "os")
        yield db.close

    def _note_errors(self, db: kvengine.Engine) -> None:
        failures = self.fs.failures
        self.background_errors = db.stats().background_errors
        if self.fs.failures > failures:
            self.background_errors += 1  # `stats` passes over a file that it cannot ask

    def _commit(self, n: int, durability: Durability) -> None:
        fresh = {"both": {"n": b"%d" % n}, f"k{n % 4}": {"n": b"%d" % n * 200}}
        batch = kvengine.Batch()
        for key, entries in fresh.items():
            batch.set("s", key, "n", entries["n"])
        batch.expire("s", "both", ttl=10_000)
        self._write(batch, {**self.states[-1], **fresh}, durability)

    def _clear(self, n: int) -> None:
        batch = kvengine.Batch()
        batch.clear_service("s")
        batch.set("s", "both", "n", b"%d" % n)
        self._write(batch, {"both": {"n": b"%d" % n}}, "sync")

    def _write(self, batch: kvengine.Batch, after: State, durability: Durability) -> None:
        assert self.db is not None
        failures = self.fs.failures
        try:
            self.db.write(batch, durability=durability)
        except WriteFailed:
            if self.fs.failures > failures and not self._refused:
                self.doubtful = after
            self._refused = True
            raise
        assert not self._refused, "a write was taken after writes had been refused"
        self.states.append(after)
        if durability == "sync":
            self.synced = len(self.states) - 1

    def _reads_go_on(self, db: kvengine.Engine) -> None:
        """Where the disk lets it read, a read gives what was acknowledged last."""
        try:
            found = db.get("s", "both", "n")
        except kvengine.DatabaseClosed:
            return
        except OSError as error:
            self.errors.append(error)
            return
        expected = self.states[-1].get("both", {}).get("n")
        assert found == expected, f"read {found!r}, not {expected!r} after {self.errors}"


def reopened(fs: MemoryFileSystem, path: str = "db") -> State:
    """What a database holds; it takes writes and is sound."""
    with kvengine.open(path, fs=fs, background="none") as db:
        found = {one.key: one.entries for one in db.scan("s")}
        assert found == {key: db.get_all("s", key) for key in found}
        db.set("s", "after", "n", b"1")
        db.flush()
        assert db.verify() == []
    return found


def lives(
    fault: Callable[[FaultyFileSystem, int], None],
) -> Iterator[tuple[int, Life, MemoryFileSystem]]:
    """The script again and again, its first, second ... call failing, until none does."""
    for n in range(1, 10_000):
        memory = MemoryFileSystem(trace=[])
        fs = FaultyFileSystem(memory)
        fault(fs, n)
        life = Life(fs)
        life.run()
        failures = fs.failures
        life.close()
        fs.clear()
        if not failures:
            assert not life.errors
            return
        yield n, life, memory
