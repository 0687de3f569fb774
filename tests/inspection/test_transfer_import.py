"""Import: what each mode does, in whole batches, and what is told of lines that are wrong."""

from __future__ import annotations

import io
import json
import os
import threading
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import kvengine
from kvengine.errors import VersionConflict, WriteFailed
from kvengine.fs.faulty import FaultyFileSystem
from kvengine.fs.memory import MemoryFileSystem
from kvengine.inspection.document import BadDocument
from kvengine.inspection.transfer.export import export
from kvengine.inspection.transfer.import_ import BadLine, Incomplete, import_lines
from kvengine.inspection.transfer.writer import ObjectExists, Written
from kvengine.storage.clock import ManualClock
from tests.inspection.content import Content, contents, fill, found, numbered, open_small, seconds

SLOW = settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=50)
END = b'{"end":{"objects":%d,"entries":%d,"bytes":%d}}\n'


def exported(db: kvengine.Engine) -> bytes:
    lines: list[str] = []
    export(db, lines.append)
    return "".join(f"{line}\n" for line in lines).encode("ascii")


def text(key: str, expires_at: object = None, **entries: object) -> bytes:
    """A line of an object of service ``s``; entries by their forms, or JSON values."""
    forms = {
        name: one if isinstance(one, dict) else {"value": one} for name, one in entries.items()
    }
    data = {"service": "s", "key": key, "expires_at": expires_at, "entries": forms}
    return json.dumps(data).encode() + b"\n"


def put(db: kvengine.Engine, *lines: bytes, **options: object) -> Written:
    return import_lines(lines, db, partial=True, **options)  # type: ignore[arg-type]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_000.0)


@pytest.fixture
def db(clock: ManualClock) -> Iterator[kvengine.Engine]:
    with open_small("db", clock=clock) as opened:
        yield opened


# --- modes


def test_replace_makes_the_object_what_the_document_says(db: kvengine.Engine) -> None:
    """Entries and an expiry that the document does not tell of are gone."""
    db.set("s", "k", "old", b"1", ttl=5)
    db.expire("s", "k", at=5_000)
    db.set("s", "other", "n", b"1")
    assert put(db, text("k", new=2)).objects == 1
    assert found(db)["s", "k"] == ({"new": b"2"}, None, None)
    assert db.get("s", "other", "n") == b"1"


def test_replace_with_nothing_clears_the_object(db: kvengine.Engine) -> None:
    db.set("s", "k", "old", b"1")
    put(db, text("k"))
    assert found(db) == {}


def test_merge_sets_what_the_document_has_and_leaves_the_rest(
    db: kvengine.Engine, clock: ManualClock
) -> None:
    """An expiry that the document states is set; where it states none, the object keeps its own."""
    db.set("s", "k", "old", b"1", ttl=5)
    db.set("s", "k", "both", b"1", ttl=5)
    db.expire("s", "k", at=5_000)
    put(db, text("k", both=2, new=3), mode="merge", now=seconds(clock))
    assert found(db)["s", "k"] == (
        {"both": b"2", "new": b"3", "old": b"1"},
        5_000.0,
        {"old": 1_005.0},
    )
    put(
        db,
        text("k", 6_000, new={"value": 4, "expires_at": 1_500}),
        mode="merge",
        now=seconds(clock),
    )
    assert found(db)["s", "k"][1:] == (6_000.0, {"old": 1_005.0, "new": 1_500.0})


def test_skip_leaves_existing_objects_alone_and_counts_them(db: kvengine.Engine) -> None:
    db.set("s", "k1", "n", b"old")
    version = db.version("s", "k1")
    written = put(db, text("k0", n=1), text("k1", n=1), text("k2", n=1), mode="skip")
    assert (written.objects, written.skipped, written.line) == (2, 1, 3)
    assert db.get("s", "k1", "n") == b"old" and db.version("s", "k1") == version
    assert db.get("s", "k0", "n") == db.get("s", "k2", "n") == b"1"


