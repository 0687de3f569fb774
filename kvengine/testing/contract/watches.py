"""Watches: what a store tells of its commits as they become visible."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest

from kvengine.errors import DatabaseClosed
from kvengine.objects.store import Store
from kvengine.store import Change, Watch
from kvengine.testing.contract.home import FUTURE, LONG, PATIENCE, Home


class Watches(Home):
    """watch, and its poll and close."""

    def told(self, store: Store, watch: Watch, key: str = "end") -> list[Change]:
        """Return what a watch tells of commits until now: up to one more, to object ``key``."""
        end = store.set("s", key, "end", b"")
        found: list[Change] = []
        while True:
            change = watch.poll(PATIENCE)
            assert change is not None, f"it never came to the last commit: {found}"
            if (change.key, change.stamp) == (key, end):
                return found
            found.append(change)

    def test_every_commit_to_the_service_is_told(self, store: Store) -> None:
        """Each object of a commit once, with the stamp, in order; None for a range of them."""
        store.set("s", "before", "n", b"1")
        with store.watch("s") as watch:
            stamps = [store.set("s", "a", "n", b"1"), store.set("s", "b", "n", b"1")]
            store.set("t", "a", "n", b"1")
            stamps.append(store.clear("s", "b", "n"))
            with store.batch() as batch:
                batch.set("s", "a", "n", b"2")
                batch.set("t", "a", "n", b"2")
                batch.set("s", "a", "m", b"2")
            assert batch.stamp is not None
            stamps += [batch.stamp, store.clear_range("s", "a", "b"), store.clear_all("s", "b")]
            stamps.append(store.clear_service("s"))
            expected = ["a", "b", "b", "a", None, "b", None]
            assert self.told(store, watch) == [
                Change("s", key, stamp) for key, stamp in zip(expected, stamps, strict=True)
            ]

    def test_a_batch_tells_each_object_once(self, store: Store) -> None:
        """All with the batch's stamp, and none twice that the batch cleared and set."""
        with store.watch("s") as watch, store.watch("s", "b") as one:
            with store.batch() as batch:
                batch.clear_service("t")
                for key in "cab":
                    batch.set("s", key, "n", b"1")
                batch.clear("s", "c", "n")
                batch.clear_all("s", "b")
            assert batch.stamp is not None
            found = self.told(store, watch)
            assert sorted(found) == [Change("s", key, batch.stamp) for key in "abc"]
            assert self.told(store, one, "b")[0] == Change("s", "b", batch.stamp)

    def test_a_watch_of_a_key_or_a_prefix(self, store: Store) -> None:
        """Only commits to those objects are told, and clears of ranges that touch them."""
        one, some = store.watch("s", "ab"), store.watch("s", prefix="a")
        expected_one, expected_some = [], []
        for key in ("ab", "abc", "b", "", "a", "ab"):
            stamp = store.set("s", key, "n", b"1")
            expected_some += [(key, stamp)] if key.startswith("a") else []
            expected_one += [("ab", stamp)] if key == "ab" else []
        store.clear_range("s", "b", None)
        stamp = store.clear_range("s", "ab", "abb")
        expected_one.append(("ab", stamp))
        found = [(change.key, change.stamp) for change in self.told(store, one, "ab")]
        assert found == expected_one
        found = [(change.key, change.stamp) for change in self.told(store, some, "a")]
        assert found[-1][0] == "ab", "the end of the watch before"
        assert [each for each in found[:-1] if each[0] is not None] == expected_some
        assert [each for each in found if each[0] is None] == [(None, stamp)]
        one.close()
        some.close()

    def test_every_way_to_write_is_told(self, store: Store) -> None:
        """expire, pop, handles, sessions and completions are commits. Reads are none."""
        store.set("s", "k", "n", b"1")
        store.set("s", "k", "m", b"1")
        writes: list[Callable[[], object]] = [
            lambda: store.expire("s", "k", at=FUTURE),
            lambda: store.pop("s", "k", "m"),
            lambda: store.object("s", "k").increment("n"),
            lambda: store.object("s", "k").mapping().update(a=1),
            lambda: self._in_a_session(store),
            lambda: store.workflow("s", "k", retention=LONG).complete(),
            lambda: store.object("s", "k").expire(at=FUTURE),
            lambda: store.object("s", "k").clear_all(),
        ]
        reads: list[Callable[[], object]] = [
            lambda: store.pop("s", "k", "m"),
            lambda: store.expire("s", "never", at=FUTURE),
            lambda: list(store.scan("s")),
            lambda: store.clear_range("s", "b", "a"),
            lambda: store.object("s", "k").get_all(),
        ]
        with store.watch("s", "k") as watch:
            for write in writes:
                write()
            for read in reads:
                read()
            assert [change.key for change in self.told(store, watch, "k")] == ["k"] * len(writes)

    def _in_a_session(self, store: Store) -> None:
        with store.object("s", "k").session() as state:
            state.set("b", 1)
            state.set("c", 1)

    def test_what_is_not_written_is_not_told(self, store: Store) -> None:
        """A batch or session that raises, and an expiry, which is no commit."""
        store.set("s", "k", "n", b"1", ttl=self.brief)
        store.set("s", "k", "m", b"1")
        store.expire("s", "k", ttl=self.brief)
        with store.watch("s") as watch:
            self.outlast(store)
            assert not store.exists("s", "k")
            with pytest.raises(LookupError), store.batch() as batch:
                batch.set("s", "k", "n", b"2")
                raise LookupError
            with pytest.raises(LookupError), store.object("s", "k").session() as state:
                state.set("n", 2)
                raise LookupError
            assert self.told(store, watch) == []

    def test_commits_of_other_clients_are_told(
        self, store: Store, another: Callable[[], Store]
    ) -> None:
        """Each client's watch tells what any of them commits; what it tells is visible."""
        other = another()
        with store.watch("s") as watch, other.watch("s") as others:
            stamps = []
            for number in range(10):
                writer = (store, other)[number % 2]
                stamps.append(writer.set("s", "k", "n", b"%d" % number))
            for reader, told in ((store, watch), (other, others)):
                for stamp in stamps:
                    change = told.poll(PATIENCE)
                    assert change == Change("s", "k", stamp)
                    assert reader.version("s", "k") >= stamp

    def test_an_iterator_waits_for_each(self, store: Store) -> None:
        """One thread waits in the watch, told of what others write, until the watch is closed."""
        watch = store.watch("s")
        seen: list[Change] = []
        came = threading.Semaphore(0)

        def look() -> None:
            for change in watch:
                assert store.version("s", "k") >= change.stamp
                seen.append(change)
                came.release()

        looking = threading.Thread(target=look, daemon=True)
        looking.start()
        for number in range(5):
            store.set("s", "k", "n", b"%d" % number)
            assert came.acquire(timeout=PATIENCE)
        watch.close()
        looking.join(PATIENCE)
        assert not looking.is_alive() and [change.key for change in seen] == ["k"] * 5

    def test_poll_and_close(self, store: Store) -> None:
        """poll gives None if nothing comes. What came before the end is told, then it is over."""
        watch, left = store.watch("s"), store.watch("s")
        assert watch.poll() is None and watch.poll(timedelta(milliseconds=1)) is None
        stamp = store.set("s", "k", "n", b"1")
        assert watch.poll(PATIENCE) == Change("s", "k", stamp)
        assert watch.poll(0.01) is None
        watch.close()
        watch.close()
        assert list(watch) == []
        with pytest.raises(DatabaseClosed):
            watch.poll(PATIENCE)
        assert next(left) == Change("s", "k", stamp)
        left.close()
        later = store.watch("s")
        store.close()
        assert list(later) == []
        with pytest.raises(DatabaseClosed):
            store.watch("s")

    def test_bad_watches(self, store: Store) -> None:
        """Arguments that make no sense are refused by the call."""
        with pytest.raises(ValueError, match="a key or prefix=, not both"):
            store.watch("s", "k", prefix="k")
        for bad in (None, b"s", 7):
            with pytest.raises(TypeError):
                store.watch(bad)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            store.watch("s", b"k")  # type: ignore[arg-type]
        with store.watch("s") as watch:
            with pytest.raises(ValueError, match="timeout"):
                watch.poll(-1)
            with pytest.raises(TypeError, match="timeout"):
                watch.poll("1")  # type: ignore[arg-type]
