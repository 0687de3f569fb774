"""How much each part does. The figures of docs/benchmarks.md are of FULL; the others are to try."""

from __future__ import annotations

from typing import NamedTuple


class Sizes(NamedTuple):
    """Counts, unless a unit is named."""

    entries: int = 10_000_000  # of line 14; lines 16 and 18 look at what it left
    patience: float = 150.0  # seconds after which the load of a peer is given up
    workflows: int = 1_000_000
    living: int = 50_000  # objects that stay while the workflows expire
    grace: float = 1.0  # seconds from the expiry to when its space may come back
    wal_bytes: int = 64_000_000
    opens: int = 7  # rounds
    tail_objects: int = 100_000
    tail_turns: int = 5
    tail_samples: int = 20_000  # calls in a turn
    ycsb_objects: int = 100_000
    ycsb_operations: int = 5_000  # in a round; of scans a tenth
    ycsb_rounds: int = 9
    grown_objects: int = 10_000_000
    grown_entries: int = 200_000  # of all objects, where the number of keys grows
    largest_object: int = 100_000  # keys
    largest_value: int = 64_000_000  # bytes
    value_bytes: int = 128_000_000  # of all values, where their size grows
    threads: int = 32
    snapshots: int = 10_000
    calls: int = 2_000  # in a round of a curve


FULL = Sizes()

QUICK = Sizes(
    entries=500_000,
    workflows=30_000,
    living=5_000,
    wal_bytes=8_000_000,
    opens=3,
    tail_objects=20_000,
    tail_turns=2,
    tail_samples=3_000,
    ycsb_objects=10_000,
    ycsb_operations=1_000,
    ycsb_rounds=3,
    grown_objects=100_000,
    grown_entries=20_000,
    largest_object=10_000,
    largest_value=8_000_000,
    value_bytes=16_000_000,
    threads=8,
    snapshots=1_000,
    calls=500,
)

# For a test that everything still runs: its figures say nothing.
TINY = Sizes(
    entries=10_000,
    workflows=1_000,
    living=200,
    grace=0.3,
    wal_bytes=100_000,
    opens=1,
    tail_objects=1_000,
    tail_turns=1,
    tail_samples=100,
    ycsb_objects=1_000,
    ycsb_operations=100,
    ycsb_rounds=1,
    grown_objects=1_000,
    grown_entries=1_000,
    largest_object=1_000,
    largest_value=100_000,
    value_bytes=200_000,
    threads=2,
    snapshots=10,
    calls=50,
)

BY_NAME = {"full": FULL, "quick": QUICK, "tiny": TINY}
