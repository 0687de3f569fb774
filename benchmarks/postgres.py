"""`python -m benchmarks.postgres URL`: the PostgreSQL home against psycopg by hand.

The peer sends the very statements of kvengine on one connection of its own, prepared, with its rows
fetched and not decoded: what is left is what the library costs. Each ratio is the median over
`ROUNDS` rounds that take turns. Then 1 to 16 threads increment counters in sessions.

Makes a schema ``kv_bench``, and drops it afterwards.
"""

from __future__ import annotations

import os
import platform
import sys
import threading
import time
from functools import partial
from typing import Any

import psycopg

import kvengine
from benchmarks.rounds import Call, compared, timed
from kvengine.postgres import reads, writes

ROUNDS = 15
CALLS = 300
OBJECTS, ENTRIES = 1_000, 10
SECONDS = 3.0

SCHEMA = "kv_bench"
GET = reads._GET.format(schema=SCHEMA)
GET_ALL = reads._LOAD.format(schema=SCHEMA)
COMMIT = writes._COMMIT.format(schema=SCHEMA)
VALUE = b"v" * 22


def main(url: str) -> None:
    """Print the lines."""
    with psycopg.connect(url, autocommit=True) as peer:
        peer.prepare_threshold = 0
        peer.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE", prepare=False)
        kv_url = url + ("&" if "?" in url else "?") + f"kv_schema={SCHEMA}"
        with kvengine.connect(kv_url, pool_size=20) as db:
            fill(db)
            peer.execute(f"ANALYZE {SCHEMA}.objects", prepare=False)
            peer.execute(f"ANALYZE {SCHEMA}.entries", prepare=False)
            (server,) = peer.execute("SHOW server_version").fetchone() or ("?",)
            (safe,) = peer.execute("SHOW synchronous_commit").fetchone() or ("?",)
            print(
                f"PostgreSQL {server}, synchronous_commit {safe}; psycopg {psycopg.__version__}"
                f" ({psycopg.pq.__impl__}); kvengine {kvengine.__version__}; Python"
                f" {platform.python_version()}"
            )
            for name, by_hand, ours in lines(peer, db):
                compare(name, by_hand, ours)
            for threads in (1, 4, 16):
                print(f"{threads:3} threads: {sessions(db, threads):6,.0f} sessions/s")
        peer.execute(f"DROP SCHEMA {SCHEMA} CASCADE", prepare=False)


def fill(db: kvengine.Store) -> None:
    for number in range(OBJECTS):
        with db.batch() as batch:
            for entry in range(ENTRIES):
                batch.set("S", f"k{number}", f"f{entry}", VALUE)


def lines(peer: psycopg.Connection[Any], db: kvengine.Store) -> list[tuple[str, Call, Call]]:
    def key(number: int) -> bytes:
        return b"k%d" % (number % OBJECTS)

    def commit(number: int) -> object:
        token = os.urandom(12)
        rest = (None, None, None, None, None, token, None, False, False, None, None)
        values = (b"S", key(number), None, False, [b"f3"], [VALUE], *rest)
        return peer.execute(COMMIT, values, binary=True).fetchall()

    def set_one(number: int) -> object:
        batch = kvengine.Batch()
        batch.set("S", f"k{number % OBJECTS}", "f3", VALUE)
        return db.write(batch, durability="os")

    def read(statement: str, *more: bytes) -> Call:
        return lambda number: peer.execute(
            statement, (None, None, b"S", key(number), *more), binary=True
        ).fetchall()

    return [
        ("get", read(GET, b"f3"), lambda n: db.get("S", f"k{n % OBJECTS}", "f3")),
        ("get_all, 10 entries", read(GET_ALL), lambda n: db.get_all("S", f"k{n % OBJECTS}")),
        ("commit, not synced", commit, set_one),
    ]


def compare(name: str, by_hand: Call, ours: Call) -> None:
    found = compared(partial(timed, by_hand, CALLS), partial(timed, ours, CALLS), ROUNDS)
    print(
        f"{name:22} psycopg {found.theirs:5.0f} us, kvengine {found.ours:5.0f} us,"
        f" ratio {1 / found.ratio:.2f}"
    )


def sessions(db: kvengine.Store, count: int) -> float:
    """Return how many sessions so many threads run in a second, each on objects of its own."""
    done = [0] * count
    until = time.monotonic() + SECONDS

    def work(thread: int) -> None:
        while time.monotonic() < until:
            with db.object("T", f"{thread}-{done[thread] % 100}").session() as state:
                state.increment("n")
            done[thread] += 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(done) / SECONDS


if __name__ == "__main__":
    main(sys.argv[1])
