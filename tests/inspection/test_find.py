"""Find: by names and values, held against a search that looks at everything."""

from __future__ import annotations

import fnmatch
import json
import os
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import kvengine
from kvengine.errors import KVEngineError
from kvengine.inspection.access import Access
from kvengine.inspection.search.find import Hit, Searched, find
from kvengine.inspection.search.value import same
from tests.inspection.content import ODD_NAMES, ODD_VALUES, numbered, open_small
from tests.share.raw import eventually

SLOW = settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=60)


@pytest.fixture(scope="module")
def odd() -> Iterator[kvengine.Engine]:
    """Every odd name as service, key and state key, every odd value, half of it in segments."""
    with open_small("db") as db:
        for number, name in enumerate(ODD_NAMES):
            for other, value in enumerate(ODD_VALUES):
                key = ODD_NAMES[(number * 7 + other) % len(ODD_NAMES)]
                db.set(name[:100], key, ODD_NAMES[other % len(ODD_NAMES)], value)
            if number == len(ODD_NAMES) // 2:
                db.flush()
        yield db


def names(hits: Iterator[Hit]) -> list[tuple[str, str, str | None]]:
    return [hit[:3] for hit in hits]


def glob_matches(name: str, glob: str | None) -> bool:
    return glob is None or fnmatch.fnmatchcase(name, glob)


GLOBS = (
    "*",
    "?",
    "a*",
    "a?b",
    "*\0*",
    "[ae]*",
    "[!a]*",
    "\u00e9",
    "n*",
    "a",
    "a\0b",
    "zz*",
    "[*]",
    "",
)


@SLOW
@given(
    st.none() | st.sampled_from(ODD_NAMES[:-1]),
    st.none() | st.sampled_from(GLOBS),
    st.none() | st.sampled_from(GLOBS),
    st.none() | st.sampled_from([b"1", "\u00e9", b"\xff", b"}", b"xxx", b"nothing has this"]),
)
def test_it_finds_what_a_look_at_everything_finds(
    odd: kvengine.Engine,
    service: str | None,
    key_glob: str | None,
    state_key_glob: str | None,
    contains: bytes | str | None,
) -> None:
    """In the same order, whatever the fixed beginning of the glob leaves unread."""
    if key_glob is state_key_glob is contains is None:
        return
    wanted: list[tuple[str, str, str | None]] = []
    part = contains.encode() if isinstance(contains, str) else contains
    for one in odd.scan():
        if service not in (None, one.service) or not glob_matches(one.key, key_glob):
            continue
        if state_key_glob is contains is None:
            wanted.append((one.service, one.key, None))
            continue
        wanted += [
            (one.service, one.key, state_key)
            for state_key, value in one.entries.items()
            if glob_matches(state_key, state_key_glob) and (part is None or part in value)
        ]
    hits = find(
        odd,
        service=service,
        key_glob=key_glob,
        state_key_glob=state_key_glob,
        contains=contains,
    )
    assert names(hits) == wanted


def test_a_hit_tells_size_place_and_an_excerpt() -> None:
    with open_small("db") as db:
        db.set("s", "k", "a", "\u00e9".encode() * 40 + b"needle" + b"." * 100)
        db.set("s", "k", "b", b'{"a":[{"x":1},{"x":"yes"}]}')
        db.set("s", "k", "c", b"\xff\xfe needle")
        (hit, other) = find(db, contains="needle")
        assert hit == Hit("s", "k", "a", 186, "offset 80", "\u00e9" * 8 + "needle" + "." * 38)
        assert other[4:] == ("offset 3", "\\xff\\xfe needle")
        assert list(find(db, key_glob="k")) == [Hit("s", "k", None, 222, "name", "")]
        (hit,) = find(db, json_path="$.a[?@.x == 'yes']")
        assert hit[4:] == ("$['a'][1]", '{"x":"yes"}')
        (hit,) = find(db, state_key_glob="b")
        assert hit[4:] == ("name", '{"a":[{"x":1},{"x":"yes"}]}')


