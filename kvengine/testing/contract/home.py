"""What the author of a back end gives to the contract, and what its tests are made with."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator

import pytest

from kvengine.objects.store import Store

NFC, NFD = "caf\u00e9", "cafe\u0301"
"""One word in two spellings, which are two names."""

NAMES = (
    *("", "\0", "\0\0", "\0\x01", "\x01", "a", "a\0", "a\0b", "a/b c", "ab", "B", "b"),
    *(NFD, NFC, "\ud7ff", "\ue000", "\uffff", "\U00010000", "\U0001f600", "\U0010ffff"),
)
"""Names in which the order of UTF-8 differs from that of other encodings, and odd ones."""

LONG = 3600.0
"""Seconds: nothing that a test gives as long to live expires in it."""

PATIENCE = 30.0
"""Seconds to wait for what must come."""

PAST, FUTURE = 1.0, 4_000_000_000.0
"""Times that are over, and far off, in seconds since the epoch."""


class Home:
    """The back end that is held to the contract: its fixtures and its clock."""

    brief: float = 0.1
    """Seconds that those entries and objects have to live which are to expire."""

    @pytest.fixture
    def store(self) -> Iterator[Store]:
        """Give an empty open store, and close it after the test."""
        raise NotImplementedError("give a fixture `store` with an empty open store")

    @pytest.fixture
    def another(self, store: Store) -> Callable[[], Store]:
        """Give what opens one more client of the same data, which the fixture closes.

        By default it returns the same store again.
        """
        return lambda: store

    def sleep(self, store: Store, seconds: float) -> None:
        """Let time pass for the store. A store whose clock can be moved need not really wait."""
        time.sleep(seconds)

    def outlast(self, store: Store, ttl: float | None = None) -> None:
        """Let so much time pass that what was given ``ttl``, by default `brief`, has expired."""
        self.sleep(store, (self.brief if ttl is None else ttl) + self.brief)

    def lifetimes(self) -> Iterator[tuple[str, float]]:
        """Yield keys with ttls for them, until one lives long enough for what the test begins.

        On a busy machine the first ones may expire before. The test breaks out of its loop when
        it has seen the object alive.
        """
        for number, factor in enumerate((2, 20, 200)):
            yield f"lives {number}", factor * self.brief
        pytest.fail("nothing lived long enough to be looked at")


def by_bytes(names: Iterable[str], *, reverse: bool = False) -> list[str]:
    """Return names in the order of their UTF-8."""
    return sorted(names, key=str.encode, reverse=reverse)


def walked(
    names: Iterable[str],
    *,
    prefix: str = "",
    start: str | None = None,
    stop: str | None = None,
    reverse: bool = False,
    limit: int | None = None,
) -> list[str]:
    """Return what a listing with these bounds finds among the names, said in plain Python."""
    found = []
    for name in by_bytes(names, reverse=reverse):
        place = name.encode()
        begun = start is None or (place <= start.encode() if reverse else place >= start.encode())
        ended = stop is not None and (place <= stop.encode() if reverse else place >= stop.encode())
        if begun and not ended and name.startswith(prefix):
            found.append(name)
    return found[:limit]


def keys(store: Store, service: str = "s") -> list[str]:
    """Return the keys of all objects of a service."""
    return list(store.object_keys(service))


def in_threads(*works: Callable[[], object]) -> None:
    """Run all at once in threads that take turns often, and raise what one of them raised."""
    raised: list[BaseException] = []

    def guarded(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=guarded, args=(work,), daemon=True) for work in works]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # else threads in one process may do all they have to in one turn
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(2 * PATIENCE)
            assert not thread.is_alive(), "it waits for ever"
    finally:
        sys.setswitchinterval(interval)
    for error in raised:
        raise error
