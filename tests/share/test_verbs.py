"""Through the socket: every verb gives what it gives in the owner, and every error arrives."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest

import kvengine
from kvengine import Batch, VersionConflict
from kvengine.share.owner import RemoteOwner
from kvengine.share.store import SharedStore
from tests.share.raw import eventually

NAMES = ["", "\0", "a", "a\0b", "a/b", "\u202e\x1b[31m", "é", "\U0001f600", "k" * 3000]


def fill(db: kvengine.Engine, seed: int = 1) -> None:
    dice = random.Random(seed)
    for service in ("", "s", "t\0"):
        for key in NAMES:
            for state_key in dice.sample(NAMES, dice.randint(0, len(NAMES))):
                ttl = dice.choice([None, None, 3600])
                db.set(service, key, state_key, dice.randbytes(dice.randint(0, 50)), ttl=ttl)
    db.expire("s", "a", ttl=3600)


def test_reads_agree_with_the_owner(owner: kvengine.Engine, tool: SharedStore) -> None:
    """Each read verb, of now and of a snapshot, for every object and for absent ones."""
    fill(owner)
    with tool.snapshot() as past, owner.snapshot() as same:
        for ours, theirs in ((tool, owner), (past, same)):
            assert ours.services() == theirs.services() == ["", "s", "t\0"]
            assert ours.services(start="a", limit=1) == ["s"]
            assert list(ours.scan()) == list(theirs.scan())
            assert list(ours.scan("s", prefix="a")) == list(theirs.scan("s", prefix="a"))
            bounds = {"start": "k", "stop": "a", "reverse": True, "limit": 2}
            assert list(ours.scan("s", **bounds)) == list(theirs.scan("s", **bounds)) != []
            assert list(ours.object_keys("s", **bounds)) == list(theirs.object_keys("s", **bounds))
            assert ours.load_many("s", NAMES) == theirs.load_many("s", NAMES) != {}
            for service in ("", "s", "t\0", "none"):
                keys = list(theirs.object_keys(service))
                assert list(ours.object_keys(service)) == keys
                assert list(ours.object_keys(service, reverse=True, limit=3)) == keys[::-1][:3]
                assert list(ours.object_keys(service, start="a", prefix="a")) == [
                    key for key in keys if key >= "a" and key.startswith("a")
                ]
                assert ours.count(service) == len(keys)
                for key in [*NAMES, "absent"]:
                    _agree_on(ours, theirs, service, key)
        owner.clear_service("s")
        assert list(past.object_keys("s")) == list(same.object_keys("s")) != []
        assert tool.services() == ["", "t\0"]


def _agree_on(ours: SharedStore, theirs: kvengine.Engine, service: str, key: str) -> None:
    assert ours.load(service, key) == theirs.load(service, key)
    assert ours.load(service, key, max_bytes=40) == theirs.load(service, key, max_bytes=40)
    assert ours.get_all(service, key) == theirs.get_all(service, key)
    assert ours.get_many(service, key, NAMES[:4]) == theirs.get_many(service, key, NAMES[:4])
    assert ours.get(service, key, "a") == theirs.get(service, key, "a")
    assert ours.state_keys(service, key, prefix="a") == theirs.state_keys(service, key, prefix="a")
    assert ours.version(service, key) == theirs.version(service, key)
    assert ours.expires_at(service, key) == theirs.expires_at(service, key)
    assert ours.exists(service, key) == theirs.exists(service, key)
    assert ours.state_keys(service, key, reverse=True) == theirs.state_keys(
        service, key, reverse=True
    )
    for name in NAMES:
        assert ours.expires_at(service, key, name) == theirs.expires_at(service, key, name)


def test_writes_arrive_exactly(owner: kvengine.Engine, tool: SharedStore) -> None:
    """Each write verb, and a batch of all of them, does in the owner what it says."""
    stamp = tool.set("s", "k", "n", b"\xff", ttl=timedelta(hours=1))
    found = owner.load("s", "k")
    assert found is not None and found.version == stamp and found.entries == {"n": b"\xff"}
    assert found.expiries is not None and abs(found.expiries["n"] - stamp / 1e6 - 3600) < 1
    assert tool.expire("s", "k", at=4e9) and owner.expires_at("s", "k") == 4e9
    assert not tool.expire("s", "none", ttl=5)
    assert tool.expire("s", "k") and owner.expires_at("s", "k") is None
    tool.set("s", "k", "n", b"2", expires_at=4e9 + 0.123457)
    assert owner.expires_at("s", "k", "n") == 4e9 + 0.123457
    assert tool.pop("s", "k", "n") == b"2" and tool.pop("s", "k", "n") is None
    assert owner.load("s", "k") is None
    with tool.batch() as batch:
        for key in "abcdef":
            batch.set("r", key, "n", b"1")
        batch.clear_range("r", "b", "d")
        batch.clear_all("r", "f")
        batch.set("gone", "x", "n", b"1")
        batch.clear_service("gone")
        batch.expire("r", "a", at=4e9 + 0.123457)
        batch.clear_range("r", "e\0", None)
    assert list(owner.object_keys("r")) == ["a", "d", "e"]
    assert owner.expires_at("r", "a") == 4e9 + 0.123457
    assert owner.services() == ["r"]
    assert tool.clear_all("r", "a") and tool.clear_range("r", "a", "e")
    assert list(owner.object_keys("r")) == ["e"]
    assert tool.clear_service("r") == owner.stats().last_stamp
    tool.flush()
    tool.compact()
    assert owner.stats().flushes


def test_figures_agree(owner: kvengine.Engine, tool: SharedStore) -> None:
    """Statistics, segments and estimates are the owner's."""
    fill(owner)
    owner.flush()
    assert tool.segments() == owner.segments()
    assert (tool.limits.name, tool.limits.names) == (owner.limits.name, owner.limits.names)
    assert tool.estimate("s") == owner.estimate("s")
    tool.set_retention("s", 1.5)
    tool.set_retention("t", timedelta(days=7))
    assert (
        tool.retentions()
        == owner.retentions()
        == {
            "s": timedelta(seconds=1.5),
            "t": timedelta(days=7),
        }
    )
    ours, theirs = tool.stats(), owner.stats()
    assert ours.live_access == "on" and ours.levels == theirs.levels
    assert ours._replace(cache_bytes=0, cache_objects=0) == theirs._replace(
        cache_bytes=0, cache_objects=0
    )


