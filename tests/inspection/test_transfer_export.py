"""Export: JSON lines of one moment that give every byte and time back, and can be broken off."""

from __future__ import annotations

import io
import json
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings

import kvengine
from kvengine.inspection.document import BadDocument, document
from kvengine.inspection.transfer.export import Resumption, export, resume
from kvengine.inspection.transfer.import_ import import_lines
from kvengine.inspection.transfer.walk import Counts, microseconds
from kvengine.storage.clock import ManualClock
from tests.inspection.content import Content, contents, fill, found, numbered, open_small, seconds

SLOW = settings(deadline=None, suppress_health_check=list(HealthCheck))


def exported(reads: kvengine.Engine | kvengine.Snapshot, **options: object) -> bytes:
    lines: list[str] = []
    export(reads, lines.append, **options)  # type: ignore[arg-type]
    return "".join(f"{line}\n" for line in lines).encode("ascii")


@SLOW
@given(contents)
def test_what_is_exported_and_imported_is_the_same_to_the_byte_and_the_microsecond(
    content: Content,
) -> None:
    """Any names, any values, ttls of entries, expiries of objects: all arrive as they were."""
    clock = ManualClock(1_764_000_000.123457)
    with open_small("a", clock=clock) as source, open_small("b", clock=clock) as target:
        fill(source, content)
        data = exported(source)
        written = import_lines(io.BytesIO(data), target, now=seconds(clock))
        assert found(target) == found(source)
        assert exported(target).splitlines()[-1] == data.splitlines()[-1]
        assert (written.objects, written.line) == (len(content), data.count(b"\n"))


def test_the_last_line_counts_the_lines_before_it() -> None:
    """Whoever has the end has the whole: it tells objects, entries and bytes of values."""
    with open_small("a") as db:
        assert exported(db) == b'{"end":{"objects":0,"entries":0,"bytes":0}}\n'
        db.set("s", "k", "a", b"123")
        db.set("s", "k", "b", b"")
        db.set("t", "k", "a", b"4")
        *documents, end = map(json.loads, exported(db).splitlines())
        assert end == {"end": {"objects": 2, "entries": 3, "bytes": 4}}
        assert [(one["service"], one["key"]) for one in documents] == [("s", "k"), ("t", "k")]


@pytest.mark.parametrize("after", [None, ("s", "000003"), ("", "")])
def test_an_export_is_of_one_moment_though_writes_go_on(after: tuple[str, str] | None) -> None:
    """What is written while lines go out is in none of them, where it goes on behind one too."""
    with open_small("a") as db:
        numbered(db, 40)
        numbered(db, 10, service="u")
        before = exported(db, after=after)
        lines: list[str] = []

        def write_line(line: str) -> None:
            lines.append(line)
            db.clear_range("s", "000020", None)
            db.set("s", "000015", "n", b"later")
            db.set("t", "new", "n", b"1")
            db.clear_service("u")

        export(db, write_line, after=after)
        assert "".join(f"{line}\n" for line in lines).encode() == before


def test_a_snapshot_is_exported_as_it_is_and_stays_open() -> None:
    with open_small("a") as db:
        db.set("s", "k", "n", b"1")
        with db.snapshot() as held:
            db.clear_all("s", "k")
            assert b'"objects":1' in exported(held)
            assert held.get("s", "k", "n") == b"1"
        assert db.stats().open_snapshots == 0


def test_a_failing_writer_leaves_no_snapshot_open() -> None:
    with open_small("a") as db:
        numbered(db, 10)
        with pytest.raises(BrokenPipeError):
            export(db, lambda line: (_ for _ in ()).throw(BrokenPipeError()))
        assert db.stats().open_snapshots == 0


@pytest.mark.parametrize("narrow", [{}, {"service": "b"}, {"service": "b", "prefix": "k1"}])
def test_an_export_goes_on_behind_any_object(narrow: dict[str, str]) -> None:
    """Behind an object, one that is gone, or a place where none ever was: the rest, in order."""
    with open_small("a") as db:
        for service in ("", "a", "b", "b\0", "c"):
            for number in range(0, 30, 3):
                db.set(service, f"k{number}", "n", b"1")
        db.flush()
        whole = [(one.service, one.key) for one in db.scan()]
        wanted = [
            name
            for name in whole
            if name[0] == narrow.get("service", name[0])
            and name[1].startswith(narrow.get("prefix", ""))
        ]
        places = [*whole, ("", ""), ("b", "k1"), ("b", "k2"), ("aa", "x"), ("z", ""), ("b", "l")]
        for after in places:
            lines = exported(db, after=after, **narrow).splitlines()[:-1]
            names = [(one["service"], one["key"]) for one in map(json.loads, lines)]
            assert names == [name for name in wanted if name > after], after


