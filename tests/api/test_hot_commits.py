"""Plain sets into one object in use take the shortest way, and it is the same commit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import kvengine
from kvengine.fs.memory import MemoryFileSystem
from kvengine.storage.clock import ManualClock
from kvengine.storage.record import records
from kvengine.storage.wal.format import HEADER_SIZE, decode_commit

Open = Callable[..., kvengine.Engine]


class Text(str):
    """No plain str."""

    __slots__ = ()


def warm(db: kvengine.Engine) -> dict[str, bytes]:
    """An object that is known in whole."""
    with db.batch() as batch:
        for name in ("a", "b", "c"):
            batch.set("s", "k", name, b"1")
    return db.get_all("s", "k")


def shortest(db: kvengine.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on only the shortest way is open."""

    def commit(*args: Any) -> None:
        raise AssertionError("not by the shortest way")

    monkeypatch.setattr(db._committer, "commit", commit)


def of(names: dict[str, bytes]) -> kvengine.Batch:
    batch = kvengine.Batch()
    for name, value in names.items():
        batch.set("s", "k", name, value)
    return batch


@pytest.fixture
def db(reopen: Open) -> kvengine.Engine:
    return reopen(durability="os")


@pytest.mark.parametrize("flushed", [False, True])
def test_it_is_taken(
    db: kvengine.Engine, monkeypatch: pytest.MonkeyPatch, flushed: bool, reopen: Open
) -> None:
    """By set and by write, with the version expected or none, from memtable and cache."""
    warm(db)
    if flushed:
        db.flush()
        db.get_all("s", "k")
    with monkeypatch.context() as patch:
        shortest(db, patch)
        first = db.set("s", "k", "b", b"2")
        second = db.write(of({"a": b"3", "c": b"4"}), expect={("s", "k"): first})
        third = db.write(of({"c": b"5", "bb": b"6", "": b"7"}))
        assert first < second < third == db.version("s", "k")
    found = {"": b"7", "a": b"3", "b": b"2", "bb": b"6", "c": b"5"}
    assert list(db.get_all("s", "k").items()) == list(found.items())
    assert db.load("s", "k").entries == found  # type: ignore[union-attr]
    db = reopen(durability="os")
    assert db.get_all("s", "k") == found and db.version("s", "k") == third


def test_the_log_is_the_same(clock: ManualClock) -> None:
    """Byte by byte what the long way writes."""
    logs = []
    for hot in (True, False):
        fs, now = MemoryFileSystem(), ManualClock()
        with kvengine.open("/db", fs=fs, clock=now, durability="os", background="none") as db:
            warm(db)
            for step in (1.0, 0.0, 1e-6, -5.0, 0.0, 0.5):
                now.advance(max(step, 0.0))
                now.step(min(step, 0.0))
                if not hot:
                    db._db.view.active.states["s", "k"].full = None
                batch = of({"b": b"x" * int(10 * abs(step)), "a": b"y"})
                db.write(batch, expect={("s", "k"): db.version("s", "k")} if hot else None)
            wal = db._db.wal
            assert wal is not None
            data = fs.read_bytes(wal.path)
            payloads = [bytes(one.payload) for one in records(data, HEADER_SIZE, wal.salt)]
        assert len(payloads) == 7
        logs.append(payloads)
    assert logs[0] == logs[1]
    assert any(decode_commit(payload).now for payload in logs[0]), "no stamp ran ahead of the time"


def test_what_is_not_plain(db: kvengine.Engine, clock: ManualClock) -> None:
    """Whatever else the object meets is left to the long way, in any order."""
    expected = warm(db)
    steps: list[Callable[[], object]] = [
        lambda: db.set("s", "k", "d", b"new"),
        lambda: db.set("s", "k", "a", b"t", ttl=5),
        lambda: db.set("s", "k", "a", b"u"),
        lambda: db.clear("s", "k", "b"),
        lambda: db.set("s", "k", "b", b"v"),
        lambda: db.clear_range("s", "x", "y"),
        lambda: db.set("s", "k", "c", b"w"),
    ]
    values = {"d": b"new", "a": b"u", "b": b"v", "c": b"w"}
    for step in steps:
        step()
        db.get_all("s", "k")
    assert db.get_all("s", "k") == expected | values
    db.flush()
    assert db.expire("s", "k", ttl=10)
    db.get_all("s", "k")
    db.set("s", "k", "a", b"still expires")
    assert db.expires_at("s", "k") is not None
    clock.advance(10)
    db.set("s", "k", "z", b"anew")
    assert db.get_all("s", "k") == {"z": b"anew"}