def test_new_refuses_an_object_that_exists_and_writes_nothing_of_its_batch(
    db: kvengine.Engine,
) -> None:
    """The error names the object and the line, and how far the import came."""
    db.set("s", "k3", "n", b"old")
    lines = [text(f"k{number}", n=number) for number in range(5)]
    with pytest.raises(ObjectExists, match=r"line 4: object \('s', 'k3'\) exists") as caught:
        put(db, *lines, mode="new", batch_objects=2)
    assert (caught.value.line, caught.value.applied) == (4, 2)
    assert list(db.object_keys("s")) == ["k0", "k1", "k3"] and db.get("s", "k3", "n") == b"old"


@pytest.mark.parametrize("mode", ["new", "skip"])
def test_an_object_that_comes_twice_exists_the_second_time(db: kvengine.Engine, mode: str) -> None:
    """Lines count one after another, in one batch too."""
    lines = [text("k", n=1), text("k", n=2)]
    if mode == "new":
        with pytest.raises(ObjectExists, match="line 2"):
            put(db, *lines, mode=mode)
    else:
        assert put(db, *lines, mode=mode).skipped == 1
    assert db.get("s", "k", "n") == b"1"


@pytest.mark.parametrize("mode", ["replace", "merge"])
def test_of_an_object_that_comes_twice_the_second_counts(db: kvengine.Engine, mode: str) -> None:
    put(db, text("k", a=1), text("k", b=2), mode=mode)
    assert db.get_all("s", "k") == ({"b": b"2"} if mode == "replace" else {"a": b"1", "b": b"2"})


@pytest.mark.parametrize("mode", ["new", "skip"])
def test_an_object_that_comes_to_be_meanwhile_is_not_written_over(
    db: kvengine.Engine, mode: str
) -> None:
    """Between the look and the commit somebody else may write: the commit expects absence."""

    class Racing:
        def version(self, service: str, key: str) -> int:
            return db.version(service, key)

        def write(self, batch: kvengine.Batch, **options: object) -> int:
            if not db.version("s", "k1"):
                db.set("s", "k1", "n", b"theirs")
            return db.write(batch, **options)  # type: ignore[arg-type]

    lines = [text(f"k{number}", n=number) for number in range(3)]
    if mode == "new":
        with pytest.raises(ObjectExists) as caught:
            import_lines(lines, Racing(), mode="new", partial=True)
        assert isinstance(caught.value.__cause__, VersionConflict)
        assert list(db.object_keys("s")) == ["k1"]
    else:
        written = import_lines(lines, Racing(), mode="skip", partial=True)
        assert (written.objects, written.skipped) == (2, 1)
    assert db.get("s", "k1", "n") == b"theirs"


def test_an_unknown_mode_is_refused(db: kvengine.Engine) -> None:
    with pytest.raises(ValueError, match="mode must be one of replace, merge, skip, new"):
        put(db, mode="overwrite")
    with pytest.raises(ValueError, match="above zero"):
        put(db, batch_objects=0)
    with pytest.raises(ValueError, match="start_line"):
        put(db, start_line=0)


# --- time


def test_what_has_expired_is_left_out_and_counted(db: kvengine.Engine, clock: ManualClock) -> None:
    """An object, an entry, and an object all of whose entries have: as if they were not told of."""
    lines = [
        text("gone", 1_000, n=1),
        text("part", None, old={"value": 1, "expires_at": 1_000}, n=2),
        text("all", 5_000, old={"value": 1, "expires_at": 999.5}),
        text("kept", 1_000.000001, n=3),
    ]
    for key in ("gone", "part", "all"):
        db.set("s", key, "before", b"1")
    written = put(db, *lines, now=seconds(clock))
    assert written == Written(2, 2, 2, 0, 2, 1, 4)
    assert found(db) == {
        ("s", "kept"): ({"n": b"3"}, 1_000.000001, None),
        ("s", "part"): ({"n": b"2"}, None, None),
    }


