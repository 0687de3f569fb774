"""`python -m benchmarks.grown`: a directory of a million entries, and how its space comes back.

First 100,000 objects of 10 entries with 100-byte values are loaded, opened, listed, scanned and
compacted; then `clear_service` removes them all, and background work alone must bring the directory
below 1 MB. Then as many workflows with a retention are written: when it has passed they must read
as absent at once, and their space must come back without a call.

Disk use is what the file system has allocated, preallocated space included. Logical bytes count
the two names of an object once, and each of its entries' state key and value once.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from typing import Any

import kvengine
from benchmarks import workload
from benchmarks.directories import disk_use
from benchmarks.workload import SERVICE, STATE_KEYS, object_key

SMALL = 1_000_000  # bytes; a directory below this has given its space back
SMALL_WITHIN = 60.0  # seconds, after clear_service
SPACE_LIMIT = 1.15  # disk use / logical bytes after compact()
PATIENCE = 300.0  # seconds after which a directory that does not shrink is given up
MARGIN = 10.0  # seconds from the end of the workflows' load to their expiry, at least
PROBES = 1_000


def say(what: str, figure: str, note: str = "") -> None:
    """One line of the report."""
    print(f"{what:<44}{figure:>16}  {note}", flush=True)


def timed(what: str, call: Callable[[], Any], note: Callable[[Any], str] = lambda _: "") -> Any:
    """Run, report the seconds it took, and hand on what it returned."""
    start = time.perf_counter()
    result = call()
    say(what, f"{time.perf_counter() - start:.3f} s", note(result))
    return result


def logical_bytes(objects: int) -> int:
    """Names and values once each: an object's own two names, and each entry's."""
    names = len(SERVICE) + len(object_key(0))
    entries = sum(len(state_key) + workload.VALUE_SIZE for state_key in STATE_KEYS)
    return objects * (names + entries)


def load(store: Any, objects: int, expires_at: float | None = None) -> None:
    """One commit per object, which also states its expiry if there is one."""
    for service, key, entries in workload.objects(objects):
        with store.batch() as batch:
            for state_key, value in entries.items():
                batch.set(service, key, state_key, value)
            if expires_at is not None:
                batch.expire(service, key, at=expires_at)


def shrink(directory: str, background: Any) -> float | None:
    """Seconds until the directory is small by background work alone; None if it never is."""
    start = time.monotonic()
    while disk_use(directory) >= SMALL:
        if time.monotonic() - start > PATIENCE:
            say("  given up at", f"{disk_use(directory):,} B", str(background.stats()))
            return None
        time.sleep(0.1)
    return time.monotonic() - start


def seconds(value: float | None) -> str:
    """For the report."""
    return "never" if value is None else f"{value:.1f} s"


def grow(directory: str, objects: int) -> None:
    """Load and close."""
    with kvengine.open(directory, durability="os") as store:
        start = time.perf_counter()
        load(store, objects)
        took = time.perf_counter() - start
        say("load", f"{took:.3f} s", f"{took / objects * 1e6:.1f} us per object")
        timed("close", store.close)
    say("disk use after the load", f"{disk_use(directory) / 1e6:.1f} MB")


def walk(store: Any, objects: int) -> None:
    """List, scan, read; the counts must be right."""
    keys = timed("list object keys", lambda: sum(1 for _ in store.object_keys(SERVICE)))
    entries = timed("scan", lambda: sum(len(stored.entries) for stored in store.scan()))
    if (keys, entries) != (objects, objects * len(STATE_KEYS)):
        raise AssertionError(f"listed {keys:,} objects and {entries:,} entries")


def compact(store: Any, directory: str, objects: int) -> bool:
    """Compact everything; is the disk use within its limit."""
    timed("compact", store.compact)
    used, logical = disk_use(directory), logical_bytes(objects)
    ratio = used / logical
    say("disk use / logical bytes", f"{ratio:.3f}", f"{used:,} / {logical:,}; aim {SPACE_LIMIT}")
    return ratio <= SPACE_LIMIT


def objects_at_scale(directory: str, objects: int) -> bool:
    """The first half: load to clear_service. True where every aim is reached."""
    print(f"{objects:,} objects of {len(STATE_KEYS)} entries, {logical_bytes(objects):,} bytes")
    grow(directory, objects)
    with timed("open", lambda: kvengine.open(directory, durability="os")) as store:
        walk(store, objects)
        dense = compact(store, directory, objects)
        timed("scan, compacted", lambda: sum(1 for _ in store.scan()))
        timed("clear_service", lambda: store.clear_service(SERVICE))
        if store.get(SERVICE, object_key(0), STATE_KEYS[0]) is not None:
            raise AssertionError("cleared, and yet it can be read")
        took = shrink(directory, store)
        say("below 1 MB after", seconds(took), f"by background work alone; aim {SMALL_WITHIN:.0f}")
    return dense and took is not None and took <= SMALL_WITHIN


def absent(store: Any, objects: int) -> None:
    """Raise unless everything reads as absent, in every way to ask."""
    step = max(1, objects // PROBES)
    found = [
        number
        for number in range(0, objects, step)
        if store.get(SERVICE, object_key(number), STATE_KEYS[0]) is not None
    ]
    if found or next(store.object_keys(SERVICE), None) is not None or store.services():
        raise AssertionError(f"past their expiry, and yet {len(found)} are read, or listed")


def workflows_at_scale(directory: str, objects: int, load_seconds: float) -> bool:
    """The second half: retention. True where space came back."""
    print(f"{objects:,} workflows of {len(STATE_KEYS)} entries, with retention")
    with kvengine.open(directory, durability="os") as store:
        expires_at = time.time() + load_seconds + MARGIN
        timed("load", lambda: load(store, objects, expires_at))
        if time.time() >= expires_at:
            raise AssertionError("the load took longer than the retention: give --load-seconds")
        present = store.get(SERVICE, object_key(0), STATE_KEYS[0]) is not None
        if not present:
            raise AssertionError("absent before the expiry")
        time.sleep(max(0.0, expires_at - time.time()) + 0.001)
        timed("absent at expiry", lambda: absent(store, objects))
        took = shrink(directory, store)
        say("below 1 MB after", seconds(took), "from the expiry, without a call")
    return took is not None


def main() -> int:
    """Exits 1 where an aim is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--objects", type=int, default=100_000)
    parser.add_argument("--load-seconds", type=float, default=30.0, help="room for the load")
    arguments = parser.parse_args()
    if not hasattr(kvengine, "open"):
        parser.error("kvengine.open is missing: the engine is not there yet")
    objects = arguments.objects
    with tempfile.TemporaryDirectory() as scratch:
        reached = objects_at_scale(os.path.join(scratch, "objects"), objects)
        reached &= workflows_at_scale(
            os.path.join(scratch, "workflows"), objects, arguments.load_seconds
        )
    return 0 if reached else 1


if __name__ == "__main__":
    raise SystemExit(main())