def test_the_excerpt_of_bytes_without_end_is_short() -> None:
    """Continuation bytes of UTF-8 and nothing else, at any offset."""
    with open_small("db") as db:
        db.set("s", "k", "n", b"\x80" * 100_000 + b"x" + b"\x80" * 100_000)
        (hit,) = find(db, contains=b"x")
        assert hit.where == "offset 100000" and len(hit.excerpt) < 300
        assert hit.excerpt == "\\x80" * 16 + "x" + "\\x80" * 43


VALUES: list[Any] = [
    *(None, True, False, 0, 1, 1.0, -1, 1.5, "", "1", "true", "null", '{"a":1}', "[1]", [], {}),
    *([1], [1, 2], [True], {"a": 1}, {"a": True}, {"a": None}, {"a": [1, {"b": "x"}]}, {"b": 2}),
    *({"a": 1, "b": 2}, {"b": 2, "a": 1}, [[1]], {"a": '{"a":1}'}),
]


def oracle_nodes(data: Any, path: str) -> list[Any]:
    """What a few queries select, by hand."""
    if path == "$":
        return [data]
    if path == "$.a":
        return [data["a"]] if isinstance(data, dict) and "a" in data else []
    if path == "$[0]":
        return data[:1] if isinstance(data, list) else []
    assert path == "$.*"
    return list(data.values()) if isinstance(data, dict) else data if isinstance(data, list) else []


@pytest.mark.parametrize("path", [None, "$", "$.a", "$[0]", "$.*"])
def test_json_is_found_by_path_and_by_value(path: str | None) -> None:
    """true is not 1, 1 is 1.0, members have no order, and a text that reads as JSON is a text."""
    with open_small("db") as db:
        for number, value in enumerate(VALUES):
            db.set("s", f"{number:03}", "n", json.dumps(value).encode())
        db.set("s", "999", "n", b"no JSON")
        if path is not None:
            wanted = [n for n, value in enumerate(VALUES) if oracle_nodes(value, path)]
            assert [int(hit.key) for hit in find(db, json_path=path)] == wanted
        for asked in VALUES:
            canonical = json.dumps(asked, sort_keys=True).replace("1.0", "1")
            wanted = [
                number
                for number, value in enumerate(VALUES)
                if canonical
                in [
                    json.dumps(node, sort_keys=True).replace("1.0", "1")
                    for node in oracle_nodes(value, path or "$")
                ]
            ]
            hits = find(db, json_path=path, equals=asked)
            assert [int(hit.key) for hit in hits] == wanted, asked


def test_every_criterion_must_hold() -> None:
    with open_small("db") as db:
        for key in ("a1", "a2", "b1"):
            db.set("s", key, "x", b'{"n":1}')
            db.set("s", key, "y", b'{"n":2}')
            db.set("t", key, "x", b'{"n":1}')
        found = find(
            db, service="s", key_glob="a*", state_key_glob="[xy]", contains='"n"',
            json_path="$.n", equals=2,
        )  # fmt: skip
        assert names(found) == [("s", "a1", "y"), ("s", "a2", "y")]


def test_same_is_not_fooled_by_types() -> None:
    assert same({"a": [1, None]}, {"a": (1.0, None)})
    for one, other in ((1, True), (0, False), ([], {}), ("1", 1), ({"a": 1}, {"a": 1, "b": 1})):
        assert not same(one, other) and not same(other, one)
        assert not same([one], [other]) and not same({"k": one}, {"k": other})


def test_values_too_deep_for_a_path_are_counted_and_the_search_goes_on() -> None:
    """A value made to break the search hides itself alone, and that is told."""
    with open_small("db") as db:
        db.set("s", "deep", "n", b'{"a":' * 400 + b"1" + b"}" * 400)
        db.set("s", "flat", "n", b'{"b":1}')
        told: list[Searched] = []
        hits = list(find(db, json_path="$..b", progress=told.append))
        assert [hit.key for hit in hits] == ["flat"]
        assert told == [Searched(2, 1, 1)]


