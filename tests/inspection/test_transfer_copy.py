"""Copy: one database becomes what another holds, directories or owners, and never itself."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

import kvengine
from kvengine.errors import KVEngineError
from kvengine.fs.memory import MemoryFileSystem
from kvengine.inspection.access import Access
from kvengine.inspection.transfer.copy import (
    Copied,
    DoesNotFit,
    HoldsOthers,
    NotEqual,
    SourceChanged,
    copy,
)
from kvengine.storage.clock import ManualClock
from tests.inspection.content import (
    Content,
    Found,
    contents,
    fill,
    found,
    numbered,
    open_small,
    seconds,
)
from tests.share.raw import eventually

SLOW = settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=50)


@SLOW
@given(contents)
def test_a_copy_is_the_same_to_the_byte_and_the_microsecond(content: Content) -> None:
    clock = ManualClock(1_764_000_000.123457)
    with open_small("a", clock=clock) as source, open_small("b", clock=clock) as target:
        fill(source, content)
        copied = copy(source, target, now=seconds(clock), batch_objects=3)
        assert found(target) == found(source)
        assert (copied.objects, copied.written) == (len(content), len(content))
        assert source.stats().open_snapshots == target.stats().open_snapshots == 0
        again = copy(source, target, now=seconds(clock), batch_objects=3)
        assert again == copied._replace(written=0), "nothing was equal, or the checksum varies"


def test_workflows_and_retentions_are_carried() -> None:
    """Completed ones with and without state, with the time of completion; retentions without any
    object too, of the services that are copied in whole."""
    clock = ManualClock()
    now = seconds(clock)
    with open_small("a", clock=clock) as source, open_small("b", clock=clock) as target:
        source.workflow("Order", "done", retention=500.5).complete()
        source.set("Order", "stateful", "n", b"1")
        source.workflow("Order", "stateful", retention=700).complete()
        source.set("Order", "running", "n", b"1")
        source.set_retention("Order", timedelta(days=7, microseconds=1))
        source.set_retention("Unused", 0)
        copy(source, target, service="Unused", now=now)
        assert target.retentions() == {"Unused": timedelta(0)}
        copy(source, target, service="Order", prefix="d", now=now)
        assert target.retentions() == {"Unused": timedelta(0)}
        copy(source, target, now=now)
        assert target.retentions() == source.retentions()

        def facts(db: kvengine.Engine) -> list[object]:
            return [(one.key, one.completed_at, one.expires_at) for one in db.workflows("Order")]

        assert facts(target) == facts(source)
        assert [one[0] for one in facts(target)] == ["done", "running", "stateful"]  # type: ignore[index]
        assert found(target) == found(source)


def test_a_part_is_copied_and_the_rest_of_the_target_stays() -> None:
    """Only what is copied is compared with the target: other services and prefixes are not."""
    with open_small("a") as source, open_small("b") as target:
        for service in "st":
            for key in ("a1", "a2", "b1"):
                source.set(service, key, "n", b"1")
                target.set(service, key, "old", b"0")
        target.set("s", "b2", "old", b"0")
        target.set("r", "b2", "old", b"0")
        copy(source, target, service="s", prefix="a")
        changed = [(one.service, one.key) for one in target.scan() if "n" in one.entries]
        assert changed == [("s", "a1"), ("s", "a2")]
        assert target.get_all("s", "a2") == {"n": b"1"}
        with pytest.raises(ValueError, match="name a service"):
            copy(source, target, prefix="a")


def test_what_only_the_target_has_is_refused_kept_or_cleared() -> None:
    """Nothing is written where it is refused, and the first ones are named."""
    with open_small("a") as source, open_small("b") as target:
        for key in "bd":
            source.set("s", key, "n", b"1")
        for number in range(8):
            target.set("s", f"c{number}", "n", b"0")
        target.set("z", "k", "n", b"0")
        before = found(target)
        with pytest.raises(HoldsOthers, match=r'9 objects: "s" "c0", .*"c4", \.\.\.;') as no:
            copy(source, target)
        assert no.value.names[0] == ("s", "c0") and len(no.value.names) == 5
        assert found(target) == before
        kept = copy(source, target, others="keep")
        assert (kept.objects, kept.others) == (2, 9)
        assert found(target) == before | found(source)
        cleared = copy(source, target, others="clear")
        assert cleared == kept._replace(written=0), "the checksum is that of what was copied"
        assert found(target) == found(source)
        with pytest.raises(ValueError, match="others must be one of refuse, keep, clear"):
            copy(source, target, others="drop")  # type: ignore[arg-type]


def test_a_copy_goes_on_with_what_is_missing_or_not_equal() -> None:
    """What is equal is not written again, whatever the copy before was cut off by."""
    with open_small("a") as source, open_small("b") as target:
        numbered(source, 50)
        told: list[tuple[int, int]] = []

        def broken_off(done: int, total: int, what: str) -> None:
            if what == "copying":
                told.append((done, total))
            if len(told) == 2:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            copy(source, target, batch_objects=10, progress=broken_off)
        assert told == [(10, 50), (20, 50)] and len(found(target)) == 20
        target.set("s", "000003", "n", b"other")
        target.set("s", "000004", "more", b"")
        target.expire("s", "000005", at=4e9)
        target.set("s", "000006", "n", b"6", expires_at=4e9)
        assert copy(source, target, dry_run=True) == Copied(50, 100, 5090, 34, 0, 0, "")
        versions = {key: target.version("s", key) for key in target.object_keys("s")}
        assert copy(source, target).written == 34
        assert found(target) == found(source)
        written = {key for key in versions if target.version("s", key) != versions[key]}
        assert written == {"000003", "000004", "000005", "000006"}


def test_names_and_values_are_checked_before_anything_moves() -> None:
    """The error names the first objects that do not fit, why, and how many they are."""
    with open_small("a") as source, open_small("b", max_value_size=200) as target:
        numbered(source, 20)
        for number in range(7):
            source.set("t", f"{number}", "n", bytes(201 + number))
        said = r'7 objects: "t" "0" \(a value of 201 bytes, at most 200 go\), "t" "1"'
        with pytest.raises(DoesNotFit, match=said) as refused:
            copy(source, target)
        assert refused.value.names == [("t", f"{number}") for number in range(5)]
        assert found(target) == {}


def meddled(phase: str, meddle: Callable[[], object]) -> Callable[[int, int, str], None]:
    """Progress that does something once, when the copy is in a phase."""
    left = [meddle]

    def progress(done: int, total: int, what: str) -> None:
        if what == phase and left:
            left.pop()()

    return progress


def test_a_target_that_others_write_to_is_told() -> None:
    """The comparison at the end finds each kind of difference, and names it."""
    with open_small("a") as source, open_small("b") as target:
        numbered(source, 5)
        source.workflow("s", "000004", retention=4e9).complete()

        def meddle() -> None:
            target.clear_all("s", "000000")
            target.set("s", "0000000", "v", b"")
            target.set("s", "000001", "v", b"")
            target.set("s", "000002", "n", b"2", expires_at=4e9)
            target.expire("s", "000003", at=4e9)
            entries, ends = target.get_all("s", "000004"), target.expires_at("s", "000004")
            target.clear_all("s", "000004")  # which ends as before, but was not completed
            for name, value in entries.items():
                target.set("s", "000004", name, value)
            target.expire("s", "000004", at=ends)

        said = (
            r'6 objects: "s" "000000" \(missing there\), "s" "0000000" \(missing here\),'
            r' "s" "000001" \(not equal\), "s" "000002" \(not equal\), .*, \.\.\.;'
            r" 5 with checksum \w{32} here, 5 with checksum \w{32} there"
        )
        with pytest.raises(NotEqual, match=said):
            copy(source, target, progress=meddled("copying", meddle))


def test_a_source_that_changes_is_told_and_copied_again() -> None:
    """The copy is of one moment, and whole; what came later is named, and moved by another run."""
    with open_small("a") as source, open_small("b") as target:
        numbered(source, 5)
        before = found(source)

        def meddle() -> None:
            source.clear_all("s", "000000")
            source.set("s", "000001", "v", b"")
            source.set("t", "new", "v", b"")

        said = r'3 objects: "s" "000000", "s" "000001", "t" "new"; copy again'
        with pytest.raises(SourceChanged, match=said) as changed:
            copy(source, target, progress=meddled("copying", meddle))
        assert found(target) == before
        assert (changed.value.copied.objects, changed.value.copied.written) == (5, 5)
        assert len(changed.value.copied.checksum) == 32
        copied = copy(source, target, others="clear")
        assert (copied.written, copied.others) == (2, 1)
        assert found(target) == found(source)


def test_what_expires_meanwhile_is_no_difference() -> None:
    """Objects and entries that end during the copy are left out, and are no change of the source;
    nor are those that have ended in the source alone, which the target holds for a moment more."""
    clock = ManualClock()
    with open_small("a", clock=clock) as source, open_small("b", clock=clock) as target:
        for key in ("gone", "part", "rest"):
            source.set("s", key, "n", b"1", ttl=None if key == "rest" else 5)
            source.set("s", key, "m", b"1", ttl=5 if key == "gone" else None)
        source.set("s", "whole", "n", b"1")
        source.expire("s", "whole", ttl=5)
        target.set("s", "late", "n", b"1", ttl=30)

        def wait() -> None:
            clock.advance(10)

        copied = copy(source, target, now=seconds(clock), progress=meddled("copying", wait))
        assert (copied.objects, copied.written) == (4, 4)
        assert found(target).keys() - {("s", "late")} == found(source).keys()
        assert found(source).keys() == {("s", "part"), ("s", "rest")}


def test_a_copy_of_files_sees_what_their_owner_commits_meanwhile(tmp_path: Path) -> None:
    """Files that are read beside an owner are looked at again before the copy is called good."""
    with (
        kvengine.open(tmp_path / "a", live_access=False) as owner,
        Access(str(tmp_path / "a")) as source,
        open_small("b") as target,
    ):
        owner.set("s", "k", "n", b"1")
        source.refresh()
        assert source.mode == "files"
        later = meddled("copying", lambda: owner.set("s", "k", "n", b"2"))
        with pytest.raises(SourceChanged, match=r'1 object: "s" "k"'):
            copy(source.store, target, progress=later)


def test_a_directory_is_not_copied_into_itself(tmp_path: Path) -> None:
    """By no path: relative, through a link, or through the owner's socket."""
    with kvengine.open(tmp_path / "db", background="thread") as db:
        db.set("s", "k", "n", b"1")
        (tmp_path / "link").symlink_to("db")
        for path in ("db", "link", "x/../db"):
            with Access(os.path.join(tmp_path, path)) as other:
                if path != "x/../db":
                    assert other.mode == "live"
                for one, two in ((db, other.store), (other.store, db), (other.store, other.store)):
                    with pytest.raises(KVEngineError, match="one database"):
                        copy(one, two)
            (tmp_path / "x").mkdir(exist_ok=True)


