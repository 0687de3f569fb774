"""Run programs on the installed kvengine: a program for each line of stdin, answers to stdout.

This script runs under the Python of either release. It uses the public API alone, and knows
nothing of how programs are made or compared. A program is {"options": ..., "steps": [...]}. A
step is [verb, argument, ...]: `Run` has a method for each verb. Each answer is a line of JSON,
and one more line with END closes the program: what it met, which is counted and not compared.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import logging
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import kvengine
import kvengine.aio
from kvengine.fs import MemoryFileSystem

END = "end of program"
PATH = "/home/db"


class Told(dict[str, Any]):
    """An answer of this script's own, by name: no dict that a verb returned."""


def manual_clock() -> Any:
    """Return a ManualClock; 0.1.0 has the module of clocks in another place."""
    try:
        module = importlib.import_module("kvengine.storage.clock")
    except ModuleNotFoundError:
        module = importlib.import_module("kvengine.clock")
    return module.ManualClock()


def shown(found: Any) -> Any:
    """Return an answer as JSON can hold it: long values by length and checksum, dicts in order."""
    if isinstance(found, bytes):
        if len(found) <= 24:
            return found.decode("latin-1")
        return f"<{len(found)} bytes, {zlib.crc32(found):08x}>"
    if isinstance(found, Told):
        return found
    if isinstance(found, kvengine.StoredObject):
        # `expiries` are looked up by state key, and their order is nobody's promise: 0.1.0 gives
        # them as they were written while they are in memory, later releases in key order.
        expiries = None if found.expiries is None else dict(sorted(found.expiries.items()))
        complete = getattr(found, "complete", None)  # 0.1.0 has it, later releases its opposite
        whole = complete if complete is not None else not found.partial
        parts = (found.version, found.expires_at, found.entries, whole, expiries)
        return [found.service, found.key, *map(shown, parts)]
    if isinstance(found, dict):
        return [[key, shown(value)] for key, value in found.items()]
    if isinstance(found, list | tuple):
        return [shown(item) for item in found]
    return found


def raised(error: Exception) -> Told:
    """Return an error as an answer: its class and its message."""
    return Told(raised=type(error).__name__, message=str(error))


class Awaited:
    """A session of asyncio with the verbs of a blocking one."""

    def __init__(self, session: Any, run: Callable[[Any], Any]) -> None:
        self._session = session
        self._run = run

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._session, name)
        if not callable(found):
            return found

        def verb(*arguments: Any, **named: Any) -> Any:
            answer = found(*arguments, **named)  # which verbs are awaited depends on the release
            return self._run(answer) if inspect.iscoroutine(answer) else answer

        return verb

    def __contains__(self, name: str) -> bool:
        return bool(self._run(self._session.contains(name)))


class Medium(MemoryFileSystem):
    """A file system that can lose power in the midst of a step.

    Once armed, it takes an image at the given call of those that change something.
    """

    def __init__(self, before: MemoryFileSystem | None = None) -> None:
        super().__init__()
        self.at_call = 0
        self.take: Callable[[], None] | None = None
        if before is not None:
            self._tree = before._tree

    def record(self, *call: str) -> None:
        super().record(*call)
        if self.take is not None:
            self.at_call -= 1
            if self.at_call <= 0:
                self.fire()

    def fire(self) -> None:
        """Take the image that is due, if one is."""
        take, self.take = self.take, None
        if take is not None:
            take()

    def surviving(self, survivors: Any) -> MemoryFileSystem:
        """Return what is left: "written" as after kill -9, None for what is synced, or a seed."""
        if survivors == "written":
            return self.copy()
        return self.crash(None if survivors is None else Random(survivors))


