"""Files damaged in every way: dumps and the audit never raise, say where, and miss nothing.

What must be found is decided by an oracle: a copy of the damaged directory is opened, by a
reader and by an owner, and all of it is read. Where that raises, or something else is read than
was written, the audit must say damage. One loss is none that anybody could tell: commits at the
end of the last WAL that no proof reaches. Then the database must read as if exactly those had
never been written, and bytes that are left of them are a note.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from kvengine.errors import KVEngineError
from kvengine.fs.memory import MemoryFileSystem
from kvengine.inspection.audit.verify import Audit, audit
from kvengine.inspection.dump import kinds, manifest, segment, wal
from tests.inspection.damage_subjects import (
    WAL_HEADER,
    Content,
    Subject,
    kind,
    opened,
    part_of,
    parts,
    read_all,
    rich,
)

DUMPS = {"segment": segment, "wal": wal, "manifest": manifest, "CURRENT": manifest}
JUNK = bytes(range(1, 250)) * 2


@dataclass
class Damage:
    """What is done to a copy. ``at``: the first byte that is not as it was."""

    what: str
    path: str
    at: int
    do: Callable[[MemoryFileSystem], None]

    def __str__(self) -> str:
        return f"{self.path} {self.what} at {self.at}"


def put(fs: MemoryFileSystem, path: str, data: bytes) -> None:
    """Replace a file."""
    if fs.exists(path):
        fs.unlink(path)
    file = fs.create(path)
    file.write(data)
    file.sync()
    file.close()


def flips(subject: Subject, path: str) -> Iterator[Damage]:
    """A byte flipped in each part, at its start, in the midst, at its end; and evenly all over."""
    starts, size = parts(subject, path), subject.fs.size(path)
    used = min(size, starts[-1] + 72)
    places = {*range(0, used, max(1, used // 16)), size - 1}
    for start, stop in zip(starts, [*starts[1:], used], strict=True):
        places |= {start, start + 3, (start + stop) // 2, stop - 1}
    for at in sorted(place for place in places if 0 <= place < size):
        mask = (1, 0x80, 0xFF)[at % 3]
        yield Damage("flipped", path, at, lambda fs, at=at, mask=mask: fs.flip(path, at, mask))


def cuts(subject: Subject, path: str) -> Iterator[Damage]:
    """Cut at the edges of its parts, beside them, and evenly; emptied."""
    starts, size = parts(subject, path), subject.fs.size(path)
    used = min(size, starts[-1] + 72)
    places = {0, 1, WAL_HEADER - 1, size - 1, *range(0, used, max(1, used // 10))}
    places |= {start + off for start in starts for off in (0, 7)}
    for at in sorted(place for place in places if 0 <= place < size):
        yield Damage("cut", path, at, lambda fs, at=at: fs.cut(path, at))


def shortened(subject: Subject, path: str) -> Iterator[Damage]:
    """A few bytes missing in the midst of a part: what is behind them has moved down."""
    data = subject.fs.read_bytes(path)
    starts = parts(subject, path)
    for start, stop in zip(starts, [*starts[1:], len(data)], strict=True):
        at = (start + stop) // 2
        if stop - start > 4 and data[at : at + 3] != bytes(3):
            less = data[:at] + data[at + 3 :]
            yield Damage("shortened", path, at, lambda fs, less=less: put(fs, path, less))


def appended(subject: Subject, path: str) -> Iterator[Damage]:
    """Bytes behind the end: zeros, junk, the file's own first bytes."""
    data = subject.fs.read_bytes(path)
    for name, more in (("zeros", bytes(100)), ("junk", JUNK), ("itself", data[:300])):
        yield Damage(
            f"with {name} appended", path, len(data), lambda fs, m=more: put(fs, path, data + m)
        )