@pytest.mark.parametrize("mode", ["merge", "skip", "new"])
def test_what_has_expired_changes_nothing_in_other_modes(
    db: kvengine.Engine, clock: ManualClock, mode: str
) -> None:
    if mode == "merge":
        db.set("s", "k", "n", b"old")
    before = found(db)
    expired = text("k", 999, n=1), text("k2", None, n={"value": 1, "expires_at": 1.0})
    assert put(db, *expired, mode=mode, now=seconds(clock)).expired_objects == 2
    assert found(db) == before


def test_times_beyond_any_calendar_end_with_it(db: kvengine.Engine, clock: ManualClock) -> None:
    put(db, text("k", 10**40, n={"value": 1, "expires_at": 1e300}), now=seconds(clock))
    assert found(db)["s", "k"][1:] == (253_402_300_799.0, {"n": 253_402_300_799.0})


# --- again, and onward


@SLOW
@given(contents, contents, st.integers(1, 5))
def test_the_same_lines_twice_give_the_same_state(
    content: Content, before: Content, batch: int
) -> None:
    """Over whatever was there: replaced objects are those of the lines, the others stay."""
    clock = ManualClock()
    with open_small("a", clock=clock) as source, open_small("b", clock=clock) as target:
        fill(source, content)
        fill(target, before)
        wanted = {**found(target), **found(source)}
        data = exported(source)
        for _ in range(2):
            import_lines(io.BytesIO(data), target, now=seconds(clock), batch_objects=batch)
            assert found(target) == wanted


def test_an_import_that_was_broken_off_at_any_write_goes_on() -> None:
    """The report tells the last line that is written; from the next the rest arrives."""
    with open_small("a") as source:
        numbered(source, 20, size=50)
        data, wanted = exported(source), found(source)
    tried = 0
    for call in range(1, 30):
        memory = MemoryFileSystem()
        disk = FaultyFileSystem(memory)
        told = [Written()]
        with open_small("b", fs=disk) as target:
            disk.fail_at(call, operations=("write", "datasync"))
            try:
                import_lines(io.BytesIO(data), target, batch_objects=3, progress=told.append)
            except WriteFailed:
                tried += 1
            disk.clear()
        with open_small("b", fs=memory) as target:
            done = told[-1].line
            assert {*list(wanted)[:done]} <= {*found(target)} <= {*list(wanted)[: done + 3]}
            import_lines(io.BytesIO(data), target, start_line=done + 1)
            assert found(target) == wanted
    assert tried >= 7


def test_lines_before_the_start_are_counted_and_not_written(db: kvengine.Engine) -> None:
    lines = [text(f"k{number}", n=number) for number in range(4)]
    written = import_lines([*lines, END % (4, 4, 4)], db, start_line=3)
    assert (written.objects, written.line) == (2, 5)
    assert list(db.object_keys("s")) == ["k2", "k3"]
    assert import_lines([*lines, END % (4, 4, 4)], db, start_line=99).objects == 0
    with pytest.raises(BadLine, match="lines were lost"):
        import_lines([*lines, END % (5, 5, 5)], db, start_line=3)


def test_a_dry_run_finds_and_counts_the_same_and_writes_nothing(db: kvengine.Engine) -> None:
    db.set("s", "k0", "n", b"old")
    lines = [text("k0", n=1), text("k1", n=1), text("k2", 1.0, n=1), END % (3, 3, 3)]
    stamp = db.stats().last_stamp
    for mode in ("replace", "merge", "skip"):
        dry = import_lines(lines, db, mode=mode, dry_run=True)  # type: ignore[arg-type]
        assert db.stats().last_stamp == stamp
        with open_small("other") as other:
            other.set("s", "k0", "n", b"old")
            assert import_lines(lines, other, mode=mode) == dry  # type: ignore[arg-type]
    with pytest.raises(ObjectExists):
        import_lines(lines, db, mode="new", dry_run=True)
    with pytest.raises(BadLine):
        put(db, b"{}\n", dry_run=True)


# --- what is wrong with an input

