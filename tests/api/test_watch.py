"""Watches: each commit is told once it is visible, in order, and nobody waits for who listens."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

import kvengine
import kvengine.aio
from kvengine import Change
from kvengine.fs.memory import MemoryFileSystem
from kvengine.storage import feed


def told(watch: kvengine.Watch) -> list[Change]:
    """What has come so far."""
    return list(iter(watch.poll, None))


def test_what_is_told(db: kvengine.Engine) -> None:
    """Objects by their key, ranges without one; only what was asked for, only from now on."""
    db.set("s", "before", "n", b"1")
    every, some, one = db.watch("s"), db.watch("s", prefix="a"), db.watch("s", "ab")
    stamps = [db.set("s", "ab", "n", b"1"), db.set("s", "b", "n", b"1")]
    db.set("t", "ab", "n", b"1")
    with db.batch() as batch:
        batch.set("s", "a", "n", b"1")
        batch.set("s", "ab", "n", b"2")
        batch.clear("s", "b", "n")
    stamps.append(db.version("s", "a"))
    stamps.append(db.clear_range("s", "a", "b"))
    stamps.append(db.clear_service("s"))
    assert told(every) == [
        *(Change("s", "ab", stamps[0]), Change("s", "b", stamps[1])),
        *(Change("s", key, stamps[2]) for key in ("a", "ab", "b")),
        *(Change("s", None, stamps[3]), Change("s", None, stamps[4])),
    ]
    assert [change.key for change in told(some)] == ["ab", "a", "ab", None, None]
    assert told(one) == [Change("s", "ab", stamps[at]) for at in (0, 2, 3, 4)]
    assert every.poll(0.01) is None


def test_a_change_is_visible_when_it_is_told(tmp_path: Path) -> None:
    """Whoever is told looks at once: the value must be there, and durable."""
    with kvengine.open(tmp_path / "db") as db, db.watch("s") as watch:
        seen: list[int] = []

        def look() -> None:
            for change in watch:
                assert db.version("s", "k") >= change.stamp
                seen.append(change.stamp)

        reader = threading.Thread(target=look)
        reader.start()
        stamps = [db.set("s", "k", "n", b"%d" % number) for number in range(200)]
        while len(seen) < len(stamps):
            time.sleep(0.01)
        db.close()
        reader.join(60)
        assert not reader.is_alive() and seen == stamps


def test_a_slow_reader_is_told_of_a_gap(
    db: kvengine.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it does not take is bounded; then it is told to look again, and of what comes after."""
    monkeypatch.setattr(feed, "MOST", 5)
    slow, one = db.watch("s"), db.watch("s", "7")
    stamps = [db.set("s", f"{number}", "n", b"1") for number in range(8)]
    assert told(slow) == [
        Change("s", None, stamps[5], gap=True),
        Change("s", "6", stamps[6]),
        Change("s", "7", stamps[7]),
    ]
    assert told(one) == [Change("s", "7", stamps[7])]


def test_a_watch_ends(db: kvengine.Engine) -> None:
    """By `close`, by being dropped, and with the database; nothing of it is left behind."""
    watch = db.watch("s")
    db.set("s", "k", "n", b"1")
    watch.close()
    db.set("s", "k", "n", b"2")
    assert [change.key for change in watch] == ["k"], "what came before the end is told"
    dropped = db.watch("s")
    del dropped
    gc.collect()
    db.set("s", "k", "n", b"3")
    assert db._db.feeds == ()
    last = db.watch("s")
    db.close()
    assert list(last) == []
    with pytest.raises(kvengine.DatabaseClosed):
        db.watch("s")


def test_waiting_is_interrupted_by_nothing_but_an_end(db: kvengine.Engine) -> None:
    """One that waits is woken by `close` of another thread, and polls nothing meanwhile."""
    watch = db.watch("s")
    waiting = threading.Thread(target=lambda: list(watch))
    waiting.start()
    time.sleep(0.05)
    assert waiting.is_alive()
    watch.close()
    waiting.join(60)
    assert not waiting.is_alive()


