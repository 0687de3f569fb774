"""A client of asyncio asks by its event loop: many requests under way, answered in order."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

import kvengine
import kvengine.aio
from kvengine.aio.waiting import Threads
from kvengine.share import requests, wire
from kvengine.share.awaited import AsyncSharedStore
from kvengine.share.link import Broken
from kvengine.share.owner import MOST_LENT, MOST_LINKS, RemoteOwner
from kvengine.share.pipeline import MOST_BYTES, MOST_WRITING, Pipeline
from kvengine.share.server import MOST_OF_A_CLIENT, Server
from tests.share.campaign import OWNER, end, kill, start
from tests.share.raw import eventually

Work = Callable[[AsyncSharedStore], Coroutine[Any, Any, None]]


def connected(path: str | Path, work: Work, **options: Any) -> None:
    """Do something with a client whose loop has its connections."""

    async def run() -> None:
        db: Any = await kvengine.aio.connect(path, **options)
        async with db:
            await warm(db)
            await work(db)

    asyncio.run(run())


async def warm(db: AsyncSharedStore) -> None:
    """Return when the event loop has connections of its own, both for reads and for commits."""
    pipelines = None
    async with asyncio.timeout(10):
        while pipelines is None or not (pipelines._reading and pipelines._writing):
            await db.get("warm", "k", "n")
            await db.clear("warm", "k", "n")
            pipelines = db._waits._pipelines


async def until(condition: Callable[[], object]) -> None:
    """Return when a condition has come true."""
    while not condition():  # noqa: ASYNC110 - of any kind
        await asyncio.sleep(0.001)


def is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().split()[2] == "T"


def test_the_event_loop_asks_by_itself(
    owner: kvengine.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reads, commits and sessions need no thread."""
    begun: list[object] = []
    run = Threads.run

    def counted(self: Threads, work: Any, *args: Any, **kw: Any) -> Any:
        begun.append(work)
        return run(self, work, *args, **kw)

    async def work(db: AsyncSharedStore) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(Threads, "run", counted)
            obj = db.object("s", "k")
            await obj.set("n", 1)
            await db.set("s", "k", "m", b"1")
            async with db.batch() as batch:
                batch.set("s", "k", "o", b"1")
            async with obj.session() as state:
                state.set("n", await state.get("n") + 1)
            assert await obj.get("n") == 2
            assert await db.exists("s", "k") and await db.version("s", "k")
            assert await db.state_keys("s", "k") == ["m", "n", "o"]
        assert begun == []

    connected(owner.path, work)


def test_a_session_that_was_loaded_in_part_reads_the_rest(owner: kvengine.Engine) -> None:
    for name in "abc":
        owner.set("s", "k", name, name.encode() * 20_000)

    async def work(db: AsyncSharedStore) -> None:
        async with db.object("s", "k", serde="bytes").session(preload=False) as state:
            assert await state.get("c") == b"c" * 20_000
            assert await state.state_keys() == ["a", "b", "c"]
            state.set("a", b"changed")
            await state.commit()
            assert await state.get("b") == b"b" * 20_000
        assert await db.get("s", "k", "a") == b"changed"

    connected(owner.path, work)


def test_each_gets_its_own_answer(owner: kvengine.Engine) -> None:
    """However many ask at once, and whoever gives up meanwhile: answers come in order."""
    for number in range(200):
        owner.set("s", f"{number}", "n", f"{number}".encode() * number * 20)

    async def work(db: AsyncSharedStore) -> None:
        async def check(number: int) -> None:
            found = await db.get("s", f"{number}", "n")
            assert found == f"{number}".encode() * number * 20

        for cancelled in range(3):
            tasks = [asyncio.create_task(check(number)) for number in range(200)]
            await asyncio.sleep(0)
            for task in tasks[cancelled::3]:
                task.cancel()
            found = await asyncio.gather(*tasks, return_exceptions=True)
            given_up = [each for each in found if isinstance(each, asyncio.CancelledError)]
            assert len(given_up) + found.count(None) == 200
            assert given_up
        await check(7)

    connected(owner.path, work)