def test_a_conflict_tells_what_it_tells_in_the_owner(
    owner: kvengine.Engine, tool: SharedStore
) -> None:
    stamp = owner.set("s", "k", "n", b"1")
    batch = Batch()
    batch.set("s", "k", "n", b"2")
    with pytest.raises(VersionConflict) as caught:
        tool.write(batch, expect={("s", "k"): stamp - 1})
    told = caught.value
    assert (told.service, told.key, told.expected, told.actual) == ("s", "k", stamp - 1, stamp)
    assert owner.get("s", "k", "n") == b"1"
    assert tool.write(batch, expect={("s", "k"): stamp}) > stamp, "the batch is still good"
    with pytest.raises(kvengine.KVEngineError, match="written"):
        tool.write(batch)


@pytest.mark.parametrize(
    ("error", "call"),
    [
        (TypeError, lambda s: s.get(1, "k", "n")),
        (TypeError, lambda s: s.get_many("s", "k", "abc")),
        (TypeError, lambda s: s.set("s", "k", "n", "text")),
        (ValueError, lambda s: s.set("s", "k", "n", b"", ttl=float("nan"))),
        (ValueError, lambda s: s.scan(stop="a")),
        (TypeError, lambda s: s.load_many("s", "abc")),
        (kvengine.ValueTooLarge, lambda s: s.get("s" * 70_000, "k", "n")),
        (ValueError, lambda s: list(s.object_keys("s", limit=-1))),
        (kvengine.KVEngineError, lambda s: s.checkpoint("/")),
        (OSError, lambda s: s.checkpoint("/proc/nowhere")),
    ],
)
def test_bad_calls_raise_as_in_the_owner(
    owner: kvengine.Engine, tool: SharedStore, error: type[Exception], call: object
) -> None:
    """The same class of error, and the connection is still good after it."""
    for store in (owner, tool):
        with pytest.raises(error):
            call(store)  # type: ignore[operator]
    tool.set("s", "k", "n", b"1")
    assert owner.get("s", "k", "n") == b"1"


def test_a_walk_that_is_dropped_within_a_request(owner: kvengine.Engine, tool: SharedStore) -> None:
    """The collector found it while its thread asked for something else, and told the owner of its
    end at once: it waited for the connection, which its own thread had, for ever.
    """
    with owner.batch() as batch:
        for i in range(2500):
            batch.set("s", f"{i:05}", "n", b"1")
    walks = [tool.object_keys("s") for _ in range(2)]
    for walk in walks:
        next(walk)
    del walk
    remote = tool._member.owner()
    assert isinstance(remote, RemoteOwner)
    busy = [remote._take() for _ in range(len(remote._idle))]
    assert busy
    walks.clear()
    assert owner.stats().open_snapshots == 2, "nothing can be said within a request"
    for link in busy:
        remote._give(link)
    assert tool.get("s", "00001", "n") == b"1"
    assert owner.stats().open_snapshots == 0, "the next one says it"


def test_long_walks_come_in_pages_and_may_be_left(
    owner: kvengine.Engine, tool: SharedStore
) -> None:
    """Thousands of keys and large values, whole and in order; one that is left holds nothing."""
    with owner.batch() as batch:
        for i in range(2500):
            batch.set("s", f"{i:05}", "n", b"x" * (600_000 if i % 500 == 0 else 10))
    assert list(tool.object_keys("s")) == [f"{i:05}" for i in range(2500)]
    assert [len(one.entries["n"]) for one in tool.scan("s")] == [
        600_000 if i % 500 == 0 else 10 for i in range(2500)
    ]
    for _ in range(200):
        walk = tool.scan("s")
        next(walk)
        walk.close()  # type: ignore[attr-defined]
    assert eventually(lambda: owner.stats().open_snapshots == 0)


def test_walks_that_were_never_begun_end_in_the_owner(
    owner: kvengine.Engine, tool: SharedStore
) -> None:
    """The first page is there at once, and nothing told the owner that no other would be asked."""
    with owner.batch() as batch:
        for i in range(2500):
            batch.set("s", f"{i:05}", "n", b"1")
    walks = [tool.object_keys("s"), tool.scan("s")]
    assert owner.stats().open_snapshots == 2
    walks.clear()
    assert eventually(lambda: owner.stats().open_snapshots == 0)