def test_each_change_goes_to_one_of_those_who_share_a_watch(db: kvengine.Engine) -> None:
    watch = db.watch("s")
    taken: list[int] = []
    threads = [
        threading.Thread(target=lambda: taken.extend(change.stamp for change in watch))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    stamps = [db.set("s", f"{number}", "n", b"1") for number in range(500)]
    while len(taken) < len(stamps):
        time.sleep(0.01)
    watch.close()
    for thread in threads:
        thread.join(60)
    assert sorted(taken) == stamps


def test_bad_watches_are_refused(db: kvengine.Engine, fs: MemoryFileSystem) -> None:
    with pytest.raises(ValueError, match="a key or prefix=, not both"):
        db.watch("s", "k", prefix="k")
    with pytest.raises(TypeError, match="service must be str"):
        db.watch(None)  # type: ignore[arg-type]
    with kvengine.open("/db", fs=fs, read_only=True) as reader:
        with pytest.raises(kvengine.ReadOnly):
            reader.watch("s")


def test_asyncio_watches(tmp_path: Path) -> None:
    """Commits of threads and of tasks wake the loop; closing ends the walk."""

    async def main() -> None:
        async with kvengine.aio.open(tmp_path / "db") as db:
            seen: list[Change] = []
            watch = db.watch("s")

            async def look() -> None:
                async for change in watch:
                    assert await db.version("s", str(change.key)) >= change.stamp
                    seen.append(change)

            looking = asyncio.create_task(look())
            stamps = [await db.set("s", f"{number}", "n", b"1") for number in range(50)]
            stamps += [
                await asyncio.to_thread(db.engine.set, "s", f"{number}", "n", b"2")
                for number in range(50)
            ]
            while len(seen) < len(stamps):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            assert [change.stamp for change in seen] == stamps
            watch.close()
            await asyncio.wait_for(looking, 60)
            async with db.watch("s", "k") as other:
                ended = asyncio.create_task(anext(aiter(other), None))
                await asyncio.sleep(0)
        assert await ended is None

    asyncio.run(main())


def test_asyncio_watches_that_are_dropped_end(tmp_path: Path) -> None:
    """What woke one knew it, so that none was ever collected, and each was told for good."""

    async def main() -> None:
        async with kvengine.aio.open(tmp_path / "db") as db:
            watches = [db.watch("s") for _ in range(10)]
            await db.set("s", "k", "n", b"1")
            del watches
            await db.set("s", "k", "n", b"2")
            assert db.engine._db.feeds == ()

    asyncio.run(main())


@pytest.fixture
def failing(tmp_path: Path) -> Iterator[kvengine.Engine]:
    with suppress(kvengine.OwnerLost), kvengine.open(tmp_path / "db") as db:
        yield db


@pytest.mark.parametrize("why", ["the disk failed", "the directory is gone"])
def test_a_watch_tells_that_writes_have_stopped(failing: kvengine.Engine, why: str) -> None:
    """Nothing will come any more: who waits is told why, instead of waiting on."""
    watch = failing.watch("s")
    raised: list[BaseException] = []

    def wait() -> None:
        try:
            next(watch)
        except kvengine.KVEngineError as error:
            raised.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    if why == "the disk failed":
        failing._db.fail(OSError(5, "it broke"))
    else:
        os.rename(failing.path, f"{failing.path}.aside")
        with pytest.raises(kvengine.OwnerLost):
            failing._db.check_owner()
    waiting.join(60)
    assert isinstance(raised[0], (kvengine.WriteFailed, kvengine.OwnerLost))


def test_a_handler_polls_within_a_commit(db: kvengine.Engine) -> None:
    """A signal handler polled a watch in the midst of a commit of its thread: of a change that was
    told and not yet visible it waited for the commit lock, which its own thread had, for ever.
    """
    watch = db.watch("s")
    outcome: list[object] = []

    def commit() -> None:
        with db._db.commit_lock:
            told_early = Change("s", "k", db._db.published + 1)
            watch._feed._changes.append(told_early)
            try:
                outcome.append(watch.poll())
            except kvengine.KVEngineError as error:
                outcome.append(str(error))

    thread = threading.Thread(target=commit, daemon=True)
    thread.start()
    thread.join(20)
    assert outcome == ["called inside a commit, by a signal handler or a finalizer"]
    watch._feed.forget()
    stamp = db.set("s", "k", "n", b"1")
    assert told(watch) == [Change("s", "k", stamp)], "the watch goes on"


def test_an_interrupted_wait_loses_no_change(db: kvengine.Engine) -> None:
    """A change was taken first and waited for then: an interrupt of the wait lost it, untold."""
    watch = db.watch("s")
    stamp = db.set("s", "k", "n", b"1")

    class Interrupted:
        def __enter__(self) -> None:
            raise KeyboardInterrupt

        def __exit__(self, *error: object) -> None: ...

    class Unpublished:
        published = 0
        commit_lock = Interrupted()

        def refuse_nested(self) -> None: ...

    watch._feed._db, real = Unpublished(), watch._feed._db  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        watch.poll()
    watch._feed._db = real
    assert told(watch) == [Change("s", "k", stamp)]


def test_all_who_wait_are_told_that_writes_have_stopped(failing: kvengine.Engine) -> None:
    """Of threads that shared a watch one was told; the others waited on."""
    watch = failing.watch("s")
    raised: list[BaseException] = []

    def wait() -> None:
        try:
            next(watch)
        except kvengine.WriteFailed as error:
            raised.append(error)

    waiting = [threading.Thread(target=wait, daemon=True) for _ in range(4)]
    for thread in waiting:
        thread.start()
    time.sleep(0.05)
    failing._db.fail(OSError(5, "it broke"))
    for thread in waiting:
        thread.join(20)
    assert len(raised) == 4


def test_a_poll_of_what_is_closed_says_so(db: kvengine.Engine) -> None:
    """It returned None at once whatever its timeout: a loop of polls turned as fast as it could."""
    watch, other = db.watch("s"), db.watch("s")
    stamp = db.set("s", "k", "n", b"1")
    watch.close()
    assert watch.poll() == Change("s", "k", stamp), "what came before"
    with pytest.raises(kvengine.DatabaseClosed, match="this watch is closed"):
        watch.poll(60)
    db.close()
    assert other.poll(60) == Change("s", "k", stamp)
    with pytest.raises(kvengine.DatabaseClosed, match="this watch is closed"):
        other.poll(60)


def test_timeouts_of_poll(db: kvengine.Engine) -> None:
    """As of a session: seconds or a timedelta. A large one raised OverflowError."""
    watch = db.watch("s")
    assert watch.poll(timedelta(milliseconds=1)) is None
    with pytest.raises(ValueError, match="timeout must be 0 or more seconds"):
        watch.poll(-1)
    with pytest.raises(TypeError, match="timeout must be seconds, a timedelta or None, not str"):
        watch.poll("1")  # type: ignore[arg-type]
    threading.Timer(0.05, db.set, ("s", "k", "n", b"1")).start()
    assert watch.poll(1e18) is not None
    threading.Timer(0.05, db.set, ("s", "k", "n", b"1")).start()
    assert watch.poll(None) is not None


def test_watches_that_have_ended_cost_nothing(db: kvengine.Engine) -> None:
    """Each was kept, and asked at each commit, until a commit came that found it over."""
    for _ in range(100):
        db.watch("s").close()
    assert len(db._db.feeds) <= 1
    db.set("s", "k", "n", b"1")
    assert db._db.feeds == ()


def test_one_commit_is_told_once_for_an_object(db: kvengine.Engine) -> None:
    """A batch that cleared a range and set an object in it was told twice to the object's watch."""
    watch = db.watch("s", "k")
    with db.batch() as batch:
        batch.clear_service("s")
        batch.set("s", "k", "n", b"1")
    assert told(watch) == [Change("s", "k", db.version("s", "k"))]


def test_watches_and_moments_of_a_face_that_is_closed(tmp_path: Path) -> None:
    """`kvengine.aio.wrap` gives a face that is closed alone: its watches waited on, for ever, and
    snapshots and walks could still be opened through it, which nobody closed.
    """

    async def main() -> None:
        with kvengine.open(tmp_path / "db") as engine:
            face, other = kvengine.aio.wrap(engine), kvengine.aio.wrap(engine)
            waiting = asyncio.create_task(anext(face.watch("s"), None))  # type: ignore[arg-type]
            going_on = other.watch("s")
            await asyncio.sleep(0)
            await face.close()
            assert await asyncio.wait_for(waiting, 20) is None
            for use in (
                face.snapshot,
                lambda: face.object_keys("s"),
                face.scan,
                lambda: face.workflows("s"),
                lambda: face.watch("s"),
            ):
                with pytest.raises(kvengine.DatabaseClosed):
                    use()
            assert engine.stats().open_snapshots == 0
            engine.set("s", "k", "n", b"1")
            assert (await anext(going_on)).key == "k"
            await other.close()

    asyncio.run(main())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_is_told_nothing(db: kvengine.Engine) -> None:
    """It got changes from before the fork, of a database that it may not use."""
    watch = db.watch("s")
    db.set("s", "k", "n", b"1")
    child = os.fork()
    if not child:
        try:
            watch.poll()
        except kvengine.ForkedError:
            os._exit(0)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    assert watch.poll() is not None


def test_an_interrupt_of_a_poll_loses_no_change(db: kvengine.Engine) -> None:
    """One that came after a change was taken, and before it was given, lost it without a gap."""
    watch = db.watch("s")
    stamps = [db.set("s", f"{number}", "n", b"1") for number in range(3)]

    def interrupted() -> None:
        raise KeyboardInterrupt

    ring, watch._feed.ring = watch._feed.ring, interrupted  # it is rung when a change was taken
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            watch.poll()
    watch._feed.ring = ring
    assert [change.stamp for change in told(watch)] == stamps


def test_changes_that_are_dropped_leave_a_gap_in_one_step(
    db: kvengine.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They were dropped, and the gap was put in their place: an interrupt in between lost both."""
    monkeypatch.setattr(feed, "MOST", 3)
    watch = db.watch("s")
    for number in range(3):
        db.set("s", f"{number}", "n", b"1")

    class Interrupting(deque[Change]):
        def clear(self) -> None:
            super().clear()
            raise KeyboardInterrupt

    watch._feed._changes = Interrupting(watch._feed._changes)
    with suppress(KeyboardInterrupt):
        db.set("s", "3", "n", b"1")
    assert any(change.gap for change in told(watch))


def test_a_busy_loop_is_rung_once(tmp_path: Path) -> None:
    """Each commit put a call into the loop, which ran none of them: 60,000 of them were waiting."""

    async def main() -> None:
        async with kvengine.aio.open(tmp_path / "db", durability="os") as db:
            watch = db.watch("s")
            calls: list[object] = []
            loop = watch._bell._loop

            class Counting:
                def call_soon_threadsafe(self, call: Callable[[], object]) -> None:
                    calls.append(call)
                    loop.call_soon_threadsafe(call)

            watch._bell._loop = Counting()  # type: ignore[assignment]
            for number in range(100):
                db.engine.set("s", f"{number}", "n", b"1")
            assert len(calls) == 1
            assert [(await anext(watch)).key for _ in range(100)] == [f"{n}" for n in range(100)]
            waiting = asyncio.create_task(anext(watch))
            await asyncio.sleep(0.01)
            db.engine.set("s", "last", "n", b"1")
            assert (await asyncio.wait_for(waiting, 20)).key == "last"

    asyncio.run(main())