def replaced(subject: Subject, path: str) -> Iterator[Damage]:
    """Removed; a copy of another of its kind, or of another kind; one of another database."""
    fs = subject.fs
    yield Damage("removed", path, 0, lambda fs: fs.unlink(path))
    for other in subject.paths():
        if other != path:
            data = fs.read_bytes(other)
            yield Damage(f"replaced by {other}", path, 0, lambda fs, d=data: put(fs, path, d))


def exchanged(subject: Subject, path: str) -> Iterator[Damage]:
    """In the place of another, and that in its place."""
    for other in subject.paths(kind(path)):
        if other > path:

            def swap(fs: MemoryFileSystem, other: str = other) -> None:
                fs.rename(path, "/aside")
                fs.rename(other, path)
                fs.rename("/aside", other)

            yield Damage(f"exchanged with {other}", path, 0, swap)


WAYS = {
    "flips": flips,
    "cuts": cuts,
    "shortened": shortened,
    "appended": appended,
    "replaced": replaced,
    "exchanged": exchanged,
}


def foreign(subject: Subject, twin: Subject, path: str) -> Iterator[Damage]:
    """The file of the same name of another database, made by the same program."""
    if twin.fs.exists(path) and kind(path) != "CURRENT":
        data = twin.fs.read_bytes(path)
        yield Damage("of another database", path, 0, lambda fs: put(fs, path, data))


@pytest.fixture(scope="module", params=["closed", "os", "sync"])
def subject(request: pytest.FixtureRequest) -> Subject:
    return rich(request.param)


@pytest.fixture(scope="module")
def twin(subject: Subject) -> Subject:
    return rich(subject.name)


def size_of(fs: MemoryFileSystem, path: str) -> int:
    return fs.size(path) if fs.exists(path) else 0


def dumped(fs: MemoryFileSystem, path: str) -> None:
    """Every dump of a file, of the wrong kind too, to its end; what it tells fits its damage."""
    for module in {id(one): one for one in DUMPS.values()}.values():
        found = module.read(path, fs)
        lines = list(module.describe(found, None))
        assert all(line.isprintable() for line in lines)
        items = list(module.records(module.read(path, fs)))
        assert all(len(one) == 1 for one in items)
        json.dumps(items)
        told = [one["damage"] for one in items if "damage" in one]
        assert len(told) == len(found.damage)
        assert all(one["offset"] <= size_of(fs, one["path"]) for one in told)
        module.damage(path, fs)
    kinds.kind_of(path, fs)


def outcome(fs: MemoryFileSystem) -> list[Content | str]:
    """What a reader and an owner find: the content, or the error by name."""
    found: list[Content | str] = []
    for read_only in (True, False):
        try:
            with opened(fs, read_only=read_only) as db:
                found.append(read_all(db))
        except (KVEngineError, OSError) as error:
            found.append(f"{type(error).__name__}: {error}")
    return found


def untold(subject: Subject, damage: Damage) -> Content | None:
    """What may be read without a word of damage, where the damage takes unproven commits away.

    Only of the last WAL, which nothing seals, and only where bytes are flipped, cut or missing.
    The commits before the damage stay. Those behind a flipped one prove what they state.
    """
    if damage.path != subject.last_wal or damage.what not in ("flipped", "shortened", "cut"):
        return None
    if damage.what == "cut":
        left = [one for one in subject.tail if one.end <= damage.at]
        return left[-1].content if left else subject.before
    left = [one for one in subject.tail if one.end <= damage.at]
    behind = [one for one in subject.tail if one.start > damage.at]
    hit = subject.tail[len(left)].start if len(left) < len(subject.tail) else None
    if damage.at < WAL_HEADER or hit is None or any(one.synced > hit for one in behind):
        return None
    return left[-1].content if left else subject.before


