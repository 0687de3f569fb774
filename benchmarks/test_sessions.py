"""One benchmark per kind of session and store: load an object, change an entry, commit.

Objects are of the working set, which a first pass has touched. The names of calls are new strings
in every round, and kvengine makes its handle within the measured call, as a handler does.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import msgspec
import pytest

from benchmarks import lines, peers, workload
from benchmarks.conftest import STEADY_ROUNDS, Call, Measure
from benchmarks.peers.base import Peer
from benchmarks.workload import FIELDS, HOT_OBJECTS, SERVICE, STATE_KEYS, TYPED_SERVICE, object_key

if TYPE_CHECKING:
    from benchmarks.peers.kvengine_peer import KvenginePeer

SESSIONS = 1_000  # in a round


def _changes(generator: random.Random, sessions: int = SESSIONS) -> list[Call]:
    return [
        (
            SERVICE,
            object_key(generator.randrange(HOT_OBJECTS)),
            f"item-{generator.randrange(len(STATE_KEYS))}",
            generator.randbytes(workload.VALUE_SIZE),
        )
        for _ in range(sessions)
    ]


def _typed(generator: random.Random) -> list[Call]:
    return [(TYPED_SERVICE, object_key(generator.randrange(HOT_OBJECTS))) for _ in range(SESSIONS)]


def test_same_sessions(store: Peer) -> None:
    """Every store has the same after the same sessions: the figures compare like work."""
    key = object_key(0)
    before = store.get_all(SERVICE, key)
    assert list(before) == list(STATE_KEYS)
    store.session(SERVICE, key, "item-3", b"3")
    store.lazy_session(SERVICE, key, "item-4", b"4")
    assert store.get_all(SERVICE, key) == {**before, "item-3": b"3", "item-4": b"4"}


def test_same_typed_sessions(typed_store: Peer) -> None:
    """The same of typed sessions: nothing but the count has changed, by one in each."""
    key = object_key(0)
    before = typed_store.get_all(TYPED_SERVICE, key)
    assert list(before) == list(FIELDS)
    typed_store.count(TYPED_SERVICE, key)
    typed_store.review(TYPED_SERVICE, key)
    count = msgspec.json.encode(msgspec.json.decode(before["count"]) + 2)
    assert typed_store.get_all(TYPED_SERVICE, key) == {**before, "count": count}


@pytest.mark.benchmark(group=lines.SESSION_EAGER)
def test_eager_session(store: Peer, measure: Measure) -> None:
    """All entries are loaded, one is read and changed; bytes as they are."""
    measure(store.session, _changes, warmup_rounds=10)


@pytest.mark.benchmark(group=lines.SESSION_LAZY)
def test_lazy_session(store: Peer, measure: Measure) -> None:
    """One entry is loaded and changed; bytes as they are."""
    measure(store.lazy_session, _changes, warmup_rounds=10)


@pytest.mark.benchmark(group=lines.SESSION_TYPED)
def test_typed_session(typed_store: Peer, measure: Measure) -> None:
    """All entries are loaded, one is decoded, changed and encoded; JSON."""
    measure(typed_store.count, _typed, warmup_rounds=10)


@pytest.mark.benchmark(group="typed session, 10 fields of 10 used")
def test_typed_session_of_all(typed_store: Peer, measure: Measure) -> None:
    """All entries are loaded and decoded, one is changed and encoded; JSON."""
    measure(typed_store.review, _typed, warmup_rounds=10)


@pytest.mark.benchmark(group="eager session, synced")
def test_eager_session_synced(durable_store: Peer, measure: Measure) -> None:
    """The eager session, on the disk when it ends; one thread, so no syncs are shared."""
    measure(
        durable_store.session,
        lambda generator: _changes(generator, 10),
        rounds=40,
        warmup_rounds=STEADY_ROUNDS,
    )


@pytest.mark.parametrize("peer_name", [peers.KVENGINE], indirect=True)
@pytest.mark.benchmark(group="eager session by its own load and write")
def test_session_overhead(store: KvenginePeer, measure: Measure) -> None:
    """What a session costs beside the verbs that it stands on, by turns."""
    measure.beside(store.session, store.load_and_write, _changes)
