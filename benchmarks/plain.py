"""`python -m benchmarks.plain CHECKOUT`: line 20, the uncompiled engine beside an earlier release.

CHECKOUT is a working tree of this repository at release 0.1.0 (commit 1032277); its engine runs
without its compiled kernel (KVENGINE_KERNEL=off). Both engines run lines 1 to 12 of these
benchmarks by themselves, each in a process of its own, by turns; the median of the turns counts. A
line is reached if it is as fast, less a twentieth of noise. What an engine cannot do is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.lines import BY_NAME, NOISE
from benchmarks.peers import KVENGINE

HERE = Path(__file__).parents[1]
LAST_LINE = 12
TURNS = 2
OFF = {"KVENGINE_COMPILED": "off", "KVENGINE_KERNEL": "off", "KVENGINE_BENCH_PEERS": ""}
Cells = dict[str, float]


def compared(release: Path, scratch: Path) -> list[str]:
    """Return a table in Markdown: microseconds of both, their ratio, and whether it is reached."""
    runs: dict[str, list[Cells]] = {"release": [], "here": []}
    for _ in range(TURNS):
        runs["release"].append(measured(release, scratch))
        runs["here"].append(measured(HERE, scratch))
    earlier, uncompiled = (_medians(runs[name]) for name in ("release", "here"))
    rows = [["line", report.HEADER, "0.1.0", "uncompiled", "0.1.0 / uncompiled", "reached"]]
    for name, cost in uncompiled.items():
        line = BY_NAME.get(name)
        if line is None or line.number > LAST_LINE or name not in earlier:
            continue
        ratio = earlier[name] / cost
        figures = [report.number(earlier[name]), report.number(cost), f"{ratio:.2f}"]
        rows.append([str(line.number), name, *figures, "yes" if ratio * NOISE >= 1 else "no"])
    return report.markdown_table(rows)


def measured(checkout: Path, scratch: Path) -> Cells:
    """Return microseconds of each line with the engine of a checkout, uncompiled."""
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch) as place:
        for name, source in (("benchmarks", HERE), ("kvengine", checkout)):
            os.symlink((source / name).resolve(), Path(place, name))
        output = Path(place, "out.json")
        command = [sys.executable, "-m", "benchmarks", "--benchmark-json", str(output)]
        command += ["-k", f"{KVENGINE} and not same and not small_cache and not mapped"]
        environment = os.environ | OFF | {"PYTHONPATH": place}
        subprocess.run(command, env=environment, cwd=place, check=False)
        document: dict[str, Any] = json.loads(output.read_text("utf-8"))
    table = report.collect(document["benchmarks"], "median")
    return {name: cells[KVENGINE] for name, cells in table.items() if KVENGINE in cells}


def _medians(runs: list[Cells]) -> Cells:
    return {name: statistics.median(cells[name] for cells in runs) for name in runs[0]}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("checkout", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        print("\n".join(compared(arguments.checkout, Path(scratch))))


if __name__ == "__main__":
    main()