def check(subject: Subject, damage: Damage) -> str:
    """One damaged copy against the oracle."""
    fs = subject.fs.copy()
    damage.do(fs)
    if fs.exists(damage.path):
        dumped(fs, damage.path)
    found = audit("/db", fs)
    assert all(one.offset <= size_of(fs, one.path) for one in found.findings), found
    read = outcome(fs.copy())
    if all(one == subject.content for one in read):
        return "right"
    allowed = untold(subject, damage)
    if allowed is not None and all(one == allowed for one in read):
        check_tail(subject, damage, fs, found)
        return "tail"
    assert found.damage, f"{damage}: nothing was found, and an open says {read!s:.300}"
    check_place(subject, damage, found)
    return "damage"


def check_tail(subject: Subject, damage: Damage, fs: MemoryFileSystem, found: Audit) -> None:
    """A torn tail is a note at the byte where it begins, and no damage."""
    assert found.damage == [], damage
    ends = [one.end for one in subject.tail if one.end <= damage.at]
    start = max([WAL_HEADER, *ends]) if damage.at >= WAL_HEADER else 0
    left = fs.read_bytes(damage.path)[start:].strip(b"\0")
    places = [one.offset for one in found.notes if one.path == damage.path]
    assert places == ([start] if left else []), damage


def check_place(subject: Subject, damage: Damage, found: Audit) -> None:
    """Damage is told of the file that it is in; of a flipped byte, at the part that it is in.

    A manifest's last edit is noted as torn; what shows that it was rot are other files.
    """
    if damage.what == "flipped":
        start = part_of(parts(subject, damage.path), damage.at)
        told = found.findings if kind(damage.path) == "manifest" else found.damage
        assert (damage.path, start) in {(one.path, one.offset) for one in told}, f"{damage}: {told}"
    elif damage.what in ("cut", "removed", "of another database"):
        if kind(damage.path) == "manifest" and damage.what != "removed":
            return
        assert damage.path in {one.path for one in found.damage}, f"{damage}: {found.damage}"


def test_a_sound_directory_has_no_finding(subject: Subject) -> None:
    """Nothing to find, and every byte of every file was read."""
    found = audit("/db", subject.fs)
    assert found.findings == []
    assert found.bytes == sum(map(subject.fs.size, subject.paths()))
    assert found.files == len(subject.paths()) and found.objects > 40 and found.entries > 60
    assert outcome(subject.fs.copy()) == [subject.content] * 2


def test_the_subjects_are_rich(subject: Subject) -> None:
    """Segments in several levels, chunks, expiries, range tombstones; more than one WAL."""
    catalog = manifest.read(subject.paths("manifest")[-1], subject.fs)
    list(catalog.edits())
    assert catalog.catalog is not None
    stated = [one.properties for one in catalog.catalog.segments.values()]
    assert len({one.level for one in catalog.catalog.segments.values()}) > 1
    assert any(one.expiring for one in stated) and any(one.range_tombstones for one in stated)
    assert any(one.extends for one in stated) and any(one.tombstones for one in stated)
    assert len(catalog.catalog.wals) >= 3 and len(subject.paths("segment")) >= 4
    assert any(
        "chunks" in line for path in subject.paths("segment") for line in text(subject, path)
    )


def text(subject: Subject, path: str) -> list[str]:
    return list(segment.describe(segment.read(path, subject.fs), None))


@pytest.mark.parametrize("way", WAYS)
def test_damage_is_found(subject: Subject, way: str) -> None:
    """Each kind of file, damaged in one way at every place that matters."""
    seen: Counter[str] = Counter()
    for path in subject.paths():
        for damage in WAYS[way](subject, path):
            seen[check(subject, damage)] += 1
    assert seen["damage"] > (2 if way == "exchanged" else 10), seen
    if way in ("flips", "cuts"):
        assert seen.total() > 200, seen
        assert (seen["tail"] > 0) == (subject.name != "closed"), seen


def test_files_of_another_database_are_found(subject: Subject, twin: Subject) -> None:
    """The same program made them, number by number; still they belong elsewhere."""
    for path in subject.paths():
        for damage in foreign(subject, twin, path):
            assert check(subject, damage) == "damage"
