"""Worker: commits under a timer that raises at random moments; checks each outcome.

Prints how many commits were tried and how many were interrupted.
"""

from __future__ import annotations

import random
import signal
import sys
import threading
import time

import kvengine

SECONDS, MOST_SECONDS = 5.0, 50.0
COMMITS, INTERRUPTS = 1000, 100
"""How many there are at least, on a machine that is busy with something else, too."""


class Alarm(BaseException):
    """What the signal handler raises."""


armed = False


def handler(number: int, frame: object) -> None:
    """Raise, as often as the timer fires, until the commit has been left."""
    if armed:
        raise Alarm


def attempt(db: kvengine.Engine, n: int, delay: float) -> bool:
    """One batch over some objects under a timer; whether it was interrupted."""
    global armed  # noqa: PLW0603 - the handler takes no arguments
    value = b"%d" % n
    interrupted = False
    try:
        armed = True
        signal.setitimer(signal.ITIMER_REAL, delay, 0.0002)
        with db.batch() as batch:
            batch.set("s", "a", "n", value)
            batch.clear_range("s", "x", "z")
            batch.set("s", "y", "n", value)
            batch.set("s", f"o{n % 100}", "n", value * 50)
        armed = False
    except Alarm:
        armed = False
        interrupted = True
    signal.setitimer(signal.ITIMER_REAL, 0)
    return interrupted


def check(db: kvengine.Engine, n: int, before: bytes | None, interrupted: bool) -> bytes | None:
    """The batch is there in whole or not at all, and another thread may commit at once."""
    found: list[bytes | None] = []

    def other() -> None:
        db.set("t", "b", "n", b"1")
        with db.snapshot() as snapshot:
            found.extend(snapshot.get("s", key, "n") for key in ("a", "y"))

    thread = threading.Thread(target=other, daemon=True)
    thread.start()
    thread.join(5)
    if len(found) != 2:
        raise SystemExit("a lock was left held")
    allowed = (before, b"%d" % n) if interrupted else (b"%d" % n,)
    if found[0] != found[1] or found[0] not in allowed:
        raise SystemExit(f"commit {n}: {found}, expected one of {allowed}")
    return found[0]


def main() -> None:
    path, durability, background = sys.argv[1:]
    options = {"durability": durability, "background": background, "memtable_size": 64 * 1024}
    signal.signal(signal.SIGALRM, handler)
    interrupts = n = 0
    last: bytes | None = None
    rng = random.Random(1)
    with kvengine.open(path, **options) as db:
        started = time.monotonic()
        seconds = 0.0
        while seconds < SECONDS or (
            (n <= COMMITS or interrupts <= INTERRUPTS) and seconds < MOST_SECONDS
        ):
            n += 1
            interrupted = attempt(db, n, rng.uniform(0.00001, 0.0004))
            interrupts += interrupted
            if interrupted or n % 10 == 0:
                last = check(db, n, last, interrupted)
            else:
                last = b"%d" % n
            seconds = time.monotonic() - started
    with kvengine.open(path, **options) as db:
        if db.get("s", "a", "n") != last or db.get("s", "y", "n") != last:
            raise SystemExit("reopened to something else")
    print(n, interrupts)


if __name__ == "__main__":
    main()
