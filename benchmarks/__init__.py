"""Speed of kvengine beside other embedded stores, on the same work and the same durability.

`python -m benchmarks` (`make bench`) runs every operation on every store and prints a table of
ratios (lines.py).
`python -m benchmarks.full` (`make bench-full`) adds what takes longer: loads, expiry, opening,
tails, YCSB, growth. It fills docs/benchmarks.md.
`python -m benchmarks.plain` compares the uncompiled engine with release 0.1.0.
`python -m benchmarks.latency` measures what compaction does to the tail of get and commit.
`python -m benchmarks.asyncio_sessions` measures sessions of many tasks that share their syncs.
`python -m benchmarks.processes` (`make bench-processes`) measures clients of a shared directory
beside Redis. `python -m benchmarks.postgres URL` measures the PostgreSQL home.
`python -m benchmarks.grown` measures a directory of a million entries.
"""
