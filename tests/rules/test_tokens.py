"""A commit that has a token is made at most once, however often and to whichever owner it is sent.

The client loses the connection while it waits for the answer to a commit, and sends it again. The
first attempt may have been made, or not. The second one gets the stamp of the first if that was
made, and is made itself if that was not; if the owner cannot know, it says so and writes nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

import pytest

import kvengine
from kvengine import OutcomeUnknown, VersionConflict, WriteFailed
from kvengine.fs import MemoryFileSystem
from kvengine.fs.faulty import FaultyFileSystem
from kvengine.storage.clock import ManualClock
from kvengine.storage.tokens import MOST_TOKENS, AlreadyCommitted, Tokens
from tests.durability.tripwire import Tripwire
from tests.rules.place import opened

TOKEN = b"a token"


def one(value: bytes = b"1", key: str = "k") -> kvengine.Batch:
    """A batch that sets one entry."""
    batch = kvengine.Batch()
    batch.set("s", key, "n", value)
    return batch


def send(
    db: kvengine.Engine,
    value: bytes = b"1",
    token: bytes = TOKEN,
    since: int | None = None,
    durability: kvengine.options.Durability | None = None,
) -> int | None:
    """An attempt at a commit, as a client sends it."""
    return db._committer.write_once(one(value), None, durability, token, since)


def test_a_second_attempt_gets_the_stamp_of_the_first(db: kvengine.Engine) -> None:
    """Nothing is written again, and both batches are written with that stamp."""
    before = db.set("s", "other", "n", b"0")
    first, second = one(b"1"), one(b"2")
    stamp = db._committer.write_once(first, None, None, TOKEN, None)
    end = db._db.wal.end  # type: ignore[union-attr]
    assert db._committer.write_once(second, None, None, TOKEN, before) == stamp
    assert first.stamp == second.stamp == stamp == db.version("s", "k")
    assert db.get("s", "k", "n") == b"1" and db._db.wal.end == end  # type: ignore[union-attr]
    with pytest.raises(kvengine.KVEngineError, match="written"):
        db.write(second)
    assert db._db.tokens.find(TOKEN) == stamp and db._db.tokens.find(b"other") is None
    assert send(db, b"3", token=b"other") != stamp and db.get("s", "k", "n") == b"3"


def test_the_token_counts_before_the_expectation(db: kvengine.Engine) -> None:
    """The first attempt has made the version what it is: that is no conflict for the second."""
    expect = {("s", "k"): 0}
    stamp = db._committer.write_once(one(), expect, None, TOKEN, None)
    assert db._committer.write_once(one(), expect, None, TOKEN, 0) == stamp
    batch = one()
    with pytest.raises(VersionConflict):
        db._committer.write_once(batch, expect, None, b"other", None)
    assert db._db.tokens.find(b"other") is None
    assert db._committer.write_once(batch, None, None, b"other", None) == db.version("s", "k")


def test_what_writes_nothing_is_no_commit(db: kvengine.Engine) -> None:
    """It has no stamp, and its token is free."""
    batch = kvengine.Batch()
    batch.expire("s", "absent", ttl=5)
    assert db._committer.write_once(batch, None, None, TOKEN, None) is None
    assert batch.stamp == db._db.published
    assert db._db.tokens.find(TOKEN) is None
    assert send(db) == db.version("s", "k")


@pytest.mark.parametrize("token", [b"", bytes(33), "text", bytearray(3), None, 7])
def test_what_is_no_token_is_refused(db: kvengine.Engine, token: bytes) -> None:
    """Before anything is written; the batch can be written afterwards."""
    batch = one()
    with pytest.raises((TypeError, ValueError), match="token must"):
        db._committer.write_once(batch, None, None, token, None)
    assert db.version("s", "k") == 0 and db.write(batch)


def test_a_wrong_durability_is_refused(db: kvengine.Engine) -> None:
    with pytest.raises(ValueError, match="durability must be"):
        send(db, durability="never")  # type: ignore[arg-type]
    assert db._db.tokens.find(TOKEN) is None


def test_the_next_owner_knows_what_it_replays(
    db: kvengine.Engine, fs: MemoryFileSystem, clock: ManualClock
) -> None:
    """After a kill, also if the WAL was rotated since; what came before was never made here."""
    stamp = send(db)
    assert stamp is not None
    db.checkpoint("/copy")  # it rotates
    later = send(db, b"2", token=bytes(32))
    with opened(fs.copy(), clock) as successor:
        tokens = successor._db.tokens
        assert tokens.find(TOKEN) == stamp and tokens.find(bytes(32)) == later
        assert tokens.since == stamp - 1
        assert send(successor, b"3", since=stamp - 1) == stamp
        assert successor.get("s", "k", "n") == b"2"
        with pytest.raises(OutcomeUnknown):
            send(successor, b"3", token=b"other", since=stamp - 2)
        assert successor.get("s", "k", "n") == b"2"
        send(successor, b"4", token=b"other", since=stamp - 1)
        assert successor.get("s", "k", "n") == b"4"
    with opened(fs, clock, read_only=True) as reader:
        assert reader._db.tokens.find(TOKEN) == stamp
    with opened(fs, clock, read_only=True) as reader:
        with pytest.raises(kvengine.ReadOnly):
            send(reader)


def test_what_was_flushed_is_not_known_to_the_next_owner(
    db: kvengine.Engine, fs: MemoryFileSystem, clock: ManualClock
) -> None:
    """A second attempt that is as old gets OutcomeUnknown, which says what to do."""
    before = db.set("s", "other", "n", b"0")
    stamp = send(db)
    assert stamp is not None
    db.flush()
    assert send(db, since=before) == stamp  # this owner made it itself
    with opened(fs.copy(), clock) as successor:
        assert successor._db.tokens.since == stamp
        batch = one(b"2")
        with pytest.raises(OutcomeUnknown, match=f"after stamp {stamp}.*as old as {before}.*read"):
            successor._committer.write_once(batch, None, None, TOKEN, before)
        assert successor.get("s", "k", "n") == b"1"
        assert successor.write(batch) > stamp  # it was not marked as written
        assert successor._committer.write_once(one(b"3"), None, None, TOKEN, stamp)
        assert successor.get("s", "k", "n") == b"3"


def test_a_commit_in_between_moves_since_with_its_wal(
    db: kvengine.Engine, fs: MemoryFileSystem, clock: ManualClock
) -> None:
    """Commits without a token count too: the first in the log tells where knowledge begins."""
    send(db)
    db.flush()
    plain = db.set("s", "other", "n", b"0")
    stamp = send(db, b"2", token=b"second")
    with opened(fs.copy(), clock) as successor:
        assert successor._db.tokens.since == plain - 1
        assert successor._db.tokens.find(TOKEN) is None
        assert successor._db.tokens.find(b"second") == stamp


def test_an_attempt_that_was_begun_is_waited_for(db: kvengine.Engine) -> None:
    """The first attempt is in the log and not visible: the second makes it so, for "os" too."""
    commit = db._committer.begin(one(), None, TOKEN)
    assert commit is not None and db.get("s", "k", "n") is None
    assert db._db.tokens.find(TOKEN) == commit.stamp
    assert send(db, b"2", durability="os") == commit.stamp
    assert commit.published and db.get("s", "k", "n") == b"1"


def test_beginning_what_is_begun_says_which_commit_it_is(db: kvengine.Engine) -> None:
    """For asyncio: the batch is written, and `confirm` waits for the commit."""
    commit = db._committer.begin(one(), None, TOKEN)
    assert commit is not None
    batch = one(b"2")
    with pytest.raises(AlreadyCommitted) as known:
        db._committer.begin(batch, None, TOKEN, 0)
    assert known.value.stamp == batch.stamp == commit.stamp and db.get("s", "k", "n") is None
    db._committer.confirm(known.value.stamp)
    assert db.get("s", "k", "n") == b"1"
    with pytest.raises(AlreadyCommitted):
        db._committer.begin(one(b"2"), None, TOKEN, 0)
    db._committer.confirm(commit.stamp)


def test_a_second_attempt_makes_durable_what_it_asks_for(
    db: kvengine.Engine, fs: MemoryFileSystem, clock: ManualClock
) -> None:
    """The first was made with "os" and is visible; the second returns when it is durable."""
    stamp = send(db, durability="os")
    with opened(fs.crash(None), clock) as lost:
        assert lost.get("s", "k", "n") is None
    assert send(db, since=0, durability="os") == stamp
    assert db.stats().syncs == 0
    assert send(db, since=0, durability="sync") == stamp
    with opened(fs.crash(None), clock) as kept:
        assert kept.get("s", "k", "n") == b"1" and kept._db.tokens.find(TOKEN) == stamp
    syncs = db.stats().syncs
    assert send(db, since=0, durability="sync") == stamp and db.stats().syncs == syncs


def test_two_attempts_at_once_make_one_commit(db: kvengine.Engine) -> None:
    """Both get its stamp."""
    rounds = 300
    stamps: list[list[int | None]] = [[], []]
    start = threading.Barrier(2)

    def client(number: int) -> None:
        for at in range(rounds):
            start.wait()
            token, since = b"%d" % at, None if number == 0 else 0
            stamps[number].append(send(db, b"%d" % number, token, since, "os"))

    threads = [threading.Thread(target=client, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stamps[0] == stamps[1] and len(set(stamps[0])) == rounds == db.stats().commits


def test_a_failed_sync_is_no_answer(fs: MemoryFileSystem, clock: ManualClock) -> None:
    """Neither attempt returns a stamp; the next owner knows whether the commit is there."""
    faulty = FaultyFileSystem(fs)
    db = opened(faulty, clock)
    before = db.set("s", "other", "n", b"0")
    faulty.fail_at(1, sticky=True, operations=frozenset({"datasync", "sync"}))
    for since in (None, before, before):
        with pytest.raises(WriteFailed):
            send(db, since=since, durability="sync")
    with pytest.raises(WriteFailed):
        db._committer.confirm(db._db.last_stamp)
    kept, lost = fs.copy(), fs.crash(None)
    with suppress(OSError, kvengine.KVEngineError):
        db.close()
    with opened(kept, clock) as successor:
        assert successor._db.tokens.find(TOKEN) == successor.version("s", "k") > 0
    with opened(lost, clock) as successor:
        assert successor._db.tokens.find(TOKEN) is None and successor.version("s", "k") == 0


def test_a_write_that_failed_has_no_token(fs: MemoryFileSystem, clock: ManualClock) -> None:
    faulty = FaultyFileSystem(fs)
    db = opened(faulty, clock)
    faulty.fail_at(1, operations=frozenset({"write"}))
    with pytest.raises(WriteFailed):
        send(db)
    assert db._db.tokens.find(TOKEN) is None
    with suppress(OSError, kvengine.KVEngineError):
        db.close()
    with opened(fs, clock) as successor:
        assert successor._db.tokens.find(TOKEN) is None and successor.version("s", "k") == 0


@pytest.mark.plain
@pytest.mark.parametrize("durability", ["os", "sync"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_interrupts(durability: kvengine.options.Durability, error: type[BaseException]) -> None:
    """What was broken off anywhere and was finished has its token; what was forgotten has none.

    A second attempt then makes one commit of the two, here and after a kill.
    """
    clock = ManualClock()
    for n in range(1, 10_000):
        fs = MemoryFileSystem()
        db = opened(fs, clock)
        before = db.set("s", "other", "n", b"0")
        wire = Tripwire(n, error)
        with suppress(error):
            wire.run(lambda db=db: send(db, b"first", durability=durability))  # type: ignore[misc]
        with opened(fs.copy(), clock) as killed:
            version = killed.version("s", "k")
            assert killed._db.tokens.find(TOKEN) == (version or None), wire.tripped
            assert send(killed, b"second", since=before) == (version or killed.version("s", "k"))
            assert killed.get("s", "k", "n") == (b"first" if version else b"second")
        stamp = send(db, b"second", since=before)
        assert stamp == (version or db.version("s", "k")) == db._db.tokens.find(TOKEN), wire.tripped
        assert db.get("s", "k", "n") == (b"first" if version else b"second"), wire.tripped
        db.close()
        if wire.tripped is None:
            assert n > 30
            return
    raise AssertionError("there are not so many points")


def test_the_oldest_tokens_go_first() -> None:
    """`since` follows: what is not found and is newer was never made."""
    tokens = Tokens(limit=3)
    made: dict[bytes, int] = {}
    for number in range(10):
        made[b"%d" % number] = 100 + 2 * number
        tokens.note(b"%d" % number, 100 + 2 * number)
        tokens.note(b"%d" % number, 100 + 2 * number)  # as after an interrupt
        found = [token for token in made if tokens.find(token) is not None]
        assert found == list(made)[-3:]
        assert tokens.since == (made[list(made)[-4]] if number > 2 else 0)


@pytest.mark.plain
def test_a_token_is_not_forgotten_before_since_tells() -> None:
    """An interrupt anywhere in `note` leaves `since` above all that is not found."""
    for n in range(1, 100):
        tokens = Tokens(limit=2)
        tokens.note(b"a", 100)
        tokens.note(b"b", 101)
        wire = Tripwire(n, KeyboardInterrupt)
        with suppress(KeyboardInterrupt):
            wire.run(lambda tokens=tokens: tokens.note(b"c", 102))  # type: ignore[misc]
        assert tokens.find(b"a") or tokens.since >= 100, wire.tripped
        tokens.note(b"c", 102)
        assert [tokens.find(token) for token in (b"a", b"b", b"c")] == [None, 101, 102]
        assert tokens.since == 100
        if wire.tripped is None:
            assert n > 3
            return
    raise AssertionError("there are not so many points")


def test_an_owner_remembers_a_bounded_number(db: kvengine.Engine) -> None:
    """Of its own commits too; then it says that it cannot know."""
    before = db.set("s", "other", "n", b"0")
    db._db.tokens = Tokens(limit=2)
    stamps = [send(db, b"1", token=b"%d" % number) for number in range(3)]
    assert db._db.tokens.since == stamps[0]
    assert send(db, token=b"2", since=before) == stamps[2]
    with pytest.raises(OutcomeUnknown):
        send(db, token=b"0", since=before)
    assert db._db.published == stamps[2]
    assert Tokens()._limit == MOST_TOKENS == 65_536


def test_a_reader_beside_the_owner_follows(
    db: kvengine.Engine, fs: MemoryFileSystem, clock: ManualClock
) -> None:
    """By `refresh`: commits of the WAL that it knows, and another set of files."""
    first = send(db)
    with opened(fs, clock, read_only=True) as reader:
        second = send(db, b"2", token=b"second")
        assert reader.refresh() and reader._db.tokens.find(b"second") == second
        assert reader._db.tokens.find(TOKEN) == first
        db.flush()
        reader.refresh()  # nothing to see, but other files
        assert reader._db.tokens.since == second
        third = send(db, b"3", token=b"third")
        assert reader.refresh() and reader._db.tokens.find(b"third") == third


@pytest.mark.parametrize("copy", ["checkpoint", "repair"])
def test_copies(db: kvengine.Engine, fs: MemoryFileSystem, clock: ManualClock, copy: str) -> None:
    """A checkpoint has the log of its origin, and knows what is in it. A repaired database has no
    log: it knows of no token, and says so.
    """
    before = db.set("s", "other", "n", b"0")
    stamp = send(db)
    assert stamp is not None
    if copy == "checkpoint":
        db.checkpoint("/copy")
    else:
        kvengine.repair("/db", "/copy", fs=_abandoned(fs, db))
    with kvengine.open("/copy", fs=fs, clock=clock, background="none") as successor:
        tokens = successor._db.tokens
        if copy == "checkpoint":
            assert send(successor, b"2", since=before) == stamp == tokens.find(TOKEN)
            assert tokens.since == before - 1
        else:
            assert tokens.find(TOKEN) is None and tokens.since == stamp
            with pytest.raises(OutcomeUnknown):
                send(successor, b"2", since=before)
        assert successor.get("s", "k", "n") == b"1"


def _abandoned(fs: MemoryFileSystem, db: kvengine.Engine) -> MemoryFileSystem:
    """The file system when nobody owns the database any more."""
    db.close()
    return fs


def test_ordinary_commits_write_no_token(db: kvengine.Engine) -> None:
    """Their records are as long as ever; one with a token is longer by what names it."""
    sizes: list[int] = []

    def grows(write: Callable[[], object]) -> None:
        wal = db._db.wal
        assert wal is not None
        before = wal.end
        write()
        sizes.append(wal.end - before)

    db.set("s", "k", "n", b"0")  # the stamps that follow are all ahead of the clock
    grows(lambda: db.set("s", "k", "n", b"1"))
    grows(lambda: db.write(one()))
    grows(lambda: send(db, token=bytes(16)))
    assert sizes[0] == sizes[1] == sizes[2] - 1 - 2 - 16