def test_two_databases_on_one_file_system_in_memory_are_two() -> None:
    fs = MemoryFileSystem()
    with open_small("/a", fs=fs) as source, open_small("/b", fs=fs) as target:
        source.set("s", "k", "n", b"1")
        assert copy(source, target).objects == 1
        with pytest.raises(KVEngineError, match="one database"):
            copy(source, source)


def test_a_copy_from_owner_to_owner_takes_both_sockets(tmp_path: Path) -> None:
    """Neither is opened behind its owner's back; ttls go through to the microsecond, and so do
    objects of more bytes than an owner takes in one commit."""
    with (
        kvengine.open(tmp_path / "a", background="thread") as one,
        kvengine.open(tmp_path / "b", background="thread") as two,
    ):
        numbered(one, 2500, size=500)
        for number in range(6):
            one.set("t", "large", f"{number}", os.urandom(3_000_000))
        one.expire("t", "large", ttl=1000)
        one.set("t", "ttl", "n", b"1", ttl=1000)
        one.expire("t", "ttl", ttl=2000.5)
        one.set_retention("t", timedelta(days=7))
        two.set("s", "000000", "old", b"0")
        with (
            Access(str(tmp_path / "a")) as source,
            Access(str(tmp_path / "b"), write=True) as target,
        ):
            assert (source.mode, target.mode) == ("live", "live")
            assert copy(source.store, target.store, service="s").written == 2500
            copied = copy(source.store, target.store)
            assert (copied.objects, copied.written) == (2502, 2)
        assert found(one) == found(two)
        assert two.retentions() == {"t": timedelta(days=7)}
        assert eventually(lambda: not (one.stats().open_snapshots or two.stats().open_snapshots))


def test_found_tells_all_apart() -> None:
    """What these tests compare by: a change of a value, an expiry or a ttl is seen."""
    seen: list[Found] = []
    with open_small("a") as db:
        db.set("s", "k", "n", b"1")
        for change in (
            lambda: db.set("s", "k", "n", b"2"),
            lambda: db.set("s", "k", "n", b"2", expires_at=4e9),
            lambda: db.expire("s", "k", at=4.1e9),
        ):
            seen.append(found(db))
            change()
        assert found(db) not in seen and seen[0] != seen[1] != seen[2]