def test_what_makes_no_sense_is_refused_at_once() -> None:
    """Before anything is read, in one sentence."""
    with open_small("db") as db:
        with pytest.raises(ValueError, match="nothing to find"):
            find(db, service="s")
        with pytest.raises(ValueError, match="must not be empty"):
            find(db, contains="")
        with pytest.raises(ValueError, match="limit"):
            find(db, key_glob="*", limit=-1)
        for path in ("a", "$[", "$.a[?(]", ""):
            with pytest.raises(ValueError, match="no query of RFC 9535") as caught:
                find(db, json_path=path)
            assert "\n" not in str(caught.value)


def test_without_the_library_everything_but_paths_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jsonpath", None)
    with open_small("db") as db:
        db.set("s", "k", "n", b"[1]")
        assert len(list(find(db, equals=[1]))) == 1
        with pytest.raises(KVEngineError, match=r"pip install 'kvengine\[cli\]'"):
            find(db, json_path="$")


def test_a_limit_ends_the_search() -> None:
    """The first hits, within an object too; nothing is held open behind them."""
    with open_small("db") as db:
        for number in range(10):
            for state_key in "abc":
                db.set("s", f"k{number}", state_key, b"1")
        every = list(find(db, contains="1"))
        for limit in (0, 1, 2, 3, 4, 30, 31):
            told: list[Searched] = []
            hits = find(db, contains="1", limit=limit, progress=told.append)
            assert list(hits) == every[:limit]
            assert told[-1].hits == min(limit, 30)
        hits = find(db, contains="1")
        next(hits)
        assert db.stats().open_snapshots > 0
        hits.close()
        assert db.stats().open_snapshots == 0


def test_a_search_is_of_one_moment() -> None:
    with open_small("db") as db:
        numbered(db, 100)
        hits = find(db, contains="1")
        found = [next(hits)]
        db.clear_service("s")
        db.set("s", "000050", "x", b"1")
        db.set("t", "new", "x", b"1")
        found += hits
        assert len({hit.key for hit in found}) > 15 and {hit.service for hit in found} == {"s"}


def test_a_fixed_beginning_reads_those_objects_alone() -> None:
    with open_small("db") as db:
        numbered(db, 3000, size=1)
        told: list[Searched] = []
        list(find(db, key_glob="00012?", progress=told.append))
        assert told == [Searched(10, 10)]
        told.clear()
        list(find(db, key_glob="000123", contains="123", progress=told.append))
        assert told == [Searched(1, 1)]
        told.clear()
        list(find(db, key_glob="*1", progress=told.append))
        assert [one.objects for one in told] == [1000, 2000, 3000, 3000]


def test_it_searches_through_the_socket_of_an_owner(tmp_path: Path) -> None:
    with kvengine.open(tmp_path / "db", background="thread") as db:
        numbered(db, 2000, size=50)
        db.set("t", "k", "n", os.urandom(2_000_000) + b"needle")
        with Access(str(tmp_path / "db")) as access:
            assert access.mode == "live"
            assert names(find(access.store, contains="needle")) == [("t", "k", "n")]
            assert len(list(find(access.store, service="s", key_glob="0001*"))) == 100
            hits = find(access.store, key_glob="*", limit=3)
            assert len(list(hits)) == 3
        assert eventually(lambda: not db.stats().open_snapshots)


@pytest.mark.slow
def test_memory_stays_flat_while_it_searches() -> None:
    peaks = []
    for count in (2_000, 40_000):
        with open_small("db", cache_size=0, memtable_size=500_000, block_size=4096) as db:
            numbered(db, count, size=200)
            db.flush()
            tracemalloc.start()
            assert not list(find(db, contains="nothing has this"))
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert peaks[1] < peaks[0] + 2_000_000, peaks
