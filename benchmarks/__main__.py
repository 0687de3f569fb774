"""`python -m benchmarks [pytest arguments]`: run all operations, then print the table.

KVENGINE_BENCH_OBJECTS=5000 makes a quick run, KVENGINE_BENCH_PEERS=all asks more stores;
`-k "get and not missing"` picks operations, `-k session` those of handlers; `--benchmark-json FILE`
keeps the figures, for `python -m benchmarks.report FILE` (with --markdown: in the form of
README.md); `--benchmark-timer=time.thread_time` measures processor time, for a machine that is busy
with other things (not for what is synced or opened, nor for threads). What the lines mean is in
lines.py.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import pytest

from benchmarks import report, workload


def main(arguments: list[str]) -> int:
    """Run pytest and return its exit code; the table is printed whatever that is."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--benchmark-json", type=Path)
    own, others = parser.parse_known_args(arguments)
    print(f"{workload.object_count():,} objects of {len(workload.STATE_KEYS)} state keys")
    with tempfile.TemporaryDirectory() as scratch:
        output = own.benchmark_json or Path(scratch, "out.json")
        operations = [
            str(Path(__file__).with_name(f"test_{name}.py"))
            for name in ("operations", "sessions", "small_cache")
        ]
        # The tests' own command line options (addopts) do not suit a measurement.
        options = ["-q", "-rs", "-o", "addopts=", "-p", "no:cacheprovider"]
        options += ["--benchmark-quiet", f"--basetemp={scratch}/run"]
        options += [f"--benchmark-storage={scratch}/storage"]
        code = pytest.main([*operations, *options, f"--benchmark-json={output}", *others])
        if output.exists() and output.stat().st_size:
            sys.argv = ["report", str(output)]
            report.main()
    return int(code)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
