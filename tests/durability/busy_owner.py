"""An owner in a process of its own that commits, flushes and compacts until it is killed."""

from __future__ import annotations

WRITER = """
import sys, kvengine
db = kvengine.open(sys.argv[1], durability="os", memtable_size=20_000, l0_compact=2)
print("go", flush=True)
n = 0
while True:
    n += 1
    with db.batch() as batch:
        batch.clear_range("s", "m", None)
        for key in ("a", "k", "z"):
            batch.set("s", key, "n", b"%d" % n)
        batch.set("s", f"fill{n % 200}", "n", b"%d" % n * 60)
"""
"""Each batch sets "a", "k" and "z" of service "s" to one number. Its argument is the directory."""
