"""Bad arguments: one clear sentence that says what to do, and nothing written.

Each message is pinned, since it is what a person has to go on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import kvengine
from tests.api.refusals import open_disk, refuses

LONG = "é" * 32_769

# Arguments. Every verb that takes a name, as a call with one name replaced.

VERBS: dict[str, Callable[..., object]] = {
    "get": lambda db, s, k, n: db.get(s, k, n),
    "get_many": lambda db, s, k, n: db.get_many(s, k, [n]),
    "get_all": lambda db, s, k, n: db.get_all(s, k) if n == "n" else db.get(s, k, n),
    "load": lambda db, s, k, n: db.load(s, k) if n == "n" else db.get(s, k, n),
    "load part": lambda db, s, k, n: db.load(s, k, max_bytes=9) if n == "n" else db.get(s, k, n),
    "state_keys": lambda db, s, k, n: db.state_keys(s, k, prefix=n),
    "state_keys start": lambda db, s, k, n: db.state_keys(s, k, start=n),
    "expires_at": lambda db, s, k, n: db.expires_at(s, k) if n == "n" else db.get(s, k, n),
    "version": lambda db, s, k, n: db.version(s, k) if n == "n" else db.get(s, k, n),
    "object_keys": lambda db, s, k, n: db.object_keys(s, prefix=k, start=n),
    "scan": lambda db, s, k, n: db.scan(s, prefix=k) if n == "n" else db.get(s, k, n),
    "set": lambda db, s, k, n: db.set(s, k, n, b""),
    "clear": lambda db, s, k, n: db.clear(s, k, n),
    "clear_all": lambda db, s, k, n: db.clear_all(s, k) if n == "n" else db.clear(s, k, n),
    "clear_service": lambda db, s, k, n: (
        db.clear_service(s) if (k, n) == ("k", "n") else db.clear(s, k, n)
    ),
    "clear_range": lambda db, s, k, n: db.clear_range(s, k, n),
    "expire": lambda db, s, k, n: db.expire(s, k, ttl=1) if n == "n" else db.clear(s, k, n),
    "compact": lambda db, s, k, n: db.compact(s) if (k, n) == ("k", "n") else db.clear(s, k, n),
    "expect": lambda db, s, k, n: (
        db.write(kvengine.Batch(), expect={(s, k): 0}) if n == "n" else db.get(s, k, n)
    ),
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[kvengine.Engine]:
    """A database with one object; no test here may change it."""
    with open_disk(tmp_path_factory.mktemp("shared") / "db", max_value_size=100) as db:
        db.set("s", "k", "n", b"1")
        yield db
        assert [tuple(one.entries.items()) for one in db.scan()] == [(("n", b"1"),)]


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS.keys())
@pytest.mark.parametrize("place", range(3))
def test_names_of_every_verb(
    shared: kvengine.Engine, verb: Callable[..., object], place: int
) -> None:
    """The wrong type, a lone surrogate, too long: each has its error; nothing is written."""
    before = shared.stats().last_stamp
    for wrong, kind, message in (
        (b"k", TypeError, "must be str, not bytes"),
        (7, TypeError, "must be str, not int"),
        ("\ud800", ValueError, "surrogates not allowed"),
        (LONG, kvengine.ValueTooLarge, "is 65,538 bytes of UTF-8, over 65,536"),
    ):
        names: list[object] = ["s", "k", "n"]
        names[place] = wrong
        with refuses(kind, message):
            verb(shared, *names)
    assert shared.stats().last_stamp == before


def test_names_at_the_limit_are_taken(tmp_path: Path) -> None:
    longest = "é" * 32_768
    with open_disk(tmp_path) as db:
        db.set(longest, longest, longest, b"1")
        db.flush()
        assert db.get(longest, longest, longest) == b"1"
        assert list(db.object_keys(longest)) == [longest]


def test_values_over_the_limit(shared: kvengine.Engine) -> None:
    """By set, in the store's batch at once, and in a batch of its own when it is written."""
    message = "value is 101 bytes, over max_value_size 100"
    with refuses(kvengine.ValueTooLarge, message):
        shared.set("s", "k", "n", bytes(101))
    with refuses(kvengine.ValueTooLarge, message), shared.batch() as batch:
        batch.set("s", "k", "n", bytes(101))
    own = kvengine.Batch()
    own.set("s", "k", "n", bytes(101))
    with refuses(kvengine.ValueTooLarge, message):
        shared.write(own)


def test_a_commit_over_the_limit(tmp_path: Path) -> None:
    """Nothing of it is written, and the next commit works."""
    with open_disk(tmp_path, max_value_size=1000, max_commit_size=5000) as db:
        with refuses(kvengine.ValueTooLarge, r"commit is [\d,]+ bytes, over max_commit_size 5,000"):
            with db.batch() as batch:
                for number in range(6):
                    batch.set("s", "k", f"{number}", bytes(1000))
        assert db.services() == []
        db.set("s", "k", "n", bytes(1000))


