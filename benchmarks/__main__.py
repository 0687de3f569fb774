"""`python -m benchmarks [pytest arguments]`: run all operations, then print the table.

KVENGINE_BENCH_OBJECTS=5000 makes a quick run; `-k "get and not missing"` picks operations,
`-k session` those of handlers; `--benchmark-json FILE` keeps the figures, for
`python -m benchmarks.report FILE`; `--benchmark-timer=time.thread_time` measures processor time,
for a machine that is busy with other things (not for what is fsynced or opened).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import pytest

from benchmarks import report, workload


def main(arguments: list[str]) -> int:
    """The exit code is pytest's; the table is printed whatever it is."""
    print(f"{workload.object_count():,} objects of {len(workload.STATE_KEYS)} state keys")
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch, "out.json")
        operations = [
            str(Path(__file__).with_name(f"test_{name}.py")) for name in ("operations", "sessions")
        ]
        # The tests' own command line options (addopts) do not suit a measurement.
        options = ["-q", "-rs", "-o", "addopts=", "-p", "no:cacheprovider"]
        options += ["--benchmark-quiet", f"--basetemp={scratch}/run"]
        options += [f"--benchmark-storage={scratch}/storage"]
        code = pytest.main([*operations, *options, f"--benchmark-json={output}", *arguments])
        if output.exists() and output.stat().st_size:
            sys.argv = ["report", str(output)]
            report.main()
    return int(code)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
