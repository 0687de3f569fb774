"""Worker: owns a database and writes to it without a pause until its standard input ends.

Commit ``n`` sets entry ``n`` of objects ``first`` and ``last`` to it, and an object between them,
whose key and bytes come from ``n``. A line for each thousand; at the end, the last.
"""

from __future__ import annotations

import sys
import threading
from random import Random

import kvengine


def entries(number: int) -> tuple[str, bytes]:
    """The object between that a commit sets, and to what."""
    rng = Random(number)
    return f"k{rng.randrange(300):03}", b"%d." % number * rng.randint(1, 60)


def main(path: str) -> None:
    stopped = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), stopped.set()), daemon=True).start()
    number = 0
    with kvengine.open(path, durability="os", memtable_size=300_000, l0_compact=3) as db:
        while not stopped.is_set():
            number += 1
            key, value = entries(number)
            with db.batch() as batch:
                batch.set("s", "first", "n", b"%d" % number)
                batch.set("s", key, "v", value)
                batch.set("s", "last", "n", b"%d" % number)
            if number % 1000 == 0:
                print(number, flush=True)
    print(number, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