@pytest.mark.parametrize("size", [MOST_BYTES - 1000, MOST_BYTES + 1000, 3_000_000])
def test_more_than_a_socket_takes_at_once(owner: kvengine.Engine, size: int) -> None:
    """Requests wait in the client while the owner reads others; large ones go by a thread."""
    count = max(8, 20_000_000 // size // 2)

    async def work(db: AsyncSharedStore) -> None:
        value = os.urandom(size)
        await asyncio.gather(*(db.set("s", f"{n}", "n", value) for n in range(count)))
        found = await asyncio.gather(*(db.get("s", f"{n}", "n") for n in range(count)))
        assert found == [value] * count

    connected(owner.path, work)


def test_a_read_does_not_wait_for_the_sync_of_a_commit(
    owner: kvengine.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commits have connections of their own, so that one of each waits behind no other."""
    syncs = asyncio.Event()
    finish = type(owner)._finish_write
    is_held = True

    def held(self: kvengine.Engine, commit: Any) -> int:
        while is_held:
            time.sleep(0.01)
        return finish(self, commit)

    async def work(db: AsyncSharedStore) -> None:
        nonlocal is_held
        monkeypatch.setattr(type(owner), "_finish_write", held)
        many = [
            asyncio.create_task(db.write(batch(n), durability="sync")) for n in range(MOST_WRITING)
        ]
        await asyncio.sleep(0.05)
        try:
            async with asyncio.timeout(10):
                assert await db.get("s", "k", "n") is None
            assert not any(each.done() for each in many)
        finally:
            is_held = False
        await asyncio.gather(*many)
        syncs.set()

    def batch(number: int) -> kvengine.Batch:
        made = kvengine.Batch()
        made.set("s", f"{number}", "n", b"1")
        return made

    connected(owner.path, work)
    assert syncs.is_set()


def test_many_loops_leave_connections_to_threads(
    owner: kvengine.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An owner takes 64 of a client. Loops that get none ask by threads."""

    lent: list[int] = []
    lend = RemoteOwner.lend

    def noted(self: RemoteOwner) -> Any:
        found = lend(self)
        lent.append(len(self._lent))
        return found

    def run(number: int) -> None:
        async def work(db: AsyncSharedStore) -> None:
            async with asyncio.timeout(20):
                while True:
                    await asyncio.gather(
                        *(db.set("s", f"{number} {n}", "n", b"1") for n in range(40))
                    )
                    if max(lent, default=0) > MOST_WRITING:
                        break

        async def run() -> None:
            db: Any = await kvengine.aio.open(owner.path, share=True)
            async with db:
                await work(db)

        asyncio.run(run())

    monkeypatch.setattr(RemoteOwner, "lend", noted)
    with kvengine.open(owner.path, share=True) as db:
        threads = [threading.Thread(target=run, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            db.get("s", "k", "n")
    assert MOST_WRITING < max(lent) <= MOST_LENT
    assert 1 + MOST_LINKS + MOST_LENT <= MOST_OF_A_CLIENT
    assert owner.count("s") == 240


def test_what_was_dropped_is_told_to_the_owner(owner: kvengine.Engine) -> None:
    """By a client whose threads have no connection: nobody asked by one of them."""
    owner.set("s", "k", "n", b"1")

    async def work(db: AsyncSharedStore) -> None:
        snapshot = db.snapshot()
        async with snapshot:
            assert owner.stats().open_snapshots == 1
            remote: Any = db.store._member.at_hand
            while remote._idle:
                remote._idle.pop().close()
        while owner.stats().open_snapshots:
            await db.get("s", "k", "n")
            await asyncio.sleep(0.01)

    connected(owner.path, work)


def test_it_goes_on_under_the_next_owner(tmp_path: Path) -> None:
    """Reads and commits that the owner did not answer are sent to the next one."""
    first = start(OWNER, str(tmp_path / "db"), "os")
    second = start(OWNER, str(tmp_path / "db"), "os")

    async def work(db: AsyncSharedStore) -> None:
        obj = db.object("s", "k")
        done = 0

        async def bump() -> None:
            nonlocal done
            async with obj.session() as state:
                await state.increment("n")
            done += 1

        async def many() -> None:
            for _ in range(50):
                await bump()

        tasks = [asyncio.create_task(many()) for _ in range(4)]
        await until(lambda: done >= 20)
        kill(first)
        await asyncio.gather(*tasks)
        assert done == await obj.get("n") == 200

    connected(tmp_path / "db", work)
    end(second)


def test_a_commit_whose_answer_was_lost_lands_once(
    owner: kvengine.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner finds it by its token when it is sent again, and it conflicts with nothing."""
    lost: list[object] = []
    send = Server._send

    def hang_up(self: Server, connection: Any, parts: Any) -> None:
        monkeypatch.setattr(Server, "_send", send)
        lost.append(connection)
        self._drop(connection)

    async def work(db: AsyncSharedStore) -> None:
        batch = kvengine.Batch()
        batch.set("s", "k", "n", b"1")
        monkeypatch.setattr(Server, "_send", hang_up)
        stamp = await db.write(batch, expect={("s", "k"): 0}, durability="os")
        assert stamp == batch.stamp == await db.version("s", "k")

    connected(owner.path, work)
    assert len(lost) == 1


def test_a_stopped_owner(tmp_path: Path) -> None:
    """Reads end by timeout; of commits it is not known whether they will be made."""
    owner = start(OWNER, str(tmp_path / "db"), "os")

    async def work(db: AsyncSharedStore) -> None:
        owner.send_signal(signal.SIGSTOP)
        await until(lambda: is_stopped(owner.pid))
        await asyncio.sleep(0.1)  # each of its threads stops by itself
        found = await asyncio.gather(
            *(db.get("s", "k", "n") for _ in range(3)),
            *(db.set("s", "k", "n", b"1") for _ in range(3)),
            return_exceptions=True,
        )
        assert {type(each) for each in found[:3]} == {kvengine.Unavailable}
        assert {type(each) for each in found[3:]} <= {
            kvengine.OutcomeUnknown,
            kvengine.Unavailable,
        }
        assert any(isinstance(each, kvengine.OutcomeUnknown) for each in found[3:])
        owner.send_signal(signal.SIGCONT)
        assert await db.get("s", "k", "n") in (b"1", None)

    try:
        connected(tmp_path / "db", work, timeout=0.5)
    finally:
        owner.send_signal(signal.SIGCONT)
        end(owner)


def test_a_loop_that_is_busy_takes_no_owner_for_silent(owner: kvengine.Engine) -> None:
    """An answer that arrived while the loop did something else is an answer."""

    async def work(db: AsyncSharedStore) -> None:
        task = asyncio.create_task(db.get("s", "k", "n"))
        await asyncio.sleep(0)
        time.sleep(0.8)  # noqa: ASYNC251 - it is what this is about
        assert await task is None

    connected(owner.path, work, timeout=0.5)


def test_a_close_waits_for_what_has_begun(owner: kvengine.Engine) -> None:
    async def work(db: AsyncSharedStore) -> None:
        tasks = [asyncio.create_task(db.set("s", f"{n}", "n", b"1")) for n in range(20)]
        await asyncio.sleep(0)
        await db.close()
        await asyncio.gather(*tasks)
        with pytest.raises(kvengine.DatabaseClosed):
            await db.get("s", "k", "n")

    connected(owner.path, work)
    assert owner.count("s") == 20


def test_a_close_disturbs_no_other_store_of_the_process(owner: kvengine.Engine) -> None:
    """Reads under way are answered, and the owner that both stores know stays known."""
    owner.set("s", "k", "n", b"1")

    async def run() -> None:
        db: Any = await kvengine.aio.open(owner.path, share=True)
        async with (
            await kvengine.aio.open(owner.path, share=True) as other,
            other.snapshot() as seen,
        ):
            await warm(db)
            tasks = [asyncio.create_task(db.get("s", "k", "n")) for _ in range(20)]
            await asyncio.sleep(0)
            await db.close()
            assert await asyncio.gather(*tasks) == [b"1"] * 20
            assert await seen.get("s", "k", "n") == b"1"

    asyncio.run(run())


def test_a_store_that_is_forgotten_hangs_up(owner: kvengine.Engine) -> None:
    """Nothing of the event loop keeps it, or its connections."""

    async def run() -> None:
        db: Any = await kvengine.aio.connect(owner.path)
        await warm(db)
        pipeline = db._waits._pipelines._reading[0]
        del db
        with pytest.warns(ResourceWarning):
            gc.collect()
        await until(lambda: pipeline.is_broken)

    asyncio.run(run())


# --- who is cancelled, and what is forgotten


def held_up(monkeypatch: pytest.MonkeyPatch, kind: type) -> tuple[threading.Event, threading.Event]:
    """Let threads wait before they ask for something.

    Return what is set once one waits, and what to set so that they go on.
    """
    waits, may_go = threading.Event(), threading.Event()
    ask = RemoteOwner.ask

    def late(self: RemoteOwner, request: Any, decode: Any) -> Any:
        found = ask(self, request, decode)
        if type(request) is kind:
            waits.set()
            assert may_go.wait(30)
        return found

    monkeypatch.setattr(RemoteOwner, "ask", late)
    return waits, may_go


def test_a_snapshot_that_was_cancelled_as_it_began_is_given_back(
    owner: kvengine.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that took it goes on. It was kept until somebody collected garbage."""
    waits, may_go = held_up(monkeypatch, requests.OpenSnapshot)

    async def work(db: AsyncSharedStore) -> None:
        snapshot = db.snapshot()
        entering = asyncio.create_task(snapshot.__aenter__())
        await until(waits.is_set)
        entering.cancel()
        await asyncio.gather(entering, return_exceptions=True)
        assert owner.stats().open_snapshots == 1
        may_go.set()
        async with asyncio.timeout(10):
            while owner.stats().open_snapshots:
                await db.get("s", "k", "n")
                await asyncio.sleep(0.01)

    connected(owner.path, work)


@pytest.mark.parametrize("kind", [requests.ObjectKeys, requests.Next])
def test_a_walk_that_is_closed_while_a_thread_asks_ends_in_the_owner(
    owner: kvengine.Engine, monkeypatch: pytest.MonkeyPatch, kind: type
) -> None:
    """An owner keeps 64 walks of a client: those that were left behind would take the room."""
    with owner.batch() as batch:
        for number in range(5000):
            batch.set("s", f"{number}", "n", b"1")
    waits, may_go = held_up(monkeypatch, kind)

    def held() -> list[Any]:
        access: Any = owner._access
        return [walk for each in access._clients.values() for walk in each.holdings._walks]

    async def work(db: AsyncSharedStore) -> None:
        walk = db.object_keys("s")

        async def all_of_it() -> None:
            async for _ in walk:
                pass

        walking = asyncio.create_task(all_of_it())
        await until(waits.is_set)
        walking.cancel()
        await asyncio.gather(walking, return_exceptions=True)
        await walk.aclose()
        assert held()
        may_go.set()
        async with asyncio.timeout(10):
            while held():
                await db.get("s", "k", "n")
                await asyncio.sleep(0.01)

    connected(owner.path, work)


def test_a_commit_that_has_begun_is_made_whoever_is_cancelled(owner: kvengine.Engine) -> None:
    """And its batch says so, as with the embedded engine."""

    async def work(db: AsyncSharedStore) -> None:
        batch = kvengine.Batch()
        batch.set("s", "k", "n", b"1")
        writing = asyncio.create_task(db.write(batch))
        await asyncio.sleep(0)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        assert writing.cancelled()
        async with asyncio.timeout(10):
            await until(lambda: batch.stamp)
        assert batch.stamp == await db.version("s", "k")

    connected(owner.path, work)


def test_a_commit_that_fails_after_all_who_waited_are_gone(owner: kvengine.Engine) -> None:
    """Nobody asks for its error, and asyncio does not report it."""
    told: list[object] = []

    async def work(db: AsyncSharedStore) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: told.append(context))
        batch = kvengine.Batch()
        batch.set("s", "k", "n", b"1")
        writing = asyncio.create_task(db.write(batch, expect={("s", "k"): 7}))
        await asyncio.sleep(0)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        await until(lambda: not db._waits._tasks)
        await asyncio.sleep(0.01)
        gc.collect()
        assert not await db.exists("s", "k")

    connected(owner.path, work)
    assert told == []


def test_a_session_that_is_cancelled_as_its_store_closes(owner: kvengine.Engine) -> None:
    """Its task is told that it was cancelled, not that the database is closed: else a timeout, or a
    group of tasks, would take it for a failure. The object is free.
    """

    async def hold(db: AsyncSharedStore) -> None:
        async with db.object("s", "held").session():
            await asyncio.sleep(60)

    async def want(db: AsyncSharedStore) -> None:
        async with db.object("s", "wanted").session():
            pass

    async def run() -> None:
        with kvengine.open(owner.path, share=True) as other:
            db: Any = await kvengine.aio.open(owner.path, share=True)
            await warm(db)
            with owner.object("s", "wanted").session():
                tasks = [asyncio.create_task(work(db)) for work in (hold, want)]
                await until(lambda: len(db._waits._member.claims) == 2)
                await until(lambda: not db._waits._tasks)
                closing = asyncio.create_task(db.close())
                await asyncio.sleep(0)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, closing, return_exceptions=True)
            assert all(task.cancelled() for task in tasks)
            assert other._member.claims == {}
            with owner.object("s", "held").session(timeout=0):
                pass

    asyncio.run(run())


def test_what_a_silent_owner_was_not_told_is_told_again(tmp_path: Path) -> None:
    """A session ends while the owner is stopped. The object counts as claimed until it answers."""
    owner = start(OWNER, str(tmp_path / "db"), "os")

    async def work(db: AsyncSharedStore) -> None:
        claims = db.store._member.claims
        async with db.object("s", "k").session():
            owner.send_signal(signal.SIGSTOP)
            await until(lambda: is_stopped(owner.pid))
            await asyncio.sleep(0.1)  # each of its threads stops by itself
        assert list(claims) == [("s", "k")]
        owner.send_signal(signal.SIGCONT)
        async with asyncio.timeout(20):
            await until(lambda: not claims)
        with kvengine.connect(tmp_path / "db") as other, other.object("s", "k").session(timeout=5):
            pass

    try:
        connected(tmp_path / "db", work, timeout=0.5)
    finally:
        owner.send_signal(signal.SIGCONT)
        end(owner)


def test_one_thread_at_a_time_tells_what_was_dropped(
    owner: kvengine.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many ask meanwhile: all threads together would keep out those that have to ask."""
    begun: list[object] = []
    may_go = threading.Event()

    def telling(self: RemoteOwner) -> None:
        begun.append(self)
        assert may_go.wait(30)

    async def work(db: AsyncSharedStore) -> None:
        monkeypatch.setattr(RemoteOwner, "has_untold", True)
        monkeypatch.setattr(RemoteOwner, "tell_all", telling)
        try:
            for _ in range(20):
                await db.get("s", "k", "n")
            assert len(begun) == 1
        finally:
            may_go.set()

    connected(owner.path, work)


@pytest.mark.parametrize("goes_on", [False, True])
def test_stores_that_are_forgotten_leave_connections_to_others(
    owner: kvengine.Engine, goes_on: bool
) -> None:
    """Another store of the process keeps the owner; all loops together may have 31 connections."""

    async def forget() -> None:
        db: Any = await kvengine.aio.open(owner.path, share=True)
        await warm(db)

    async def forget_many() -> None:
        for _ in range(3):
            await forget()
            gc.collect()
        async with asyncio.timeout(10):
            await until(lambda: not remote._lent)

    def forget_all() -> None:
        asyncio.run(forget_many() if goes_on else forget())
        gc.collect()

    with kvengine.open(owner.path, share=True) as db:
        remote: Any = db._member.at_hand
        with pytest.warns(ResourceWarning):
            forget_all()
        assert not remote._lent


# --- one connection


class Lent:
    """A connection whose other end the test has, as an owner lends it."""

    def __init__(self, patience: float = 30) -> None:
        self.socket, self.far = socket.socketpair()
        self.socket.setblocking(False)
        self.far.settimeout(30)
        self.patience = patience
        self.is_back = False

    def fileno(self) -> int:
        return self.socket.fileno()

    def take_back(self, link: object) -> None:
        self.is_back = True
        self.socket.close()


def piped(work: Callable[[Pipeline, Lent], Coroutine[Any, Any, None]], **options: Any) -> None:
    """Do something with a connection. It is hung up in the end."""

    async def run() -> None:
        lent: Any = Lent(**options)
        pipeline = Pipeline(lent, asyncio.get_running_loop(), lent)
        with lent.far:
            try:
                await work(pipeline, lent)
            finally:
                pipeline.end()
        assert lent.is_back

    asyncio.run(run())


@pytest.mark.parametrize("step", [1, 3, 7, 1000])
def test_answers_come_in_pieces(step: int) -> None:
    async def work(pipeline: Pipeline, lent: Lent) -> None:
        asked = [pipeline.ask(b"?") for _ in range(5)]
        answers = [bytes([number]) * number * 10 for number in range(5)]
        data = b"".join(wire.LENGTH.pack(len(each)) + each for each in answers)
        for at in range(0, len(data), step):
            lent.far.sendall(data[at : at + step])
            await asyncio.sleep(0)
        assert await asyncio.gather(*asked) == answers
        assert not pipeline.waiting

    piped(work)


def test_an_answer_that_nobody_asked_for_ends_it() -> None:
    async def work(pipeline: Pipeline, lent: Lent) -> None:
        lent.far.sendall(wire.LENGTH.pack(1) + b"!")
        await until(lambda: pipeline.is_broken)
        with pytest.raises(Broken) as caught:
            await pipeline.ask(b"?")
        assert not caught.value.sent

    piped(work)


def test_an_end_ends_all_that_wait() -> None:
    async def work(pipeline: Pipeline, lent: Lent) -> None:
        asked = [pipeline.ask(b"?") for _ in range(3)]
        lent.far.close()
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert [(type(each), each.sent, each.is_slow) for each in found] == [  # type: ignore[union-attr]
            (Broken, True, False)
        ] * 3

    piped(work)


def test_silence_ends_it_but_progress_does_not() -> None:
    """The last of many may wait for longer than the owner may be silent."""

    async def work(pipeline: Pipeline, lent: Lent) -> None:
        loop: Any = asyncio.get_running_loop()
        now = loop.time()
        loop.time = lambda: now
        asked = [pipeline.ask(b"?") for _ in range(6)]
        for answer in asked[:5]:
            now += 0.6 * lent.patience
            pipeline._look()
            lent.far.sendall(wire.LENGTH.pack(1) + b"!")
            assert await answer == b"!"
        now += 0.6 * lent.patience
        pipeline._look()
        assert not pipeline.is_broken
        now += 0.6 * lent.patience
        pipeline._look()
        with pytest.raises(Broken) as caught:
            await asked[5]
        assert caught.value.is_slow and pipeline.is_broken

    piped(work)


def test_an_idle_connection_is_not_silent() -> None:
    async def work(pipeline: Pipeline, lent: Lent) -> None:
        for _ in range(3):
            asked = pipeline.ask(b"?")
            lent.far.sendall(wire.LENGTH.pack(1) + b"!")
            assert await asked == b"!"
            await asyncio.sleep(0.2)
        assert not pipeline.is_broken

    piped(work, patience=0.1)


def test_what_the_owner_does_not_take_yet_waits_in_order() -> None:
    async def work(pipeline: Pipeline, lent: Lent) -> None:
        requests = [bytes([number]) * 60_000 for number in range(20)]
        asked = [pipeline.ask(each) for each in requests]
        data = bytearray()
        while len(data) < 1_200_000:
            await asyncio.sleep(0)
            data += lent.far.recv(50_000)
        assert data == b"".join(requests)
        lent.far.sendall((wire.LENGTH.pack(1) + b"!") * 20)
        assert await asyncio.gather(*asked) == [b"!"] * 20

    piped(work)


def test_it_is_eventually_quiet(owner: kvengine.Engine) -> None:
    """A client that has closed leaves no connection behind at the owner."""

    async def work(db: AsyncSharedStore) -> None:
        await asyncio.gather(*(db.set("s", f"{n}", "n", b"1") for n in range(100)))

    connected(owner.path, work)
    access: Any = owner._access
    assert eventually(lambda: not access._clients)
