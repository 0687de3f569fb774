"""A reader that verifies beside an owner which replaces files: no damage that is not there.

``verify()`` of a reader told of "segment is missing" and "WAL file is missing" as soon as the owner
had flushed or compacted, since it looked for the files of its own moment.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import kvengine
from kvengine.fs.memory import MemoryFileSystem
from tests.inspection.damage_forge import forge_manifest
from tests.regressions.disks import HookedDisk


class Pair:
    """An owner, and a reader that has a segment and a WAL of its."""

    def __init__(self) -> None:
        self.fs = HookedDisk()
        self.owner = kvengine.open("/db", fs=self.fs, background="none")
        self.owner.set("s", "flushed", "n", b"1" * 100)
        self.owner.flush()
        self.owner.set("s", "logged", "n", b"2" * 100)
        self.reader = kvengine.open("/db", fs=self.fs, read_only=True)

    def paths(self, kind: str) -> list[str]:
        return [path for path in self.fs.paths() if path.endswith(kind)]

    def replace_files(self) -> None:
        """Let every segment and WAL that the reader knows go."""
        before = {*self.paths(".segment"), *self.paths(".wal")}
        self.owner.flush()
        self.owner.compact()
        assert not before & {*self.paths(".segment"), *self.paths(".wal")}

    def reopen(self) -> None:
        self.owner.close()
        self.owner = kvengine.open("/db", fs=self.fs, background="none")


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    yield made
    made.reader.close()
    made.owner.close()


def test_what_a_compaction_removed_is_no_damage(pair: Pair) -> None:
    """A monitor that verified beside its application rang the alarm at each compaction."""
    pair.replace_files()
    assert pair.reader.verify() == []
    assert pair.reader.get_all("s", "flushed") == {"n": b"1" * 100}


def test_a_manifest_replaced_at_any_call_is_no_damage(pair: Pair) -> None:
    """The owner restarts in the midst: CURRENT named a manifest that was gone a call later."""
    calls = 0

    def count(called: str, path: str) -> None:
        nonlocal calls
        calls += 1

    pair.fs.hook = count
    assert pair.reader.verify() == []
    for n in range(1, calls + 1):
        pair.reader.refresh()
        calls = 0

        def restart(called: str, path: str, n: int = n) -> None:
            nonlocal calls
            calls += 1
            if calls == n:
                pair.fs.hook = None
                pair.replace_files()
                pair.reopen()
                pair.owner.set("s", "logged", "n", b"%d" % n)

        pair.fs.hook = restart
        assert pair.reader.verify() == []
        pair.fs.hook = None


@pytest.mark.parametrize("kind", [".segment", ".wal"])
def test_what_the_manifest_names_and_is_gone_is_damage(pair: Pair, kind: str) -> None:
    lost = pair.paths(kind)
    for path in lost:
        pair.fs.unlink(path)
    found = pair.reader.verify()
    assert found and {error.path for error in found} <= set(lost)
    assert "missing" in found[0].reason


def test_a_directory_that_is_gone_is_damage(pair: Pair) -> None:
    """It ended in a FileNotFoundError, of CURRENT, from a verb that returns what it finds."""
    pair.fs.unlink("/db/CURRENT")
    assert [error.path for error in pair.reader.verify()] == ["/db/CURRENT"]


@pytest.mark.parametrize("in_force", [True, False])
def test_damage_in_what_the_reader_still_reads_is_told(pair: Pair, in_force: bool) -> None:
    """A segment that the owner has replaced is read for as long as the reader has it open."""
    (path,) = pair.paths(".segment")
    pair.fs.flip(path, 40)
    if not in_force:
        forge_manifest(pair.fs, lambda catalog: catalog.segments.clear())
    assert [error.path for error in pair.reader.verify()] == [path]


def test_another_database_at_the_path_is_no_damage(pair: Pair) -> None:
    """A directory that was switched for another: its files have the numbers of those before."""
    other = MemoryFileSystem()
    with kvengine.open("/db", fs=other, background="none") as db:
        db.set("t", "k", "n", b"3" * 50)
        db.flush()
        db.set("t", "k", "n", b"4")
    for path in pair.fs.paths():
        if not path.endswith("LOCK"):
            pair.fs.unlink(path)
    for path in other.paths():
        if not path.endswith("LOCK"):
            file = pair.fs.create(path)
            file.write(other.read_bytes(path))
    assert pair.reader.verify() == []