def test_a_conflict(db: kvengine.Engine) -> None:
    """Another version than the one expected writes nothing and says which there is."""
    warm(db)
    version = db.version("s", "k")
    batch = of({"a": b"2"})
    for expected in (0, version - 1, version + 1):
        with pytest.raises(kvengine.VersionConflict) as conflict:
            db.write(batch, expect={("s", "k"): expected})
        assert conflict.value.actual == version
    assert db.get("s", "k", "a") == b"1" and db.version("s", "k") == version
    db.write(batch, expect={("s", "k"): version})
    with pytest.raises(kvengine.KVEngineError, match="written"):
        db.write(batch)


def test_what_is_refused(db: kvengine.Engine) -> None:
    """The checks of the long way hold for an object in use too; nothing is written."""
    warm(db)
    wrong: list[Any] = [1, None, b"s", ["s"]]
    for one in wrong:
        for service, key, state_key in ((one, "k", "a"), ("s", one, "a"), ("s", "k", one)):
            with pytest.raises(TypeError):
                db.set(service, key, state_key, b"2")
    for value in ("2", None, 2):
        with pytest.raises(TypeError):
            db.set("s", "k", "a", value)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="surrogates"):
        db.set("s", "k", "\ud800", b"2")
    with pytest.raises(kvengine.ValueTooLarge):
        db.set("s", "k", "x" * 70_000, b"2")
    expect: Any
    version = float(db.version("s", "k"))
    for expect in (
        {("s", "k"): version},
        1,
        "sk",
        {("s", "k"): True},
        {("s", "k"): "1"},
        {("s",): 1},
        [("s", "k")],
    ):
        with pytest.raises(TypeError):
            db.write(of({"a": b"2"}), expect=expect)
    with pytest.raises(ValueError, match="durability"):
        db.write(of({"a": b"2"}), durability="none")  # type: ignore[arg-type]
    assert db.get_all("s", "k") == {"a": b"1", "b": b"1", "c": b"1"}
    db.set(Text("s"), Text("k"), Text("a"), bytearray(b"2"))  # type: ignore[arg-type]
    assert db.get("s", "k", "a") == b"2"


def test_a_value_over_the_limit(reopen: Open) -> None:
    """Values and commits have limits."""
    db = reopen(durability="os", max_value_size=100, max_commit_size=250)
    warm(db)
    with pytest.raises(kvengine.ValueTooLarge):
        db.set("s", "k", "a", b"x" * 101)
    with pytest.raises(kvengine.ValueTooLarge):
        db.write(of({"a": b"x" * 101}))
    with pytest.raises(kvengine.ValueTooLarge):
        db.write(of({"a": b"x" * 100, "b": b"x" * 100, "c": b"x" * 100}))
    assert db.get_all("s", "k") == {"a": b"1", "b": b"1", "c": b"1"}


def test_snapshots_keep_what_they_saw(db: kvengine.Engine) -> None:
    """A commit by the shortest way keeps the state that an open snapshot sees."""
    seen = []
    warm(db)
    for i in range(5):
        db.set("s", "k", "a", b"%d" % i)
        seen.append((db.snapshot(), db.load("s", "k"), db.get_all("s", "k")))
        db.set("s", "k", "b", b"%d" % i)
    for snapshot, loaded, entries in seen:
        assert snapshot.load("s", "k") == loaded
        assert snapshot.get_all("s", "k") == entries
        assert [one.entries for one in snapshot.scan("s")] == [entries]
        snapshot.close()
    state = db._db.view.active.states["s", "k"]
    db.set("s", "k", "a", b"last")
    assert db._db.view.active.states["s", "k"].prev is None
    assert state.full is not None


def test_the_log_grows_past_its_allocated_space(tmp_path: Path) -> None:
    """The shortest way allocates more of the log when what was allocated is full."""
    with kvengine.open(tmp_path, background="none", durability="os") as db:
        warm(db)
        for n in range(300):
            db.set("s", "k", "a", bytes([n % 256]) * 2000)
    with kvengine.open(tmp_path, background="none") as db:
        assert db.get("s", "k", "a") == bytes([299 % 256]) * 2000


def test_after_the_end(reopen: Open) -> None:
    """Closed is closed, and read-only read-only."""
    db = reopen(durability="os")
    warm(db)
    db.close()
    with pytest.raises(kvengine.DatabaseClosed):
        db.set("s", "k", "a", b"2")
    with pytest.raises(kvengine.DatabaseClosed):
        db.write(of({"a": b"2"}))
    db = reopen(durability="os", read_only=True)
    assert db.get_all("s", "k") == {"a": b"1", "b": b"1", "c": b"1"}
    with pytest.raises(kvengine.ReadOnly):
        db.set("s", "k", "a", b"2")
