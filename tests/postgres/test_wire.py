"""What verbs cost, counted on the wire: how often a client waits for an answer of the server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

import kvengine
import kvengine.aio
from kvengine.testing import blocking
from tests.postgres.servers import Postgres
from tests.postgres.wire import Wire


@contextmanager
def connected(how: str, postgres: Postgres, database: str) -> Iterator[tuple[kvengine.Store, Wire]]:
    with Wire(postgres) as wire:
        url = database.replace(f":{postgres.port}/", f":{wire.port}/")
        if how == "threads":
            with kvengine.connect(url, pool_size=1) as store:
                yield store, wire
        else:
            with blocking(kvengine.aio.connect(url, pool_size=1)) as store:
                yield store, wire


def rounds(wire: Wire, verb: Callable[[], object]) -> int:
    """Return how many answers a verb waits for, once its statements are prepared."""
    verb()
    verb()
    before = wire.asked
    verb()
    return wire.asked - before


@pytest.mark.parametrize("how", ["threads", "tasks"])
def test_one_round_trip_for_each_verb(how: str, postgres: Postgres, database: str) -> None:
    """A read of one object is one, and so is a commit, of several objects too."""
    with connected(how, postgres, database) as (db, wire):

        def several() -> None:
            batch = kvengine.Batch()
            for number in range(50):
                batch.set("S", f"k{number}", "n", b"v")
            batch.expire("S", "k1", ttl=1000)
            batch.clear_range("T", "a", "b")
            db.write(batch)

        def expected() -> None:
            batch = kvengine.Batch()
            batch.clear_all("S", "k")
            batch.set("S", "k", "n", b"v", ttl=1000)
            db.write(batch, expect={("S", "k"): version[0]})
            version[0] = batch.stamp or 0

        several()
        db.set("S", "k", "n", b"v")
        version = [db.version("S", "k")]
        verbs: dict[str, Callable[[], object]] = {
            "expected": expected,
            "get": lambda: db.get("S", "k", "n"),
            "get_all": lambda: db.get_all("S", "k"),
            "load": lambda: db.load("S", "k"),
            "load_many": lambda: db.load_many("S", ["k", "k1"]),
            "exists": lambda: db.exists("S", "k"),
            "object_keys": lambda: list(db.object_keys("S")),
            "count": lambda: db.count("S"),
            "set": lambda: db.set("S", "k", "n", b"w"),
            "pop": lambda: db.pop("S", "k", "n"),
            "clear_all": lambda: db.clear_all("S", "k"),
            "clear_service": lambda: db.clear_service("U"),
            "clear_range": lambda: db.clear_range("S", "k7", "k8"),
            "expire": lambda: db.expire("S", "k2", ttl=1000),
            "several": several,
        }
        assert {name: rounds(wire, verb) for name, verb in verbs.items()} == dict.fromkeys(verbs, 1)


@pytest.mark.parametrize("how", ["threads", "tasks"])
def test_round_trips_of_a_session(how: str, postgres: Postgres, database: str) -> None:
    """A session takes its turn, loads, and commits, which gives the turn back: three."""
    with connected(how, postgres, database) as (db, wire):

        def counts() -> None:
            with db.object("S", "k").session() as state:
                state.increment("n")

        def reads() -> None:
            with db.object("S", "k").session(read_only=True) as state:
                state.get("n")

        assert rounds(wire, counts) == 3
        assert rounds(wire, reads) == 1
        with db.object("S", "k").session(preload=False) as state:
            state.set("more", "x" * 50_000)
            state.set("other", "y")

        def lazily() -> None:
            with db.object("S", "k").session(preload=False, read_only=False) as state:
                state.get("other")  # lies beyond what is loaded as the session begins

        assert rounds(wire, lazily) == 4
