"""Damage to every byte of every file: the right answer or CorruptionError (promises P4 and P5)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import combinations

import pytest

import kvengine
from kvengine import CorruptionError, NotADatabase, UnsupportedFormat
from kvengine.fs.memory import MemoryFileSystem
from kvengine.storage import filenames

State = dict[str, dict[str, bytes]]
Damage = Callable[[MemoryFileSystem], None]
POINTS = 500
"""About how many bytes of each file are flipped, and how many places cut."""


class Subject:
    """A database on disk to be damaged, and what may be found in it.

    ``states``: after each commit, in order; the last is the right answer.
    ``proven``: the first of them that may show where the log is cut. ``known``:
    the same where its end is whole, so that each synced record proves those before.
    """

    def __init__(
        self, fs: MemoryFileSystem, states: list[State], proven: int, *, synced: bool
    ) -> None:
        self.fs = fs
        self.states = states
        self.proven = proven
        self.known = max(proven, len(states) - 2) if synced else proven


def script(db: kvengine.Engine, kind: str) -> Iterator[tuple[str, str, bytes | None]]:
    """Commits, each (verb, key, value), with flushes and compactions between them."""
    size = 3000 if kind == "large rows" else 60
    for n in range(6):
        yield "set", f"k{n}", b"%d" % n * size
    if kind != "log":
        db.flush()
    yield "clear_all", "k1", None
    yield "set", "k2", b"again"
    yield "expire", "k3", None
    if kind == "levels":
        db.flush()
        db.compact()
    yield "clear_range", "k4", None
    yield "set", "k5", b"last" * size
    if kind in ("levels", "large rows"):
        db.flush()
    yield "set", "k0", b"tail"
    yield "set", "k7", b"tail" * 5


def apply(db: kvengine.Engine, state: State, verb: str, key: str, value: bytes | None) -> State:
    if verb == "set":
        assert value is not None
        with db.batch() as batch:
            for name in ("a", "b"):
                batch.set("s", key, name, value)
        return {**state, key: {"a": value, "b": value}}
    if verb == "clear_all":
        db.clear_all("s", key)
        return {name: entries for name, entries in state.items() if name != key}
    if verb == "clear_range":
        db.clear_range("s", key, None)
        return {name: entries for name, entries in state.items() if name < key}
    assert db.expire("s", key, ttl=1e6)
    return state


def grown(kind: str, *, clean: bool, durability: str) -> Subject:
    fs = MemoryFileSystem()
    options = {"background": "none", "durability": durability, "level_base": 500}
    db = kvengine.open("db", fs=fs, segment_size=2000, chunk_size=1000, block_size=400, **options)
    states: list[State] = [{}]
    proven = 0
    for commit in script(db, kind):
        if db.stats().memtable_bytes <= 64:
            proven = len(states) - 1
        states.append(apply(db, states[-1], *commit))
    if clean:
        db.close()
        return Subject(fs, states, len(states) - 1, synced=True)
    image = fs.copy()
    db.close()
    return Subject(image, states, proven, synced=durability == "sync")


def found_in(fs: MemoryFileSystem) -> State:
    """Everything, by scan and by look-up; `verify` reads what those pass by."""
    with kvengine.open("db", fs=fs, create=False, background="none") as db:
        found = {one.key: one.entries for one in db.scan("s")}
        assert db.services() == (["s"] if found else [])
        assert list(db.object_keys("s")) == list(found)
        for n in range(9):
            key = f"k{n}"
            entries = found.get(key, {})
            assert db.get_all("s", key) == entries
            assert db.get("s", key, "a") == entries.get("a")
            assert db.state_keys("s", key) == list(entries)
    return found


def outcome(subject: Subject, damage: Damage, where: str, since: int) -> str:
    """What became of a damaged copy; fails for a wrong answer and for any other exception.

    A torn tail may take the log back to state ``since``, and no further.
    """
    fs = subject.fs.copy()
    damage(fs)
    try:
        found = found_in(fs)
    except CorruptionError:
        return "refused"
    except (NotADatabase, UnsupportedFormat):
        return "foreign"
    if found == subject.states[-1]:
        return "right"
    assert found in subject.states[since:], f"wrong answer: {where}"
    return "torn"


def places(fs: MemoryFileSystem, path: str) -> list[int]:
    """Offsets in a file: close together where it is written, some in the space behind."""
    data = fs.read_bytes(path)
    used = len(data.rstrip(b"\0"))
    written = range(0, used, max(1, used // POINTS))
    return [*written, *range(used, len(data), max(1, (len(data) - used) // 10))]


def numbered(fs: MemoryFileSystem) -> list[str]:
    return [path for path in fs.paths() if not path.endswith("LOCK")]


SUBJECTS = [
    (kind, clean, durability)
    for kind in ("log", "segments", "levels", "large rows")
    for clean, durability in ((True, "os"), (False, "os"), (False, "sync"))
]


@pytest.fixture(
    params=SUBJECTS, ids=lambda one: f"{one[0]}-{'clean' if one[1] else 'kill'}-{one[2]}"
)
def subject(request: pytest.FixtureRequest) -> Subject:
    kind, clean, durability = request.param
    made = grown(kind, clean=clean, durability=durability)
    assert found_in(made.fs.copy()) == made.states[-1]
    return made


def test_flipped_byte(subject: Subject) -> None:
    """Any flipped byte: the right answer or CorruptionError."""
    seen: dict[str, int] = {}
    for path in numbered(subject.fs):
        for offset in places(subject.fs, path):
            mask = (1, 0x80, 0xFF)[offset % 3]
            damage = partial(MemoryFileSystem.flip, path=path, offset=offset, mask=mask)
            where = f"{path}: byte {offset} ^ {mask}"
            came = outcome(subject, damage, where, subject.known)
            seen[came] = seen.get(came, 0) + 1
    assert seen.get("refused", 0) > 50
    check_clean(subject, seen)


def test_cut_file(subject: Subject) -> None:
    """Any file cut anywhere: the right answer or CorruptionError."""
    seen: dict[str, int] = {}
    for path in numbered(subject.fs):
        for at in places(subject.fs, path):
            damage = partial(MemoryFileSystem.cut, path=path, size=at)
            came = outcome(subject, damage, f"{path}: cut at {at}", subject.proven)
            seen[came] = seen.get(came, 0) + 1
    assert seen.get("refused", 0) > 50
    check_clean(subject, seen)


def test_missing_and_swapped_files(subject: Subject) -> None:
    """Any file missing, or two of a kind in each other's place."""
    seen: dict[str, int] = {}
    paths = numbered(subject.fs)
    for path in paths:

        def remove(fs: MemoryFileSystem, path: str = path) -> None:
            fs.unlink(path)

        came = outcome(subject, remove, f"{path}: missing", subject.known)
        assert came == "refused", path
    for one, other in combinations(paths, 2):
        kinds = {filenames.parse(path.rpartition("/")[2]) for path in (one, other)}
        if len({kind.kind if kind else "" for kind in kinds}) > 1:
            continue

        def swap(fs: MemoryFileSystem, one: str = one, other: str = other) -> None:
            fs.rename(one, "/aside")
            fs.rename(other, one)
            fs.rename("/aside", other)

        came = outcome(subject, swap, f"{one} and {other}: swapped", subject.known)
        assert came == "refused", (one, other)
    check_clean(subject, seen)


def check_clean(subject: Subject, seen: dict[str, int]) -> None:
    """After a clean close there is no torn tail: nothing but the right answer is accepted."""
    assert "foreign" not in seen
    if subject.proven == len(subject.states) - 1:
        assert "torn" not in seen
