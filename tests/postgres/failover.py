"""Writers on a cluster whose leader is killed: `python -m tests.postgres.failover --kills 10`.

Each writer keeps count of its commits: acknowledged, of unknown outcome, refused. When all kills
are over, what the database holds is compared with that: every acknowledged commit is in, whole and
once; one that was refused is not; one of unknown outcome may be. No writer is started again.
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar, NamedTuple

import psycopg

import kvengine
from kvengine.postgres.writes import Commit
from tests.postgres.clients import CLIENTS
from tests.postgres.cluster import Cluster, is_leader
from tests.postgres.servers import Keeper, wait_until

PAUSE_SECONDS = 0.02
"""Between two commits of a writer."""

GO_ON_SECONDS = 60.0
"""For each writer to have a commit acknowledged by the new leader."""

REFUSED = (kvengine.VersionConflict, kvengine.SessionLost, kvengine.Unavailable)
"""Errors that say that nothing was written."""


class Writer:
    """A client that commits one thing after the other, with connections of its own."""

    kind: ClassVar[str]

    def __init__(self, number: int, url: str) -> None:
        """Those with an even number use the store for threads, the others that for asyncio."""
        client = "asyncio" if number % 2 else "threads"
        self.name = f"w{number}"
        self.title = f"{self.kind} {client}"
        self.outcomes: Counter[str] = Counter()
        """Commits: acknowledged, unknown, and by the error that refused the others."""
        self.times: list[float] = []
        """When each commit was acknowledged."""
        self.problems: list[str] = []
        self._connected = partial(CLIENTS[client], url)
        self._version = 0
        self._thread: threading.Thread | None = None

    @property
    def watched(self) -> tuple[str, str]:
        """Return the object whose version this writer sees grow."""
        return self.kind, "shared"

    def commit(self, db: Any) -> int:
        """Commit once, and return the least version that the watched object has then."""
        raise NotImplementedError

    def applied(self, db: kvengine.Store) -> int:
        """Return how many commits of this writer are in; note as a problem what is torn."""
        raise NotImplementedError

    def start(self, stop: threading.Event) -> None:
        """Begin to write, until the event is set."""
        self._thread = threading.Thread(target=self._run, args=(stop,), name=self.title)
        self._thread.start()

    def join(self) -> None:
        if self._thread is not None:
            self._thread.join()

    def check(self, db: kvengine.Store) -> None:
        """Note as a problem what the database holds if it is not what this writer was told."""
        applied = self.applied(db)
        least = self.outcomes["acknowledged"]
        most = least + self.outcomes["unknown"]
        if applied < least:
            self.problems.append(f"{least - applied} acknowledged commits are lost")
        if applied > most:
            self.problems.append(f"{applied - most} commits were applied twice, or though refused")

    def _run(self, stop: threading.Event) -> None:
        try:
            with self._connected() as db:
                while not stop.wait(PAUSE_SECONDS):
                    self._attempt(db)
        except Exception:
            self.problems.append(f"ended with {traceback.format_exc()}")

    def _attempt(self, db: Any) -> None:
        try:
            least = self.commit(db)
        except kvengine.OutcomeUnknown:
            self.outcomes["unknown"] += 1
            return
        except REFUSED as error:
            self.outcomes[type(error).__name__] += 1
            return
        self.outcomes["acknowledged"] += 1
        self.times.append(time.monotonic())
        version = db.version(*self.watched)
        if version < max(least, self._version):
            self.problems.append(f"version {version} after {max(least, self._version)}")
        self._version = version


class Sessions(Writer):
    """Counts in sessions of an object that all share; ``total`` is the sum of all counts."""

    kind = "session"

    def commit(self, db: Any) -> int:
        with db.object(*self.watched).session() as state:
            state.increment("total")
            state.increment(self.name)
        return 0

    def applied(self, db: kvengine.Store) -> int:
        counts = db.object(*self.watched).get_all()
        total = counts.pop("total", 0)
        if total != sum(counts.values()):
            self.problems.append(f"torn: {total} in all, {counts}")
        return int(counts.get(self.name, 0))


class Increments(Writer):
    """Counts by `increment`, in an object that all share."""

    kind = "increment"

    def commit(self, db: Any) -> int:
        db.object(*self.watched).increment(self.name)
        return 0

    def applied(self, db: kvengine.Store) -> int:
        return int(db.object(*self.watched).get(self.name, 0))


class Values(Writer):
    """Sets one entry after the other, which none but itself writes."""

    kind = "set"

    def __init__(self, number: int, url: str) -> None:
        super().__init__(number, url)
        self._set: list[str] = []
        """Those acknowledged, and those of unknown outcome."""
        self._may_be: set[str] = set()

    @property
    def watched(self) -> tuple[str, str]:
        return self.kind, self.name

    def commit(self, db: Any) -> int:
        state_key = f"{self.outcomes.total():06}"
        try:
            stamp: int = db.set(*self.watched, state_key, state_key.encode())
        except kvengine.OutcomeUnknown:
            self._may_be.add(state_key)
            raise
        self._set.append(state_key)
        return stamp

    def applied(self, db: kvengine.Store) -> int:
        found = db.get_all(*self.watched)
        lost = set(self._set) - found.keys()
        more = found.keys() - self._may_be.union(self._set)
        wrong = [name for name, value in found.items() if value != name.encode()]
        if lost or more or wrong:
            self.problems.append(f"lost {lost}, refused and yet there {more}, other value {wrong}")
        return len(found)


class Transfers(Writer):
    """Moves one unit from an account to another in a batch, and counts that in both."""

    kind = "transfer"

    accounts = ("shared", "other")

    def commit(self, db: Any) -> int:
        expect = {}
        batch = kvengine.Batch()
        for account, moved in zip(self.accounts, (-1, 1), strict=True):
            name = (self.kind, account)
            stored = db.load(*name)
            entries = {} if stored is None else stored.entries
            expect[name] = 0 if stored is None else stored.version
            for state_key, by in (("balance", moved), (self.name, 1)):
                number = int(entries.get(state_key, b"0")) + by
                batch.set(*name, state_key, str(number).encode())
        stamp: int = db.write(batch, expect=expect)
        return stamp

    def applied(self, db: kvengine.Store) -> int:
        first, second = (
            {name: int(value) for name, value in db.get_all(self.kind, account).items()}
            for account in self.accounts
        )
        balance = second.pop("balance", 0)
        if first.pop("balance", 0) != -balance or first != second or balance != sum(first.values()):
            self.problems.append(f"torn: {first} and {second}, {balance} moved")
        return first.get(self.name, 0)


KINDS: Sequence[type[Writer]] = (Sessions, Increments, Values, Transfers)


class Kill(NamedTuple):
    """What one loss of the leader cost, in seconds.

    ``probe``: from the end of its last process until a commit by hand, tried again and again, was
    acknowledged. ``stalls``: of each writer, from the last commit before to the first one after.
    """

    way: str
    probe: float
    stalls: Sequence[float]


class Report(NamedTuple):
    """What came of a campaign."""

    kills: Sequence[Kill]
    writers: Sequence[Writer]
    lost_answers: Counter[str]

    @property
    def problems(self) -> list[str]:
        """Return what must not be, for each writer that has seen it."""
        return [
            f"{writer.title} {writer.name}: {problem}"
            for writer in self.writers
            for problem in writer.problems
        ]

    def lines(self) -> Iterator[str]:
        """Return the report for people."""
        yield "kill                  commit by hand   stall of writers: median   longest"
        for kill in self.kills:
            median, longest = statistics.median(kill.stalls), max(kill.stalls)
            yield f"{kill.way:<20}{kill.probe:>14.2f} s{median:>24.2f} s{longest:>8.2f} s"
        for writer in self.writers:
            outcomes = ", ".join(f"{what} {n}" for what, n in sorted(writer.outcomes.items()))
            yield f"{writer.name} {writer.title:<18} {outcomes}"
        total = sum((writer.outcomes for writer in self.writers), Counter[str]())
        yield "all: " + ", ".join(f"{what} {n}" for what, n in sorted(total.items()))
        yield "lost answers looked up by token: " + (
            ", ".join(f"{what} {n}" for what, n in sorted(self.lost_answers.items())) or "none"
        )
        yield from self.problems or ["no commit lost, torn or applied twice; every writer went on"]


def campaign(cluster: Cluster, *, kills: int, writers: int, lease: bool = False) -> Report:
    """Kill the leader of a healthy cluster so many times under writers, and compare.

    The machine is lost and PostgreSQL crashes in turn. ``lease``: a lost machine is replaced when
    its lease runs out, and not at once.
    """
    crew = [KINDS[number // 2 % len(KINDS)](number, cluster.url) for number in range(writers)]
    kvengine.connect(cluster.url).close()  # makes the schema
    stop = threading.Event()
    done: list[Kill] = []
    with lost_answers() as counts:
        try:
            for writer in crew:
                writer.start(stop)
            wait_for_all(crew, time.monotonic())
            for number in range(kills):
                done.append(_kill(cluster, crew, crashes=bool(number % 2), lease=lease))
        finally:
            stop.set()
            for writer in crew:
                writer.join()
    with kvengine.connect(cluster.url) as db:
        for writer in crew:
            writer.check(db)
    return Report(done, crew, counts)


def _kill(cluster: Cluster, crew: Sequence[Writer], *, crashes: bool, lease: bool) -> Kill:
    """Kill the leader, wait until every writer goes on, and give the node back to the cluster."""
    node = cluster.crash_leader() if crashes else cluster.kill_leader(expire=not lease)
    killed = time.monotonic()
    wait_until(lambda: commits(cluster), GO_ON_SECONDS, "nobody takes writes")
    probed = time.monotonic()
    assert not is_leader(node)
    wait_for_all(crew, probed)
    cluster.revive(node)
    cluster.wait_healthy()
    assert not is_leader(node)
    wait_for_all(crew, time.monotonic())
    stalls = []
    for writer in crew:
        after = next(number for number, when in enumerate(writer.times) if when > killed)
        stalls.append(writer.times[after] - writer.times[after - 1])
    return Kill("PostgreSQL crashed" if crashes else "machine lost", probed - killed, stalls)


def commits(cluster: Cluster) -> bool:
    """Return whether a commit is acknowledged; one that changes nothing, on a new connection."""
    try:
        cluster.psql("SELECT pg_logical_emit_message(true, 'probe', '')")
    except psycopg.OperationalError:
        return False
    return True


def wait_for_all(crew: Sequence[Writer], since: float) -> None:
    """Return once every writer has had a commit acknowledged since a time."""

    def late() -> list[str]:
        problems = [problem for each in crew for problem in each.problems]
        assert not problems, "\n".join(problems)
        return [each.title for each in crew if not each.times or each.times[-1] <= since]

    wait_until(lambda: not late(), GO_ON_SECONDS, lambda: f"these do not go on: {late()}")


@contextmanager
def lost_answers() -> Iterator[Counter[str]]:
    """Count how often a commit whose answer was lost was found in the database, or not."""
    counts: Counter[str] = Counter()
    landed: Callable[[Commit[Any]], Generator[Any, Any, bool]] = Commit._landed

    def counted(self: Commit[Any]) -> Generator[Any, Any, bool]:
        is_in = yield from landed(self)
        counts["in" if is_in else "not in"] += 1
        return is_in

    Commit._landed = counted  # type: ignore[method-assign]
    try:
        yield counts
    finally:
        Commit._landed = landed  # type: ignore[assignment, method-assign]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.postgres.failover", description=__doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument(
        "--lease", action="store_true", help="a lost machine is replaced when its lease runs out"
    )
    options = parser.parse_args()
    keeper = Keeper()
    try:
        report = campaign(
            Cluster(keeper), kills=options.kills, writers=options.writers, lease=options.lease
        )
    finally:
        keeper.close()
    print("\n".join(report.lines()))
    if report.problems:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
