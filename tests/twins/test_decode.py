"""The commits of a log: the compiled form takes what the plain one takes, and refuses the rest.

Records are made around damaged payloads, so that their checksums match.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvengine.errors import CorruptionError
from kvengine.storage import record
from kvengine.storage import row as rows
from kvengine.storage.decoded import Chunk, Entry
from kvengine.storage.wal.format import encode_commit
from tests.twins.forms import mutate, only_compiled, outcome, twins

pytestmark = only_compiled
fast, plain = twins("kvengine.storage.wal.decode")

STAMP = 1 << 50
SALT = 7
MARK = record.marker(SALT)
PATH = "000001.wal"
KEYS = ["", "a", "b", "ä", "\0", "x" * 31, "x" * 32, "x" * 300]
TIMES = [0, 127, 128, 65536, 1 << 50, (1 << 63) - 1, 1 << 63]


def log_of(payloads: list[bytes], synced: int = 0) -> bytes:
    """Return a log of these payloads, whatever they are, in sound records."""
    return b"".join(record.encode(payload, SALT, MARK, synced) for payload in payloads)


def answer(module: Any, log: bytes, start: int = 0, salt: int = SALT) -> tuple[Any, ...]:
    """Return what one form makes of a log: what it took, and what it returned or raised."""
    taken: list[Any] = []
    named: list[tuple[bytes, int]] = []

    def note(token: bytes, stamp: int) -> None:
        named.append((token, stamp))

    try:
        found = module.take_commits(log, PATH, start, salt, taken.append, note)
    except CorruptionError as error:
        found = str(error)
    assert named == [(commit.token, commit.stamp) for commit in taken if commit.token]
    return taken, found


def assert_alike(log: bytes, start: int = 0, salt: int = SALT) -> Any:
    found = answer(fast, log, start, salt)
    assert repr(found) == repr(answer(plain, log, start, salt))  # types too
    return found


def some_row(choice: random.Random, stamp: int) -> bytes:
    """A row as a commit may write it, or seldom as it may not."""
    keys: list[str] = choice.sample(KEYS, choice.randrange(5))
    if not choice.randrange(6):
        keys = [f"key-{number}" for number in range(choice.choice([15, 16, 31, 32, 33, 40]))]
    choice.shuffle(keys)
    entries: dict[str, Entry] = {key: choice.randbytes(choice.randrange(9)) for key in keys}
    for key in choice.sample(keys, min(len(keys), choice.randrange(3))):
        value = choice.randbytes(choice.choice([0, 3, 255, 256]))
        entries[key] = choice.choice([None, value, (choice.choice(TIMES), value)])
    found = rows.make(
        choice.choice([stamp] * 9 + [1 << 32, (1 << 63) - 1]),
        {},
        cleared=not choice.randrange(4),
        extends=not choice.randrange(4),
        expires_at=choice.choice([None, None, *TIMES]),
        completed_at=choice.choice([None, None, None, *TIMES]),
    )
    if not choice.randrange(20):
        return rows.encode_head(found, [Chunk("a", 0, 9, 1)])
    made = rows.make(found.version, entries)
    flags = found.flags | made.flags
    if not choice.randrange(20):
        flags ^= 1 << choice.randrange(7)
    in_any_order = {key: entries[key] for key in keys}  # as a batch may write it
    return rows.pack(flags, found.version, found.expires_at, in_any_order, found.completed_at)


def some_payload(choice: random.Random, stamp: int) -> bytes:
    names = [("s", choice.choice(KEYS)) for _ in range(choice.choice([0, 1, 1, 1, 2, 3, 17]))]
    if choice.randrange(9):
        names = list(dict.fromkeys(names))
    bounds = [choice.randbytes(choice.randrange(3)) for _ in range(2)]
    ranges = [tuple(sorted(bounds))] * choice.choice([0, 0, 0, 1, 2, 17])
    changes = [(name, some_row(choice, stamp)) for name in names]
    times = choice.choice([0, 0, *TIMES]), choice.choice(TIMES)
    token = choice.choice([b"", b"", b"t", choice.randbytes(32), bytes(33)])
    return encode_commit(stamp, changes, ranges, *times, token)  # type: ignore[arg-type]


def check_mutated(choice: random.Random) -> None:
    """Ten inputs of the long run: see fuzz.py."""
    payload = some_payload(choice, STAMP)
    for _ in range(10):
        assert_alike(log_of([mutate(payload, choice)]))


@settings(max_examples=500)
@given(st.randoms(use_true_random=False))
def test_damaged_commits_are_refused_alike(choice: random.Random) -> None:
    check_mutated(choice)


def test_most_of_what_is_compared_is_sound() -> None:
    sound = 0
    for seed in range(400):
        sound += len(assert_alike(log_of([some_payload(random.Random(seed), STAMP)]))[0])
    assert 80 < sound < 350


@settings(max_examples=300)
@given(st.randoms(use_true_random=False))
def test_a_log_is_taken_alike(choice: random.Random) -> None:
    """Sound commits one behind the other, some with a stamp of before; then damage anywhere."""
    stamps = sorted(choice.sample(range(STAMP, STAMP + 50), 5))
    if not choice.randrange(3):
        choice.shuffle(stamps)
    log = log_of([some_payload(choice, stamp) for stamp in stamps], choice.choice([0, 0, 10, 300]))
    assert_alike(log)
    for _ in range(5):
        assert_alike(mutate(log, choice))
        assert_alike(log[: choice.randrange(len(log) + 1)])
    assert_alike(log, choice.randrange(len(log) + 9))
    assert_alike(log, salt=8)


def one(row: bytes, stamp: int = STAMP) -> bytes:
    return encode_commit(stamp, [(("s", "k"), row)], [], 0)


def widened() -> Iterator[bytes]:
    """Rows whose parts are longer than needed: sound MessagePack that no commit writes."""
    row = rows.pack(0, STAMP, None, {"a": b"v"})
    yield row.replace(b"\x81", b"\xde\0\1")
    yield row.replace(b"\xa1a", b"\xd9\1a")
    yield row.replace(b"\xc4\1v", b"\xc5\0\1v")
    yield row.replace(b"\x81\xa1a\xc4\1v", b"\x82" + b"\xa1a\xc4\1v" * 2)
    yield row.replace(b"\x94", b"\x95") + b"\xc0"
    timed = rows.pack(8, STAMP, None, {"a": (5, b"v")}, 5)
    yield timed.replace(b"\x92\5", b"\x92\xcc\5")
    yield timed[:-1] + b"\xcc\5"
    yield timed[:-1] + b"\xd0\5"
    table = rows.pack(0, STAMP, None, {f"key-{at:02}": b"v" for at in range(33)})
    yield table[:-1] + b"\1"
    yield table[: -4 * 33 - 2] + b"\xc5\0" + table[-4 * 33 - 1 :]
    yield table.replace(b"key-07", b"key-06")
    yield table.replace(b"key-07", b"key-99")
    few = rows.pack(0, STAMP, None, {"a": b"v"})
    yield few.replace(b"\x94", b"\x97") + b"\xc0\xc0\xc4\x04" + (13).to_bytes(4, "little")


@pytest.mark.parametrize("row", list(widened()))
def test_what_no_commit_writes_is_refused(row: bytes) -> None:
    assert rows.decode(row)  # it is MessagePack of a row
    taken, error = assert_alike(log_of([one(row)]))
    assert not taken and "not a row" in error


def test_rows_of_every_form_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are decoded in C: format.py is not asked."""
    monkeypatch.setattr(fast, "decode_commit", None)
    made = [
        rows.pack(0, STAMP, None, {}),
        rows.pack(1, STAMP, None, {"b": b"1", "a": b"2"}),
        rows.pack(2 | 8 | 16, STAMP, 5, {"a": None, "b": ((1 << 63) - 1, b"x" * 70_000)}),
        rows.pack(0, STAMP, None, {"a": b"v"}, 1 << 40),
        rows.pack(0, STAMP, None, {f"{at:05}": b"v" * 300 for at in range(70_000)}),
        rows.pack(2, STAMP, 0, {f"{at:02}": b"v" for at in range(33)}, 3),
    ]
    changes = [(("s", f"k{number}"), row) for number, row in enumerate(made)]
    for epoch, token in ((0, b""), (7, b"t"), ((1 << 63) - 1, bytes(32))):
        log = log_of([encode_commit(STAMP, changes, [(b"a", b"b")], 9, epoch, token)])
        (commit,), (first, last, end, proven) = assert_alike(log)
        assert (commit.now, commit.epoch, commit.token) == (9, epoch, token)
    assert commit.rows == [(*name, row) for name, row in changes]
    assert first is last is commit and (end, proven) == (len(log), 0)


