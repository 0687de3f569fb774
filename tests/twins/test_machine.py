"""The lock, the time and the thread of a commit: the compiled form does what the plain one does."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Any, Self

import pytest

import kvengine
from tests.twins.forms import only_compiled, outcome, twins

pytestmark = only_compiled
fast, plain = twins("kvengine.storage.machine")


def test_time_and_thread_are_those_of_python() -> None:
    for _ in range(1000):
        before, now, after = time.time_ns(), fast.time_ns(), time.time_ns()
        assert before <= now <= after
    found: list[tuple[int, int]] = []
    thread = threading.Thread(target=lambda: found.append((fast.get_ident(), plain.get_ident())))
    thread.start()
    thread.join()
    assert found[0][0] == found[0][1] != fast.get_ident() == plain.get_ident()


@pytest.mark.parametrize("module", [fast, plain])
def test_a_lock_is_taken_once(module: Any) -> None:
    lock = module.Lock()
    assert not lock.locked()
    with lock as taken:
        assert taken is True and lock.locked()
    assert lock.acquire() is True and lock.locked()
    lock.release()
    assert not lock.locked()
    assert outcome(lock.release) == ("raises", RuntimeError)


@pytest.mark.parametrize("module", [fast, plain])
def test_a_lock_keeps_others_out(module: Any) -> None:
    """Threads that wait get it one after the other; an exception gives it back."""
    lock, inside, most, turns = module.Lock(), 0, 0, 0

    def work() -> None:
        nonlocal inside, most, turns
        for _ in range(200):
            try:
                with lock:
                    inside += 1
                    most = max(most, inside)
                    time.sleep(0)
                    inside -= 1
                    turns += 1
                    raise ZeroDivisionError
            except ZeroDivisionError:
                pass

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, turns, lock.locked()) == (1, 1200, False)


@pytest.mark.parametrize("module", [fast, plain])
def test_who_waits_for_a_lock_can_be_interrupted(module: Any) -> None:
    """A signal handler runs meanwhile, and what it raises ends the wait: the lock is not taken."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    lock = module.Lock()
    taken, over = threading.Event(), threading.Event()

    def keep() -> None:
        with lock:
            taken.set()
            over.wait(60)

    holder = threading.Thread(target=keep)
    holder.start()
    taken.wait(60)
    before = signal.signal(signal.SIGALRM, stop)
    timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGALRM))
    try:
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            lock.acquire()
    finally:
        timer.join()
        signal.signal(signal.SIGALRM, before)
    assert lock.locked() and not lock.mine()
    over.set()
    holder.join()
    assert not lock.locked()
    with lock:
        pass


def test_references_are_counted_in_c_alone() -> None:
    """Each reference counts, so that "only mine" is never said of what somebody else has too."""
    thing = object()
    alone = fast.references(thing)
    others = [thing] * 5
    assert fast.references(thing) == alone + len(others)
    others.clear()
    assert fast.references(thing) == alone
    assert plain.references(thing) > 1 << 16  # no count: "only mine" is never said


class Noted:
    """Its `__new__` tells, its `__init__` would too."""

    made: tuple[object, ...] = ()

    def __new__(cls) -> Self:
        one = super().__new__(cls)
        one.made = ("new",)
        return one

    def __init__(self) -> None:
        raise AssertionError


@pytest.mark.parametrize("kind", [Noted, object, dict, kvengine.State, type(iter(())), 5, None])
def test_an_instance_is_made_without_init(kind: Any) -> None:
    found = [outcome(module.new, kind) for module in (fast, plain)]
    assert [type(one[1]) is kind or one[0] == "raises" for one in found] == [True, True]
    if kind is Noted:
        assert [one[1].made for one in found] == [("new",), ("new",)]


def test_values_are_those_of_the_instance() -> None:
    one = fast.new(Noted)
    assert fast.values_of(one) is plain.values_of(one) is one.__dict__
    for wrong in (5, object()):
        assert outcome(fast.values_of, wrong)[0] == outcome(plain.values_of, wrong)[0] == "raises"
