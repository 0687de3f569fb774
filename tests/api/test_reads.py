"""The read verbs of one object: get, get_many, get_all, load, state_keys, version."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

import kvengine

Settle = Callable[[kvengine.Engine], kvengine.Engine]

NFC, NFD = "caf\u00e9", "cafe\u0301"
NAMES = [
    "",
    "\0",
    "\0\0",
    "\0\x01",
    "\x01",
    "a",
    "a\0",
    "a\0b",
    "ab",
    NFD,
    NFC,
    "\uffff",
    "\U0001f600",
]


def test_what_is_absent_reads_as_nothing(db: kvengine.Engine, settle: Settle) -> None:
    """None, empty and 0, for an object that never was and one that is no more."""
    db.set("s", "gone", "n", b"1")
    db = settle(db)
    db.clear_all("s", "gone")
    db = settle(db)
    for key in ("never", "gone"):
        assert db.get("s", key, "n") is None
        assert db.get_many("s", key, ["n", "m"]) == {}
        assert db.get_all("s", key) == {}
        assert db.load("s", key) is None
        assert db.load("s", key, max_bytes=10) is None
        assert db.state_keys("s", key) == []
        assert db.version("s", key) == 0
        assert db.expires_at("s", key) is None
    assert db.services() == []


def test_an_empty_value_is_a_value(db: kvengine.Engine, settle: Settle) -> None:
    """``b""`` is not absence: the entry, its object and its service exist."""
    db.set("s", "k", "n", b"")
    db = settle(db)
    assert db.get("s", "k", "n") == b""
    assert db.get("s", "k", "m") is None
    assert db.get_all("s", "k") == {"n": b""}
    assert db.state_keys("s", "k") == ["n"]
    assert db.services() == ["s"] and list(db.object_keys("s")) == ["k"]


def test_every_name_is_its_own(db: kvengine.Engine, settle: Settle) -> None:
    """ "", NUL, NFC and NFD, astral characters: as service, key and state key, none mixed up."""
    expected = {}
    for service in NAMES:
        for key in ("", "\0", "x\0\x01y", NFC, NFD):
            for name in ("", "\0\x01", NFC, NFD):
                value = repr((service, key, name)).encode()
                expected[service, key, name] = value
                db.set(service, key, name, value)
    db = settle(db)
    for (service, key, name), value in expected.items():
        assert db.get(service, key, name) == value
    assert db.services() == sorted(NAMES, key=str.encode)
    for service in NAMES:
        assert list(db.object_keys(service)) == sorted(["", "\0", "x\0\x01y", NFC, NFD])


def test_get_all_is_in_key_order_after_any_updates(db: kvengine.Engine, settle: Settle) -> None:
    """Key order is the byte order of UTF-8, whichever order and layers entries came in."""
    names = ["b", "", "\U0001f600", "a", "\uffff", "B", "é", "aa"]
    for name in names:
        db.set("s", "k", name, b"old")
    db = settle(db)
    for name in ["ab", "b", "A"]:
        db.set("s", "k", name, b"new")
    db.clear("s", "k", "aa")
    expected = sorted({*names, "ab", "A"} - {"aa"}, key=str.encode)
    for _ in range(2):
        assert list(db.get_all("s", "k")) == expected
        found = db.load("s", "k")
        assert found is not None and list(found.entries) == expected
        assert db.state_keys("s", "k") == expected
        assert [list(one.entries) for one in db.scan("s")] == [expected]
        with db.snapshot() as snapshot:
            assert list(snapshot.get_all("s", "k")) == expected
        db = settle(db)


def test_get_many_answers_in_the_order_asked(db: kvengine.Engine, settle: Settle) -> None:
    for name in "abc":
        db.set("s", "k", name, name.encode())
    db = settle(db)
    assert list(db.get_many("s", "k", ["c", "x", "a", "c"]).items()) == [("c", b"c"), ("a", b"a")]
    assert db.get_many("s", "k", []) == {}
    assert db.get_many("s", "k", (name for name in "ab")) == {"a": b"a", "b": b"b"}


def test_results_belong_to_the_caller(db: kvengine.Engine, settle: Settle) -> None:
    """Changing what a read returned changes nothing that is stored."""
    db.set("s", "k", "n", b"1")
    db = settle(db)
    for _ in range(2):
        db.get_all("s", "k").clear()
        loaded = db.load("s", "k")
        assert loaded is not None
        loaded.entries["n"] = b"changed"
        db.get_many("s", "k", ["n"]).clear()
        next(db.scan()).entries.clear()
        assert db.get_all("s", "k") == {"n": b"1"}


def test_load_is_the_object_of_one_moment(db: kvengine.Engine, settle: Settle) -> None:
    db.set("s", "k", "a", b"1")
    stamp = db.set("s", "k", "b", b"22")
    db.expire("s", "k", at=1_800_000_000.5)
    version = db.version("s", "k")
    assert version > stamp
    db = settle(db)
    entries = {"a": b"1", "b": b"22"}
    expected = kvengine.StoredObject("s", "k", version, 1_800_000_000.5, entries)
    assert db.load("s", "k") == expected
    assert db.load("s", "k", max_bytes=1000) == expected


def test_load_of_some_bytes_returns_the_first_entries(db: kvengine.Engine, settle: Settle) -> None:
    """At most max_bytes of names and values, in key order; complete says whether it was all."""
    for number in range(5):
        db.set("s", "k", f"n{number}", b"x" * 8)
    db = settle(db)
    for limit, count in ((0, 0), (9, 0), (10, 1), (19, 1), (49, 4), (50, 5), (51, 5)):
        found = db.load("s", "k", max_bytes=limit)
        assert found is not None
        assert list(found.entries) == [f"n{number}" for number in range(count)], limit
        assert found.partial is (count < 5)
        assert found.version == db.version("s", "k")


def test_state_keys_by_prefix_start_and_limit(db: kvengine.Engine, settle: Settle) -> None:
    for name in ["", "a", "ab", "abc", "b", "ba", "\uffff"]:
        db.set("s", "k", name, b"")
    db = settle(db)
    assert db.state_keys("s", "k", prefix="a") == ["a", "ab", "abc"]
    assert db.state_keys("s", "k", start="ab") == ["ab", "abc", "b", "ba", "\uffff"]
    assert db.state_keys("s", "k", prefix="b", start="ab") == ["b", "ba"]
    assert db.state_keys("s", "k", prefix="a", start="abb", limit=5) == ["abc"]
    assert db.state_keys("s", "k", limit=2) == ["", "a"]
    assert db.state_keys("s", "k", limit=0) == []
    assert db.state_keys("s", "k", prefix="c") == []
    assert db.state_keys("s", "k", prefix="\uffff") == ["\uffff"]
    assert db.state_keys("s", "k", reverse=True) == ["\uffff", "ba", "b", "abc", "ab", "a", ""]
    assert db.state_keys("s", "k", reverse=True, start="ab", limit=2) == ["ab", "a"]
    assert db.state_keys("s", "k", reverse=True, prefix="a", start="b", limit=1) == ["abc"]
    assert db.state_keys("s", "k", reverse=True, prefix="b", start="a") == []


def test_load_many_is_of_one_moment(db: kvengine.Engine, settle: Settle) -> None:
    """A page that shows forty objects asked for each: forty moments, between which others wrote."""
    for key in "abc":
        db.set("s", key, "n", b"1")
    db.set("s", "brief", "n", b"1", ttl=1000)
    db = settle(db)
    expected = {key: db.load("s", key) for key in ("c", "brief", "a")}

    def keys() -> Iterator[str]:
        yield from ("c", "none", "brief", "a", "c")

    found = db.load_many("s", keys())
    assert found == expected and list(found) == ["c", "brief", "a"]
    with db.snapshot() as snapshot:
        db.clear_service("s")
        assert snapshot.load_many("s", expected) == expected
    assert db.load_many("s", expected) == {} == db.load_many("s", [])
    with pytest.raises(TypeError, match="keys must be an iterable of str, not one str"):
        db.load_many("s", "abc")
    assert db.stats().open_snapshots == 0


def test_an_object_exists_while_an_entry_lives(db: kvengine.Engine, settle: Settle) -> None:
    db.set("s", "k", "n", b"")
    db = settle(db)
    assert db.exists("s", "k") and not db.exists("s", "") and not db.exists("t", "k")
    db.clear("s", "k", "n")
    assert not db.exists("s", "k")


@pytest.fixture
def large(db: kvengine.Engine, settle: Settle) -> tuple[kvengine.Engine, dict[str, bytes]]:
    """An object of many chunks, in two layers: every third entry rewritten, some cleared."""
    entries = {f"k{number:05}": b"%d" % number * 7 for number in range(3000)}
    with db.batch() as batch:
        for name, value in entries.items():
            batch.set("s", "large", name, value)
    db = settle(db)
    with db.batch() as batch:
        for number in range(0, 3000, 3):
            name = f"k{number:05}"
            if number % 2:
                batch.clear("s", "large", name)
                del entries[name]
            else:
                batch.set("s", "large", name, b"new")
                entries[name] = b"new"
        batch.set("s", "large", "k00001x", b"between")
        entries["k00001x"] = b"between"
    return db, dict(sorted(entries.items()))


@pytest.mark.parametrize("flushed", [False, True])
def test_a_large_object_reads_like_a_small_one(
    large: tuple[kvengine.Engine, dict[str, bytes]], flushed: bool
) -> None:
    """Objects over chunk_size lie in chunks; every verb answers as if they did not."""
    db, entries = large
    if flushed:
        db.flush()
    names = list(entries)
    for name in (names[0], names[-1], "k01500", "k00003", "k00001x", "", "zzz", "k01500x"):
        assert db.get("s", "large", name) == entries.get(name), name
    wanted = ["k02000", "absent", "k00000", "k00003", "k02999"]
    assert db.get_many("s", "large", wanted) == {n: entries[n] for n in wanted if n in entries}
    assert list(db.get_all("s", "large").items()) == list(entries.items())
    assert db.state_keys("s", "large") == names
    assert db.state_keys("s", "large", prefix="k0012") == [n for n in names if n[:5] == "k0012"]
    assert db.state_keys("s", "large", start="k02990") == [n for n in names if n >= "k02990"]
    assert (
        db.state_keys("s", "large", prefix="k01", start="k0150", limit=3)
        == [n for n in names if n[:3] == "k01" and n >= "k0150"][:3]
    )
    (scanned,) = db.scan("s")
    assert scanned.entries == entries


def test_a_part_of_a_large_object_is_loaded(
    large: tuple[kvengine.Engine, dict[str, bytes]],
) -> None:
    db, entries = large
    db.flush()
    found = db.load("s", "large", max_bytes=5000)
    assert found is not None and found.partial
    size, expected = 0, {}
    for name, value in entries.items():
        size += len(name) + len(value)
        if size > 5000:
            break
        expected[name] = value
    assert found.entries == expected
    whole = db.load("s", "large", max_bytes=10**9)
    assert whole == db.load("s", "large") and whole is not None and not whole.partial


def test_part_of_a_large_object_reads_part_of_its_file(db: kvengine.Engine) -> None:
    """One entry, or the first few, of an object of 300 chunks costs a few blocks, not all."""
    with db.batch() as batch:
        for number in range(3000):
            batch.set("s", "k", f"n{number:05}", b"x" * 100)
    db.flush()
    reads = count_reads(db)
    db.get("s", "k", "n01234")
    assert 0 < len(reads) <= 4
    reads.clear()
    db.load("s", "k", max_bytes=2000)
    assert 0 < len(reads) <= 6
    reads.clear()
    assert len(db.state_keys("s", "k", start="n02000", limit=5)) == 5
    assert 0 < len(reads) <= 6


def count_reads(db: kvengine.Engine) -> list[int]:
    """Lengths of all reads from segments from now on."""
    from kvengine.fs.memory_file import MemoryFile

    reads: list[int] = []

    class Counting(MemoryFile):
        __slots__ = ()

        def pread(self, length: int, offset: int, /) -> bytes:
            reads.append(length)
            return super().pread(length, offset)

    for segment in db._db.view.version:
        segment._file.__class__ = Counting
    return reads


def test_version_is_the_stamp_of_the_last_commit_that_touched_the_object(
    db: kvengine.Engine, settle: Settle
) -> None:
    """Stamps grow with every commit; another object's commit leaves a version alone."""
    first = db.set("s", "k", "a", b"1")
    db.set("s", "other", "a", b"1")
    db = settle(db)
    assert db.version("s", "k") == first
    second = db.clear("s", "k", "absent")
    assert second > first and db.version("s", "k") == second
    third = db.set("s", "k", "b", b"2")
    db = settle(db)
    assert db.version("s", "k") == third > second