@pytest.mark.parametrize("epoch", [0, 1, 127, 128, (1 << 63) - 1, 1 << 63])
@pytest.mark.parametrize("token", [b"t", bytes(32), bytes(33), b"t" * 300])
def test_tokens_are_taken_up_to_their_limit(epoch: int, token: bytes) -> None:
    """A token of more than 32 bytes, and an epoch that is out of range, make it no commit."""
    payload = encode_commit(
        STAMP, [(("s", "k"), rows.pack(0, STAMP, None, {}))], [], 9, epoch, token
    )
    taken, outcome = assert_alike(log_of([payload]))
    if len(token) <= 32 and epoch < 1 << 63:
        assert [(one.now, one.epoch, one.token) for one in taken] == [(9, epoch, token)]
    else:
        assert not taken and "its epoch is out of range, or its token too long" in outcome


@pytest.mark.parametrize(
    "behind",
    [
        b"\0\5",  # an epoch, no token
        b"\0\5\xc4\0",  # an empty token
        b"\0\5\xc5\0\1t",  # a token whose length is longer than needed
        b"\0\xcd\0\5\xc4\1t",
        b"\0\5\xa1t",  # a token that is text
        b"\0\5\xc0",
        b"\0\xff\xc4\1t",
        b"\0\5\xc4\1t\0",  # a field that is not known yet
    ],
)
def test_tokens_that_no_commit_writes_are_read_alike(behind: bytes) -> None:
    """What lies behind the range tombstones, in every number of fields."""
    whole = one(rows.pack(0, STAMP, None, {}))
    for fields in range(0x93, 0x98):
        assert_alike(log_of([bytes((fields,)) + whole[1:-1] + behind]))


def test_an_error_of_the_taker_passes() -> None:
    def refuse(_commit: object) -> None:
        raise KeyError("full")

    log = log_of([one(rows.pack(0, STAMP, None, {}))])
    for form in (fast, plain):
        assert outcome(form.take_commits, log, PATH, 0, SALT, refuse) == ("raises", KeyError)


@pytest.mark.parametrize("args", [(None, 0, 1), ("log", 0, 1), (b"", "0", 1), (b"", 0, "1")])
def test_wrong_types_are_type_errors(args: tuple[Any, ...]) -> None:
    assert outcome(fast.take_commits, args[0], PATH, *args[1:], print) == ("raises", TypeError)