@pytest.mark.parametrize(
    ("ttl", "kind", "message"),
    [
        (float("inf"), ValueError, "ttl must be finite, not inf"),
        (float("nan"), ValueError, "ttl must be finite, not nan"),
        ("5", TypeError, "ttl must be seconds or a timedelta, not str"),
        (True, TypeError, "ttl must be seconds or a timedelta, not bool"),
    ],
)
def test_a_ttl_that_makes_no_sense(
    shared: kvengine.Engine, ttl: float, kind: type[BaseException], message: str
) -> None:
    for use in (
        lambda: shared.set("s", "k", "n", b"", ttl=ttl),
        lambda: shared.expire("s", "k", ttl=ttl),
        lambda: kvengine.Batch().set("s", "k", "n", b"", ttl=ttl),
        lambda: kvengine.Batch().expire("s", "k", ttl=ttl),
    ):
        with refuses(kind, message):
            use()


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        ({"at": 1.0, "ttl": 1.0}, ValueError, "expire takes at= or ttl=, not both"),
        (
            {"at": "tomorrow"},
            TypeError,
            "at must be seconds since the epoch or a datetime, not str",
        ),
        ({"at": True}, TypeError, "at must be seconds since the epoch or a datetime, not bool"),
        ({"at": -1.0}, ValueError, "at must be seconds since the epoch, not -1.0"),
        ({"at": float("nan")}, ValueError, "not nan"),
        ({"at": float("inf")}, ValueError, "not inf"),
    ],
)
def test_an_expiry_that_makes_no_sense(
    shared: kvengine.Engine, given: dict[str, float], kind: type[BaseException], message: str
) -> None:
    with refuses(kind, message):
        shared.expire("s", "k", **given)


def test_an_iterator_used_after_its_snapshot_is_closed(shared: kvengine.Engine) -> None:
    with shared.snapshot() as snapshot:
        keys = snapshot.object_keys("s")
    with refuses(kvengine.DatabaseClosed, "this snapshot is closed"):
        next(keys)


@pytest.mark.parametrize("limit", ["5", 1.0, True, [1]])
def test_a_limit_of_the_wrong_type(shared: kvengine.Engine, limit: int) -> None:
    with refuses(TypeError, "limit must be int or None, not "):
        shared.object_keys("s", limit=limit)
    with refuses(TypeError, "limit must be int or None, not "):
        shared.state_keys("s", "k", limit=limit)


def test_limits_below_zero(shared: kvengine.Engine) -> None:
    with refuses(ValueError, "limit must not be negative, not -1"):
        shared.object_keys("s", limit=-1)
    with refuses(ValueError, "limit must not be negative, not -1"):
        shared.state_keys("s", "k", limit=-1)
    with refuses(ValueError, "limit must be at most .*, or None for no limit"):
        shared.object_keys("s", limit=1 << 70)
    with refuses(ValueError, "max_bytes must not be negative, not -1"):
        shared.load("s", "k", max_bytes=-1)
    with refuses(TypeError, "max_bytes must be int or None, not str"):
        shared.load("s", "k", max_bytes="5")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("expect", "message"),
    [
        ([("s", "k")], "expect must map"),
        ({"s": 1}, "expect must map"),
        ({("s",): 1}, "expect must map"),
        ({("s", "k", "n"): 1}, "expect must map"),
        ({("s", 7): 1}, "key must be str, not int"),
        ({("s", "k"): "1"}, "expect must map"),
        ({("s", "k"): None}, "expect must map"),
        ({("s", "k"): True}, "expect must map"),
    ],
)
def test_expectations_of_the_wrong_type(
    shared: kvengine.Engine, expect: object, message: str
) -> None:
    """Never a conflict, never a write: the caller has a bug, not a race."""
    batch = kvengine.Batch()
    batch.set("s", "k", "n", b"2")
    with refuses(TypeError, message):
        shared.write(batch, expect=expect)  # type: ignore[arg-type]


def test_a_checkpoint_that_has_no_place(shared: kvengine.Engine, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").write_text("mine")
    for path in (tmp_path / "taken", tmp_path / "taken" / "file"):
        with refuses(kvengine.KVEngineError, "exists and is not an empty directory"):
            shared.checkpoint(path)
    with refuses(TypeError, "path"):
        shared.checkpoint(7)  # type: ignore[arg-type]
    with refuses(TypeError, "path"):
        shared.checkpoint(b"copy")  # type: ignore[arg-type]