class Run:
    """One program on one file system and one clock."""

    def __init__(self, options: dict[str, Any], answer: Callable[[Any], None]) -> None:
        self.options = options
        self.answer = answer
        self.clock = manual_clock()
        self.fs = Medium()
        self.fs.makedirs("/home")
        self.snapshots: dict[int, Any] = {}
        self.walks: dict[int, Any] = {}
        self.readers: dict[int, Any] = {}
        self.checkpoints = 0
        self.met = dict.fromkeys(("flushes", "compactions", "dropped_segments", "deepest_level"), 0)
        # For crash images: how many commits have begun, have returned, and are synced.
        self.states = self.returned = self.durable = 0
        self.images: list[tuple[Any, ...]] = []
        self.db = self.open()

    def open(self, path: str = PATH, fs: Any = None, **options: Any) -> Any:
        """Open the database, or another one at ``path``, under this program's clock."""
        chosen = {"background": "none", **self.options, **options}
        return kvengine.open(path, fs=fs or self.fs, clock=self.clock, **chosen)

    def step(self, verb: str, *arguments: Any) -> None:
        """Run one step and answer with what it returned or raised."""
        try:
            found = getattr(self, "do_" + verb)(*arguments)
        except Exception as error:
            found = raised(error)
        self.answer(shown(found))
        self.fs.fire()
        images, self.images = self.images, []
        for image in images:
            self.answer(self.judge(*image))

    def close(self) -> None:
        """Close all that is open; the database last."""
        for walk in self.walks.values():
            getattr(walk, "close", lambda: None)()
        for held in (*self.snapshots.values(), *self.readers.values()):
            held.close()
        self.walks.clear()
        stats = self.db.stats()
        for name in ("flushes", "compactions", "dropped_segments"):
            self.met[name] += getattr(stats, name)
        deepest = max((level.level for level in stats.levels if level.segments), default=0)
        self.met["deepest_level"] = max(self.met["deepest_level"], deepest)
        self.db.close()

    # --- reading: ``source`` is "db", or the number of a snapshot

    def do_read(self, source: Any, verb: str, arguments: Any, named: Any) -> Any:
        """Answer with a read verb of the database or of a snapshot."""
        reader = self.db if source == "db" else self.snapshots.get(source)
        if reader is None:
            return "no such snapshot"
        found = getattr(reader, verb)(*arguments, **named)
        return list(found) if verb in ("scan", "object_keys") else found

    def do_all(self, source: Any, names: Any) -> Any:
        """Answer with everything there is to read, each object also by itself."""
        reader = self.db if source == "db" else self.snapshots.get(source)
        if reader is None:
            return "no such snapshot"
        return [list(reader.scan()), reader.services(), [reader.load(*name) for name in names]]

    def do_walk(self, slot: int, verb: str, arguments: Any, named: Any) -> Any:
        """Begin a scan or a listing that goes on after later steps."""
        self.walks[slot] = iter(getattr(self.db, verb)(*arguments, **named))
        return next(self.walks[slot], "end")

    def do_walk_on(self, slot: int, count: int) -> Any:
        """Go on with a walk."""
        walk = self.walks.get(slot)
        return None if walk is None else [next(walk, "end") for _ in range(count)]

    def do_snapshot(self, slot: int) -> Any:
        """Take a snapshot, and close the one that was in its place."""
        before = self.snapshots.get(slot)
        if before is not None:
            before.close()
        self.snapshots[slot] = self.db.snapshot()
        return self.snapshots[slot].stamp

    def do_close_snapshot(self, slot: int) -> Any:
        """Close a snapshot; later steps may still ask it, which is refused."""
        held = self.snapshots.get(slot)
        return None if held is None else held.close()

    def do_reader(self, slot: int) -> Any:
        """Open the database for reading beside its owner, or follow the owner where it is open."""
        reader = self.readers.get(slot)
        if reader is None:
            reader = self.readers[slot] = self.open(read_only=True)
        else:
            reader.refresh()
        return list(reader.scan())

    # --- writing

    def apply(self, target: Any, operation: Any) -> Any:
        """Call one write verb on the database or on a batch."""
        verb, *arguments = operation
        if verb == "set":
            *name, value, ttl = arguments
            return target.set(*name, value.encode("latin-1"), ttl=ttl)
        if verb == "expire":
            return target.expire(*arguments[:2], ttl=arguments[2])
        if verb == "expire_in":
            # A time that a float holds in full.
            at = round(self.clock.wall() / 1e6 * 2) / 2 + arguments[2]
            return target.expire(*arguments[:2], at=at)
        return getattr(target, verb)(*arguments)

    def do_verb(self, operation: Any) -> Any:
        """Write by a single verb: its stamp, or whether `expire` found the object."""
        return self.apply(self.db, operation)

    def do_batch(self, operations: Any) -> Any:
        """Write by a batch that commits at the end of its block."""
        with self.db.batch() as batch:
            for operation in operations:
                self.apply(batch, operation)
        return batch.stamp

    def do_write(self, operations: Any, durability: str | None, expect: str | None) -> Any:
        """Write a batch, with the versions that its objects have or with a wrong one."""
        batch = kvengine.Batch()
        for operation in operations:
            self.apply(batch, operation)
        versions = None
        if expect is not None:
            names = sorted({(one[1], one[2]) for one in operations if one[0] in ("set", "clear")})
            versions = {name: self.db.version(*name) for name in names}
            if expect == "wrong" and names:
                versions[names[len(names) // 2]] += 1
        return self.db.write(batch, expect=versions, durability=durability)

    def do_call(self, verb: str, arguments: Any, named: Any) -> Any:
        """Call any verb with arguments as they are, wrong ones mostly."""
        found = getattr(self.db, verb)(*arguments, **named)
        return list(found) if verb in ("scan", "object_keys") else found

    def do_bad_value(self, value: Any) -> Any:
        """Set a value that is not bytes."""
        return self.db.set("a", "a", "n", value)

    def do_long_value(self, size: int) -> Any:
        """Set a value of a size that may be over the limit."""
        return self.db.set("a", "a", "n", b"x" * size)

    def do_used_batch(self) -> Any:
        """Write a batch twice."""
        batch = kvengine.Batch()
        batch.set("a", "a", "n", b"twice")
        return [self.db.write(batch), self.db.write(batch)]

    def do_broken_batch(self, operations: Any) -> Any:
        """Leave the block of a batch by an error: nothing is written."""
        with self.db.batch() as batch:
            for operation in operations:
                self.apply(batch, operation)
            raise ArithmeticError("the block of a batch failed")

    def do_session(self, name: Any, how: Any, named: Any, steps: Any, fails: bool) -> Any:
        """Run a session of an object or a workflow, and answer with all that it read.

        ``how``: "asyncio" or "threads", and the retention of a workflow, None for an object.
        """
        found: list[Any] = []
        handle = self.db.object(*name, serde="bytes")
        try:
            with self._session(name, *how, **named) as session:
                for verb, *arguments in steps:
                    try:
                        found.append([verb, self._in_session(session, verb, *arguments)])
                    except kvengine.KVEngineError as error:
                        found.append([verb, raised(error)])
                if fails:
                    raise ArithmeticError("the block of a session failed")
        except Exception as error:
            found.append(raised(error))
        return [found, self.db.version(*name), handle.get_all()]

    @contextmanager
    def _session(
        self, name: Any, runner: str, retention: float | None, **named: Any
    ) -> Iterator[Any]:
        asynchronous = runner == "asyncio"
        if kvengine.__version__.startswith("0.1.") and "read_only" in named:
            named["shared"] = named.pop("read_only")
        db: Any = kvengine.aio.wrap(self.db) if asynchronous else self.db
        if retention is None:
            handle = db.object(*name, serde="bytes")
        else:
            handle = db.workflow(*name, retention=retention, serde="bytes")
        if not asynchronous:
            with handle.session(**named) as session:
                yield session
            return
        with asyncio.Runner() as loop:
            block = handle.session(**named)
            session = loop.run(block.__aenter__())
            try:
                yield Awaited(session, loop.run)
            except BaseException as error:
                loop.run(block.__aexit__(type(error), error, error.__traceback__))
                raise
            loop.run(block.__aexit__(None, None, None))

    def _in_session(self, session: Any, verb: str, *arguments: Any) -> Any:
        if verb in ("set", "clear"):
            # An entry that is known to be absent leaves no commit when it is cleared. What a
            # lazy session knows without asking depends on what is in memory, so let it ask.
            _ = arguments[0] in session
        if verb == "set":
            value = arguments[1].encode("latin-1")
            return session.set(arguments[0], value, ttl=arguments[2])
        if verb == "expire":
            return session.expire(ttl=arguments[0])
        if verb == "in":
            return arguments[0] in session
        if verb == "outside":
            # Between the session's beginning and its commit, which must then be refused.
            return self.apply(self.db, arguments[0])
        if verb in ("version", "expires_at"):
            found = getattr(session, verb)
            return found() if callable(found) else found
        if verb == "state_keys":
            return session.state_keys(prefix=arguments[0], start=arguments[1])
        return getattr(session, verb)(*arguments)

    # --- the engine's own verbs

    def do_flush(self) -> Any:
        """Flush the memtable."""
        return self.db.flush()

    def do_compact(self, service: str | None) -> Any:
        """Compact all, or a service."""
        return self.db.compact(service)

    def do_verify(self) -> Any:
        """Read every byte: how much damage there is."""
        return len(self.db.verify())

    def do_stats(self) -> Any:
        """Answer with those figures that do not depend on the format."""
        stats = self.db.stats()
        return [stats.last_stamp, stats.background_errors, stats.open_snapshots]

    def do_checkpoint(self) -> Any:
        """Make a checkpoint, open it, and answer with what it holds."""
        self.checkpoints += 1
        path = f"/home/checkpoint-{self.checkpoints}"
        self.db.checkpoint(path)
        with self.open(path) as copy:
            found = [list(copy.scan()), len(copy.verify()), copy.set("zz", "", "", b"own")]
        for name in self.fs.listdir(path):
            self.fs.unlink(f"{path}/{name}")
        return found

    # --- time

    def do_advance(self, seconds: float) -> Any:
        """Let time pass."""
        self.clock.advance(seconds)
        return self._look_at_clock()

    def do_set_clock(self, seconds: float) -> Any:
        """Set the wall clock; no time passes."""
        self.clock.step(seconds)
        return self._look_at_clock()

    def _look_at_clock(self) -> Any:
        # Two steps of the clock between two readings look like one, and which verbs read the
        # clock is the engine's own affair: let each step be seen. A snapshot needs the time.
        self.db.snapshot().close()

    # --- life and death

    def do_reopen(self, jump: float, forget: Any) -> Any:
        """Close and open again, under a clock that was set meanwhile."""
        self.close()
        return self._revive(self.fs, jump, forget)

    def do_kill(self, jump: float, forget: Any, touch: bool) -> Any:
        """Go on with what kill -9 leaves. ``touch``: commit first, so that the time is known."""
        if touch:
            self.db.set("zz", "", "touched", b"")
        image = Medium(self.fs.copy())
        # A power cut that is armed meets the recovery.
        image.at_call, image.take, self.fs.take = self.fs.at_call, self.fs.take, None
        self.close()
        return self._revive(image, jump, forget)

    def do_cut(self, survivors: Any, jump: float, forget: Any) -> Any:
        """Go on with what a power cut leaves after a synced commit, which is everything."""
        batch = kvengine.Batch()
        batch.set("zz", "", "synced", b"")
        self.db.write(batch, durability="sync")
        image = Medium(self.fs.surviving(survivors))
        self.close()
        return self._revive(image, jump, forget)

    def _revive(self, fs: Medium, jump: float, forget: Any) -> Any:
        self.snapshots.clear()
        self.readers.clear()
        self.fs = fs
        self.clock.step(jump)
        self.db = self.open()
        stamp = None
        if forget:
            batch = kvengine.Batch()
            for name in forget:
                batch.clear_all(*name)
            stamp = self.db.write(batch)
        return [stamp, self.db.stats().last_stamp]

    # --- crash images: commits whose states are known, and power cuts in their midst

    def do_commit(self, operations: Any, durability: str | None) -> Any:
        """Commit a batch as a state that may be recovered from now on."""
        batch = kvengine.Batch()
        for operation in operations:
            self.apply(batch, operation)
        self.states += 1
        last = self.db.stats().last_stamp
        stamp = self.db.write(batch, durability=durability)
        self.returned = self.states
        # A batch that changes nothing is no commit, and syncs nothing.
        if (durability or self.options["durability"]) == "sync" and stamp > last:
            self.durable = self.states
        return Told(state=self.states, stamp=stamp, scan=shown(list(self.db.scan())))

    def do_settled(self, step: Any) -> Any:
        """Run a step after which all commits are durable."""
        verb, *arguments = step
        getattr(self, "do_" + verb)(*arguments)
        self.durable = self.states
        return Told(settled=verb)

    def do_lose_power(self, at_call: int, survivors: Any) -> Any:
        """Arm: the next step loses power at a call, or when it ends."""

        def take() -> None:
            image = self.fs.surviving(survivors)
            # Where all that was written survives, so does each commit that has returned.
            low = self.returned if survivors == "written" else self.durable
            self.images.append((image, survivors, low, self.states))

        self.fs.at_call, self.fs.take = at_call, take
        return Told(armed=[at_call, survivors])

    def judge(self, image: Any, survivors: Any, low: int, high: int) -> Any:
        """Recover an image: which states it may hold, what it holds, and whether it goes on."""
        found: dict[str, Any] = {"image": shown(survivors), "low": low, "high": high}
        found["now"] = self.clock.wall() / 1e6
        try:
            with self.open(fs=image) as db:
                found["scan"] = shown(list(db.scan()))
                found["verify"] = len(db.verify())
                last = db.stats().last_stamp
                batch = kvengine.Batch()
                batch.set("zz", "", "after", b"still works")
                found["grows"] = db.write(batch, durability="sync") > last
                again = image.crash(None)
            with self.open(fs=again, create=False) as db:
                found["kept"] = db.get("zz", "", "after") == b"still works"
                db.clear_all("zz", "")
                found["same"] = shown(list(db.scan())) == found["scan"]
        except Exception as error:
            found |= raised(error)
        return found


def run(program: dict[str, Any], answer: Callable[[Any], None]) -> dict[str, int]:
    """Run one program, answer by answer; return what it met."""
    try:
        one = Run(program["options"], answer)
    except Exception as error:
        answer(raised(error))
        return {}
    for step in program["steps"]:
        one.step(*step)
    try:
        one.close()
    except Exception as error:
        answer(raised(error))
    return one.met


def main() -> None:
    """Run the programs of stdin; their answers are all that goes to stdout."""
    # Torn tails are what many programs are about, and each is logged.
    logging.getLogger("kvengine").setLevel(logging.CRITICAL)
    print(json.dumps([kvengine.__version__, str(kvengine.__file__)]), flush=True)
    for line in sys.stdin:
        answers: list[Any] = []
        met = run(json.loads(line), answers.append)
        print("\n".join(map(json.dumps, [*answers, [END, met]])), flush=True)


if __name__ == "__main__":
    main()