BAD = {
    "not JSON": (b"{", "not JSON"),
    "text": (b"hello", "not JSON"),
    "bytes": (b"\xff\xfe", "not JSON"),
    "a list": (b"[]", "JSON object"),
    "no service": (b'{"key":"k","entries":{}}', "service must be a string"),
    "key a number": (b'{"service":"s","key":1,"entries":{}}', "key must be a string"),
    "no entries": (b'{"service":"s","key":"k"}', "entries must be"),
    "entries a list": (b'{"service":"s","key":"k","entries":[]}', "entries must be"),
    "entry a value": (b'{"service":"s","key":"k","entries":{"n":1}}', "entry 'n' must be"),
    "entry empty": (b'{"service":"s","key":"k","entries":{"n":{}}}', "entry 'n' needs one of"),
    "two forms": (text("k", n={"text": "a", "base64": "YQ=="}), "both text and base64"),
    "unknown form": (text("k", n={"hex": "00"}), "unknown member 'hex'"),
    "no base64": (text("k", n={"base64": "!"}), "base64 does not decode"),
    "text a number": (text("k", n={"text": 1}), "text must be a string"),
    "time a text": (text("k", "soon", n=1), "expires_at must be"),
    "time below zero": (text("k", -1, n=1), "expires_at must be"),
    "time true": (text("k", True, n=1), "expires_at must be"),
    "entry's time a text": (text("k", n={"value": 1, "expires_at": "x"}), "entry 'n'.*expires_at"),
    "version a text": (b'{"service":"s","key":"k","version":"1","entries":{}}', "version must"),
    "part of an object": (
        b'{"service":"s","key":"k","entries":{},"complete":false}',
        "only part of its object",
    ),
    "key too long": (text("k" * 65537, n=1), "over 65,536"),
    "state key too long": (text("k", **{"n" * 65537: 1}), "over 65,536"),
    "surrogate": (b'{"service":"\\ud800","key":"k","entries":{}}', "not JSON"),
    "deep": (b"[" * 100_000, "not JSON"),
    "end without counts": (b'{"end":{}}', "not the end of an export"),
    "end of others": (END % (7, 7, 7), "lines were lost, or changed"),
    "end of other bytes": (END % (2, 2, 3), "lines were lost, or changed"),
    "long line": (text("k", n="x" * 3000), "over 2,000 bytes; if it is meant, raise max_line"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_line_is_named_and_what_is_before_it_is_written(
    db: kvengine.Engine, name: str
) -> None:
    """One sentence with the number of the line, the reason, and from where to go on."""
    bad, reason = BAD[name]
    lines = [text("k0", n=0), text("k1", n=1), bad.strip(b"\n") + b"\n", text("k2", n=2)]
    limit = 2_000 if name == "long line" else 300_000
    with pytest.raises(BadLine, match=reason) as caught:
        import_lines(io.BytesIO(b"".join(lines)), db, max_line=limit)
    assert (caught.value.line, caught.value.applied) == (3, 2)
    told = str(caught.value)
    assert told.startswith("line 3: ") and told.endswith("(mend it, and go on from line 3)")
    assert len(told) < 400 and isinstance(caught.value, BadDocument)
    assert list(db.object_keys("s")) == ["k0", "k1"]


def test_of_a_line_that_is_too_long_little_is_read(db: kvengine.Engine) -> None:
    """A pipe that never ends a line takes no more memory than the bound."""

    class Endless(io.RawIOBase):
        read_so_far = 0

        def readline(self, size: int | None = -1, /) -> bytes:
            assert size is not None and 0 < size <= 10_001
            self.read_so_far += size
            return b"x" * size

    endless = Endless()
    with pytest.raises(BadLine, match=r"line 1: .*10,000 bytes"):
        import_lines(endless, db, max_line=10_000)  # type: ignore[arg-type]
    assert endless.read_so_far <= 10_001


def test_an_input_that_is_cut_between_lines_is_noticed(db: kvengine.Engine) -> None:
    """It has no end: everything it has is written, and that it is not all is an error."""
    with pytest.raises(Incomplete, match="ends behind line 2 without the end line") as caught:
        import_lines([text("k0", n=0), text("k1", n=1)], db)
    assert caught.value.written.line == 2 and list(db.object_keys("s")) == ["k0", "k1"]
    with pytest.raises(Incomplete):
        import_lines([], db)
    with pytest.raises(Incomplete):
        import_lines([END % (0, 0, 0), text("k0", n=0)], db)
    assert import_lines([text("k2", n=0)], db, partial=True).objects == 1


def test_a_lost_line_is_noticed(db: kvengine.Engine) -> None:
    lines = [text(f"k{number}", n=number) for number in range(4)]
    import_lines([*lines, END % (4, 4, 4)], db)
    for lost in range(4):
        rest = [line for number, line in enumerate(lines) if number != lost]
        with pytest.raises(BadLine, match=r"tells of 4 objects .* not of the 3 before it"):
            import_lines([*rest, END % (4, 4, 4)], db)


def test_exports_may_follow_one_another_with_blanks_between(db: kvengine.Engine) -> None:
    """``cat a b`` is an input; blank lines, line ends of other systems and no last end are fine."""
    first = [text("k0", n=0).replace(b"\n", b"\r\n"), END % (1, 1, 1), b"\n", b" \t\r\n"]
    second = [text("k1", n=1), text("k2", n=2), (END % (2, 2, 2)).strip()]
    written = import_lines(io.BytesIO(b"".join(first + second)), db)
    assert (written.objects, written.line) == (3, 7)


def test_an_object_too_large_for_the_store_is_named(db: kvengine.Engine) -> None:
    """What is before it in its batch is written; the error has its line and the limit."""
    with open_small("small", max_value_size=100) as small:
        lines = [text("k0", n=0), text("k1", n="x" * 200), text("k2", n=2)]
        with pytest.raises(BadLine, match=r"line 2: object \('s', 'k1'\): .*max_value_size") as one:
            put(small, *lines)
        assert one.value.applied == 1 and list(small.object_keys("s")) == ["k0"]


def test_batches_are_bounded_by_objects_and_by_bytes(db: kvengine.Engine) -> None:
    """One commit for each: small ones by their number, large ones by their size."""
    told: list[Written] = []
    lines = [text(f"k{number:03}", n=1) for number in range(25)]
    put(db, *lines, batch_objects=10, progress=told.append)
    assert [one.objects for one in told] == [10, 20, 25]
    assert len({db.version("s", f"k{number:03}") for number in range(25)}) == 3
    told.clear()
    put(
        db, *(text(f"k{n}", n="x" * 1000) for n in range(9)), batch_bytes=3000, progress=told.append
    )
    assert [one.objects for one in told] == [3, 6, 9]


def test_the_input_may_be_a_pipe() -> None:
    with open_small("a") as source, open_small("b") as target:
        numbered(source, 300)
        data, wanted = exported(source), found(source)
        read, write = os.pipe()

        def feed() -> None:
            with open(write, "wb", buffering=0) as out:
                for start in range(0, len(data), 777):
                    out.write(data[start : start + 777])

        thread = threading.Thread(target=feed)
        thread.start()
        with open(read, "rb") as pipe:
            import_lines(pipe, target)
        thread.join()
        assert found(target) == wanted


@pytest.mark.slow
def test_memory_stays_flat_while_a_large_input_comes_in() -> None:
    """Twenty times as many lines take no more memory on their way to the store."""
    peaks = []
    for count in (1_500, 30_000):
        lines = (text(f"{number:06}", n=number, v="x" * 100) for number in range(count))
        sink = _Sink()
        tracemalloc.start()
        import_lines(lines, sink, partial=True, batch_bytes=100_000)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert sink.operations == count * 3
    assert peaks[1] < peaks[0] + 500_000, peaks


class _Sink:
    """Takes batches and keeps nothing: what is left is the memory of the import alone."""

    def __init__(self) -> None:
        self.operations = 0

    def version(self, service: str, key: str) -> int:
        return 0

    def write(self, batch: kvengine.Batch, **options: object) -> int:
        self.operations += len(batch)
        return 1