def test_services_behind_the_longest_name_are_found() -> None:
    """There is no name between a service of the greatest length and the next to seek to."""
    longest = "m" * 65536
    with open_small("a") as db:
        for service in ("a", longest, "n"):
            db.set(service, "k", "n", b"1")
        for after, rest in ((("a", "k"), 2), ((longest, "k"), 1), (("n", "k"), 0)):
            assert exported(db, after=after).count(b'"entries":{') == rest


def test_more_services_than_a_page_of_them() -> None:
    with open_small("a") as db:
        with db.batch() as batch:
            for number in range(2500):
                batch.set(f"{number:04}", "k", "n", b"1")
        lines = exported(db, after=("0003", "k")).splitlines()
        assert [json.loads(one)["service"] for one in lines[:-1]] == [
            f"{number:04}" for number in range(4, 2500)
        ]


def test_a_file_cut_at_any_byte_goes_on_to_the_same_file() -> None:
    """Whatever a broken export left: cut it where `resume` says, go on, and nothing differs."""
    with open_small("a") as db:
        for number in range(6):
            db.set("s" * (number // 2), f"k{number}\0\u202e", "n", b"%d" % number * number)
        whole = exported(db)
        for cut in range(len(whole) + 1):
            at = resume(io.BytesIO(whole[:cut]))
            assert at.complete == (cut == len(whole)), cut
            assert (
                at.size <= cut and whole[: at.size].count(b"\n") == at.counts.objects + at.complete
            )
            if not at.complete:
                rest = exported(db, after=at.after, counted=at.counts)
                assert whole[: at.size] + rest == whole, cut


def test_what_is_no_broken_export_is_not_gone_on_with() -> None:
    """Lines lost in the midst, out of order, or behind the end: a new file is asked for."""
    with open_small("a") as db:
        numbered(db, 4, size=3)
        lines = exported(db).splitlines(keepends=True)
    for wrong in (
        [lines[0], b"garbage\n", lines[1]],
        [lines[1], lines[0], lines[2]],
        [lines[0], lines[0], lines[1]],
        [lines[0], lines[2], lines[3], lines[4]],
        [*lines, lines[0]],
        [b"garbage", lines[0]],
        [b'{"end":{"objects":"x"}}\n'],
    ):
        with pytest.raises(BadDocument, match=r"new file|end of an export"):
            resume(wrong)
    assert resume([]) == Resumption(None, Counts(), 0, False)
    assert resume([lines[0], b"garbage\n"]).size == len(lines[0])


def test_progress_is_told_on_the_way_and_at_the_end() -> None:
    with open_small("a") as db:
        numbered(db, 2500, size=10)
        told: list[Counts] = []
        counts = export(db, lambda line: None, progress=told.append)
        assert [one.objects for one in told] == [1000, 2000, 2500]
        assert told[-1] == counts


@pytest.mark.slow
def test_memory_stays_flat_while_a_large_database_goes_out() -> None:
    """Twenty times as many objects take no more memory on their way."""
    peaks = []
    for count in (2_000, 40_000):
        with open_small("a", cache_size=0, memtable_size=500_000, block_size=4096) as db:
            numbered(db, count, size=200)
            db.flush()
            tracemalloc.start()
            export(db, lambda line: None)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert peaks[1] < peaks[0] + 2_000_000, peaks


def test_microseconds_come_back_from_the_float_that_told_them() -> None:
    """Multiplying such a float falls short by one for many times: the nearest one is meant."""
    start = 1_764_000_000_000_000
    times = [*range(start, start + 5000), 1, 10**15 + 7, 4 * 10**15 + 1, 253_402_300_799_000_000]
    assert [microseconds(time / 1_000_000) for time in times] == times
    assert microseconds(10**30) == 253_402_300_799_000_000


def test_documents_carry_expiries_as_absolute_times() -> None:
    clock = ManualClock(1_000.5)
    with open_small("a", clock=clock) as db:
        db.set("s", "k", "n", b"1", ttl=10)
        db.expire("s", "k", at=2_000.25)
        data = json.loads(exported(db).splitlines()[0])
        assert data["expires_at"] == 2_000.25 and data["entries"]["n"]["expires_at"] == 1_010.5
        loaded = db.load("s", "k")
        assert loaded is not None and data == json.loads(json.dumps(document(loaded)))
