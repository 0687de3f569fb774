"""Copy: from one database to another, directories or owners, and never into itself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

import kvengine
from kvengine.errors import KVEngineError
from kvengine.fs.memory import MemoryFileSystem
from kvengine.inspection.access import Access
from kvengine.inspection.transfer.copy import copy
from kvengine.inspection.transfer.writer import ObjectExists, Written
from kvengine.storage.clock import ManualClock
from tests.inspection.content import Content, contents, fill, found, numbered, open_small, seconds

SLOW = settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=50)


@SLOW
@given(contents)
def test_a_copy_is_the_same_to_the_byte_and_the_microsecond(content: Content) -> None:
    clock = ManualClock(1_764_000_000.123457)
    with open_small("a", clock=clock) as source, open_small("b", clock=clock) as target:
        fill(source, content)
        written = copy(source, target, now=seconds(clock), batch_objects=3)
        assert found(target) == found(source)
        assert written.objects == len(content) and source.stats().open_snapshots == 0


def test_a_part_is_copied_and_the_rest_of_the_target_stays() -> None:
    with open_small("a") as source, open_small("b") as target:
        for service in "st":
            for key in ("a1", "a2", "b1"):
                source.set(service, key, "n", b"1")
                target.set(service, key, "old", b"0")
        copy(source, target, service="s", prefix="a", after=("s", "a1"))
        changed = [one.key for one in target.scan() if "n" in one.entries]
        assert changed == ["a2"] and target.get_all("s", "a2") == {"n": b"1"}
        copy(source, target, service="t", mode="merge")
        assert target.get_all("t", "b1") == {"n": b"1", "old": b"0"}
        copied = copy(source, target, mode="skip", service="s")
        assert (copied.objects, copied.skipped) == (0, 3)
        with pytest.raises(ObjectExists, match=r"^object \('s', 'a1'\) exists already: clear it"):
            copy(source, target, mode="new")
        with pytest.raises(ValueError, match="name a service"):
            copy(source, target, prefix="a")


def test_a_copy_goes_on_behind_the_last_that_arrived() -> None:
    """With mode "replace" it may also simply start again."""
    with open_small("a") as source, open_small("b") as target:
        numbered(source, 50)
        told: list[Written] = []
        copy(source, target, after=("s", "000029"), batch_objects=10, progress=told.append)
        assert [one.objects for one in told] == [10, 20]
        copy(source, target)
        assert found(target) == found(source)
        assert copy(source, target, dry_run=True).objects == 50


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
    """Neither is opened behind its owner's back; large objects, ttls and all modes go through."""
    with (
        kvengine.open(tmp_path / "a", background="thread") as one,
        kvengine.open(tmp_path / "b", background="thread") as two,
    ):
        numbered(one, 2500, size=500)
        one.set("t", "large", "n", os.urandom(3_000_000))
        one.set("t", "ttl", "n", b"1", ttl=1000)
        one.expire("t", "ttl", ttl=2000.5)
        two.set("s", "000000", "old", b"0")
        with (
            Access(str(tmp_path / "a")) as source,
            Access(str(tmp_path / "b"), write=True) as target,
        ):
            assert (source.mode, target.mode) == ("live", "live")
            copied = copy(source.store, target.store, after=("s", "000100"), service="s")
            assert copied.objects == 2399
            assert copy(source.store, target.store, mode="skip").skipped == 2400
            copy(source.store, target.store)
        left, right = found(one), found(two)
        late = (right["t", "ttl"][2] or {})["n"] - (left["t", "ttl"][2] or {})["n"]
        assert 0 <= late < 60
        assert {**left, ("t", "ttl"): left["t", "ttl"][:2]} == {
            **right,
            ("t", "ttl"): right["t", "ttl"][:2],
        }
        assert one.stats().open_snapshots == 0
