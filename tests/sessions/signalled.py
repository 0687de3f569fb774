"""Worker: sessions under a timer, until it has interrupted so many at random moments.

Prints how many sessions were tried and how many were interrupted.
"""

from __future__ import annotations

import random
import signal
import sys
import threading
from typing import Any

import kvengine

armed = False


def handler(number: int, frame: Any) -> None:
    """Raise once; not in a finalizer, where it would go nowhere."""
    global armed  # noqa: PLW0603 - the handler takes no arguments
    while frame is not None:
        if frame.f_code.co_name in ("__del__", "_remove", "remove"):
            return
        frame = frame.f_back
    if armed:
        armed = False
        raise KeyboardInterrupt


def attempt(obj: kvengine.VirtualObject, number: int, delay: float, **loading: Any) -> bool:
    """One session under a timer; whether it was interrupted."""
    global armed  # noqa: PLW0603
    try:
        armed = True
        signal.setitimer(signal.ITIMER_REAL, delay, 0.0005)
        with obj.session(**loading) as state:
            state.set("n", number)
            state.set("history", [*state.get("history", []), number][-3:])
        armed = False
        return False
    except KeyboardInterrupt:
        return True
    finally:
        armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)


def check(obj: kvengine.VirtualObject, number: int, before: int, interrupted: bool) -> int:
    """In whole or not at all; and another thread has the object at once."""
    found: list[dict[str, Any]] = []

    def other() -> None:
        with obj.session(timeout=5) as state:
            found.append(state.get_all())

    thread = threading.Thread(target=other, daemon=True)
    thread.start()
    thread.join()
    if not found:
        raise SystemExit(f"session {number}: the object was not free")
    n = found[0].get("n", 0)
    if n not in ((before, number) if interrupted else (number,)):
        raise SystemExit(f"session {number}: found {n}, {before} before")
    if found[0].get("history", [0])[-1] != n:
        raise SystemExit(f"session {number}: half a commit")
    return int(n)


def main() -> None:
    path, wanted = sys.argv[1], int(sys.argv[2])
    signal.signal(signal.SIGALRM, handler)
    rng = random.Random(1)
    interrupts = last = number = 0
    loadings: list[dict[str, Any]] = [{}, {"preload": False}, {"preload_limit": 2}]
    with kvengine.open(path, durability="os", background="thread") as db:
        obj = db.object("S", "k")
        while interrupts < wanted:
            number += 1
            loading = {**rng.choice(loadings), "durability": rng.choice(["os", "os", "sync"])}
            interrupted = attempt(obj, number, rng.uniform(0.00001, 0.0003), **loading)
            interrupts += interrupted
            last = check(obj, number, last, interrupted)
    with kvengine.open(path) as db:
        if db.object("S", "k").get("n") != last:
            raise SystemExit("reopened to something else")
    print(number, interrupts)


if __name__ == "__main__":
    main()
