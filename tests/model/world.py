"""An engine and the reference side by side: every action goes to both, and answers must agree.

An action is a plain tuple, (name, seed, arguments...), so that a program can be
printed, repeated and cut down. ``seed`` chooses the reads that follow it.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import kvengine
from kvengine.fs import MemoryFileSystem
from kvengine.storage.batch import Complete
from kvengine.storage.clock import SECOND, ManualClock
from kvengine.storage.segment.reader import LiveSegment
from kvengine.testing.contract.moment import SERVICES, Difference, Moment, agree
from kvengine.testing.contract.reference import Conflict, Operation, Reference
from tests.model.events import EVENTS, look
from tests.model.reference_clock import MAX_STEP, ReferenceClock

Action = tuple[Any, ...]

PATH = "/db"


class World:
    """One program's engine and reference."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = dict(options, background="none", max_clock_step=MAX_STEP)
        self.source = ManualClock()
        self.fs = MemoryFileSystem()
        self.reference = Reference()
        self.snapshots: list[Moment] = []
        self.walks: list[tuple[Iterator[Any], Iterator[Any]]] = []
        self.checkpoints = 0
        self.committed_now = self.synced_now = self.peak = 0
        self.synced = Reference()
        self.unsynced: list[tuple[Sequence[Operation], int]] = []
        self._open()
        self.clock = ReferenceClock(self.source, self.engine_now())
        self.live = Moment(self.db, self.reference, lambda: self.clock.now)

    def _open(self) -> None:
        self.db = kvengine.open(PATH, fs=self.fs, clock=self.source, **self.options)
        self.seen = self.segments()

    def engine_now(self) -> int:
        return self.db._db.clock.now()

    def segments(self) -> dict[int, LiveSegment]:
        return {one.meta.number: one for one in self.db._db.view.version}

    # --- one step

    def step(self, action: Action) -> None:
        name, seed, *arguments = action
        dropped = self.db.stats().dropped_segments
        getattr(self, "do_" + name)(*arguments)
        self.clock.observe()
        agree("now", self.engine_now(), self.clock.now)
        self.peak = max(self.peak, self.clock.now)
        agree("background error", self.db.stats().last_background_error, "")
        self._look(dropped)
        random_ = random.Random(seed)
        self.live.compare_some(random_)
        if random_.random() < 0.06:
            self.live.compare_all()
        if self.snapshots:
            one = random_.choice(self.snapshots)
            one.compare_some(random_)
            if random_.random() < 0.03:
                one.compare_all()
        if random_.random() < 0.01:
            agree("verify()", self.db.verify(), [])

    def _look(self, dropped: int) -> None:
        if self.segments().keys() == self.seen.keys() and not self.seen:
            return
        after = self.segments()
        if self.db.stats().dropped_segments > dropped:
            EVENTS["whole segment dropped"] += 1
            gone = self.seen.keys() - after.keys()
            if any(one.reader._fixed_moment.view.version.files & gone for one in self.snapshots):
                EVENTS["snapshot held over a drop"] += 1
        look(self.seen, after)
        self.seen = after

    def finish(self) -> None:
        """The last comparison of a program, also after a clean close."""
        for one in self.snapshots:
            one.compare_all()
        self.live.compare_all()
        self.do_reopen()
        self.live.compare_all()
        agree("verify()", self.db.verify(), [])
        self.close()

    def close(self) -> None:
        for walk, _ in self.walks:
            getattr(walk, "close", lambda: None)()
        self.walks.clear()
        for one in self.snapshots:
            one.reader.close()
        self.snapshots.clear()
        self.db.close()

    # --- writing

    def do_write(
        self, operations: Sequence[Operation], durability: str | None, expect: str | None
    ) -> None:
        """One batch; ``expect``: the versions its objects have, or one that differs."""
        self._commit(operations, durability, expect, alone=False)

    def do_verb(self, operation: Operation) -> None:
        self._commit([operation], None, None, alone=True)

    def _commit(
        self,
        operations: Sequence[Operation],
        durability: str | None,
        expect: str | None,
        *,
        alone: bool,
    ) -> None:
        self.clock.observe()
        now = self.clock.now
        operations = [self._timed(one, now) for one in operations]
        versions = self._versions(operations, now) if expect else {}
        if expect == "wrong" and versions:
            name = sorted(versions)[len(versions) // 2]
            versions[name] += 1
        before = self.reference.last_stamp
        try:
            stamp, existed = self.reference.commit(operations, now, versions)
            wanted: Any = existed if alone and operations[0][0] == "expire" else stamp
        except Conflict as conflict:
            EVENTS["write refused by expect"] += 1
            wanted = conflict.args
        try:
            found: Any = _apply(self.db, operations, durability, versions, alone)
        except kvengine.VersionConflict as conflict:
            found = (conflict.service, conflict.key, conflict.expected, conflict.actual)
        agree(f"stamp or answer of {operations}", found, wanted)
        if self.reference.last_stamp > before:
            self.committed_now = now
            self.unsynced.append((operations, now))
            if (durability or self.options["durability"]) == "sync":
                self.know_synced()

    @staticmethod
    def _timed(operation: Operation, now: int) -> Operation:
        """``expire_in`` becomes an expire at a time that a float holds in full."""
        if operation[0] != "expire_in":
            return operation
        _, service, key, seconds = operation
        return ("expire", service, key, round(now / SECOND * 2) / 2 + seconds, None)  # type: ignore[operator]

    def _versions(self, operations: Sequence[Operation], now: int) -> dict[Any, int]:
        names = {one[1:3] for one in operations if one[0] in ("set", "clear", "clear_all")}
        return {name: self.reference.version(*name, now) for name in names}  # type: ignore[misc]

    def know_synced(self) -> None:
        """All commits so far survive a power cut."""
        for operations, now in self.unsynced:
            self.synced.commit(operations, now)
        self.synced.last_stamp = self.reference.last_stamp
        self.unsynced.clear()
        self.synced_now = self.committed_now

    # --- the engine's own verbs

    def do_flush(self) -> None:
        self.db.flush()
        if not self.db.stats().memtable_objects:
            self.know_synced()

    def do_compact(self, service: str | None) -> None:
        self.db.compact(service)

    def do_background(self, meanwhile: Sequence[Action], first: bool) -> None:
        """Steps of background work; ``meanwhile`` happens as its first job runs."""
        todo = list(meanwhile)
        maintenance, committer = self.db._maintenance, self.db._committer

        def execute(job: Any) -> Any:
            outputs = None if first else self.db._scheduler._execute(job)
            committer._maintain, wake = lambda: None, committer._maintain
            try:
                while todo and not self.db._db.stalled:
                    EVENTS["commit while a job runs"] += 1
                    name, _, *arguments = todo.pop(0)
                    getattr(self, "do_" + name)(*arguments)
            finally:
                committer._maintain = wake
            return self.db._scheduler._execute(job) if outputs is None else outputs

        maintenance.rotate_step(force=first and bool(todo))
        while maintenance.flush_step(execute) or maintenance.compact_step(execute):
            pass

    def do_snapshot(self) -> None:
        if len(self.snapshots) < 3:
            snapshot = self.db.snapshot()
            self.clock.observe()
            now = self.clock.now
            agree("snapshot.stamp", snapshot.stamp, self.reference.last_stamp)
            self.snapshots.append(Moment(snapshot, self.reference.copy(), lambda: now))

    def do_close_snapshot(self, which: int) -> None:
        if self.snapshots:
            one = self.snapshots.pop(which % len(self.snapshots))
            one.compare_all()
            one.reader.close()

    def do_walk(self, reverse: bool) -> None:
        """Begin a walk of everything, to go on after other actions; it sees one moment."""
        self.clock.observe()
        wanted = list(self.reference.scan(None, "", self.clock.now))
        found: Iterator[Any] = self.db.scan()
        if reverse:
            service = SERVICES[0]
            keys = self.reference.object_keys(service, "", None, None, True, None, self.clock.now)
            found, wanted = self.db.object_keys(service, reverse=True), keys  # type: ignore[assignment]
        self.walks.append((found, iter(wanted)))
        if len(self.walks) > 2:
            self.do_walk_on(9999)
            self.walks.pop(0)

    def do_walk_on(self, count: int) -> None:
        for found, wanted in self.walks[:1]:
            for _ in range(count):
                EVENTS["iterator held over writes"] += 1
                one = next(wanted, None)
                agree("next of a walk", next(found, None), one)
                if one is None:
                    break

    def do_checkpoint(self) -> None:
        self.checkpoints += 1
        path = f"/checkpoint-{self.checkpoints}"
        self.db.checkpoint(path)
        self.know_synced()
        self.clock.observe()
        with kvengine.open(path, fs=self.fs, clock=self.source, **self.options) as copy:
            now = copy._db.clock.now()
            if now >= self.clock.now:
                Moment(copy, self.reference, lambda: now).compare_all()
            agree("verify() of a checkpoint", copy.verify(), [])
        for name in self.fs.listdir(path):
            self.fs.unlink(f"{path}/{name}")

    # --- time

    def do_advance(self, seconds: float) -> None:
        self.source.advance(seconds)

    def do_jump(self, seconds: float) -> None:
        """The wall clock is set; no time passes."""
        self.source.step(seconds)

    # --- life and death

    def do_reopen(self, jump: float = 0.0) -> None:
        self.clock.observe()
        self.close()
        self.committed_now = self.clock.now
        self.know_synced()
        self._revive(jump)

    def do_kill(self, jump: float = 0.0) -> None:
        """kill -9, and an open under another clock."""
        image = self.fs.copy()
        if self.db.stats().memtable_objects:
            EVENTS["killed with commits in memory"] += 1
        self.close()
        self.fs = image
        self._revive(jump)
        agree("last stamp", self.db.stats().last_stamp, self.reference.last_stamp)

    def do_cut(self, seed: int, jump: float = 0.0) -> None:
        """A power cut: what comes back is a prefix that holds everything synced."""
        image = self.fs.crash(random.Random(seed) if seed else None)
        self.close()
        self.fs = image
        self.committed_now = self.synced_now
        self.source.step(jump)
        self._open()
        self._find_prefix()
        self.live = Moment(self.db, self.reference, lambda: self.clock.now)
        self._settle_time()

    def _find_prefix(self) -> None:
        """The reference becomes the longest prefix that the engine agrees with."""
        now = self.engine_now()
        found = list(self.db.scan())
        low = min(now, self.clock.now)
        one, match = self.synced.copy(), None
        last = self.db.stats().last_stamp
        for count in range(len(self.unsynced) + 1):
            if count:
                one.commit(*self.unsynced[count - 1])
            if one.last_stamp <= last and _may_be(found, one, now, low, self.peak):
                match = one.copy(), count
        if match is None:
            wanted = list(self.synced.scan(None, "", now))
            raise Difference(f"no prefix of the commits: {found!r}; synced: {wanted!r}")
        self.reference, kept = match
        if kept < len(self.unsynced):
            EVENTS["power cut lost a suffix"] += 1
        self.reference.last_stamp = last
        self.synced = self.reference.copy()
        self.unsynced.clear()

    def _revive(self, jump: float) -> None:
        self.source.step(jump)
        self._open()
        self.live = Moment(self.db, self.reference, lambda: self.clock.now)
        self.know_synced()
        self._settle_time()

    def _settle_time(self) -> None:
        """After an open: is now what it must be, and is expired data gone that must be?"""
        now, wall = self.engine_now(), self.source.wall()
        before, held = self.clock.now, self.committed_now
        if before - wall <= MAX_STEP * SECOND and now < held:
            raise Difference(f"now is {now}, behind {held}, at which a commit or close was made")
        if now < wall:
            raise Difference(f"now is {now}, behind the wall clock {wall}")
        self.clock = ReferenceClock(self.source, now)
        if held > now:
            self.committed_now = 0
        if self.synced_now > now:
            self.synced_now = 0
        if now < max(before, self.peak):
            EVENTS["reopened under an earlier clock"] += 1
            self._forget_doubtful(now)
        self.peak = now

    def _forget_doubtful(self, now: int) -> None:
        """What expired in a time that has not come yet may be there or not: clear it in both."""
        for name, thing in list(self.reference.things.items()):
            if thing.touched_by_time(now, self.peak):
                alive = thing.live(now)
                found = self.db.get_all(*name)
                if not found.items() <= alive.items():
                    raise Difference(f"{name} came back as {found!r}, it was {alive!r}")
                self._commit([("clear_all", *name)], "sync", None, alone=False)


def _may_be(found: list[Any], one: Reference, now: int, low: int, peak: int) -> bool:
    """Whether the reference can read as ``found``, give or take what time made doubtful."""
    doubtful = {n for n, thing in one.things.items() if thing.touched_by_time(low, peak)}

    def certain(objects: Iterable[Any]) -> list[Any]:
        return [stored for stored in objects if (stored.service, stored.key) not in doubtful]

    return certain(found) == certain(one.scan(None, "", now))


def _apply(
    db: Any,
    operations: Sequence[Operation],
    durability: str | None,
    expect: dict[Any, int],
    alone: bool,
) -> Any:
    if alone:
        return call(db, operations[0])
    if durability is None and not expect:
        with db.batch() as batch:
            for operation in operations:
                call(batch, operation)
        return batch.stamp
    batch = kvengine.Batch()
    for operation in operations:
        call(batch, operation)
    return db.write(batch, expect=expect, durability=durability)


def call(target: Any, operation: Operation) -> Any:
    """One write verb, on a store or a batch."""
    verb, *arguments = operation
    if verb == "set":
        return target.set(*arguments[:4], ttl=arguments[4])
    if verb == "expire":
        return target.expire(*arguments[:2], at=arguments[2], ttl=arguments[3])
    if verb == "complete":
        service, key, retention = arguments
        batch = target if isinstance(target, kvengine.Batch) else kvengine.Batch()
        batch.operations.append(Complete((service, key), retention))
        return None if batch is target else target.write(batch)
    return getattr(target, str(verb))(*arguments)
