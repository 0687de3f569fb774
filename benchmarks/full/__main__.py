"""`python -m benchmarks.full`: the lines that take longer, the growth of kvengine, and the page.

At size full, with nothing left out by --only, docs/benchmarks.md is filled and its plots are drawn;
--docs DIR fills another copy, at any size. The figures are kept in --json, from which --render
fills the page again; --merge adds to the figures that it has. `make bench` comes first, with all
its peers: its lines belong to the page.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import plain, report
from benchmarks.full import expire, growth, load, opening, pages, sizes, tail, ycsb
from benchmarks.full.record import Place, Record, available

DOCS = Path(__file__).parents[2] / "docs"
OPERATIONS = "operations"  # what `make bench` runs
PARTS: dict[str, Callable[[Place, sizes.Sizes], Any]] = {
    "load": load.run,
    "opening": opening.run,
    "expire": expire.run,
    "tail": tail.run,
    "ycsb": ycsb.run,
}
GROWTH = "growth"


def say(text: str) -> None:
    """Print at once: a run takes long."""
    print(text, flush=True)


def arguments_of_the_command(arguments: list[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    names = (OPERATIONS, *PARTS, GROWTH)
    parser.add_argument("--size", choices=list(sizes.BY_NAME), default="full")
    parser.add_argument("--only", help=f"some of {','.join(names)}")
    parser.add_argument("--entries", type=int, help="of the load of line 14")
    parser.add_argument("--grown-objects", type=int, help="at the end of the curve over objects")
    parser.add_argument("--release", type=Path, help="a checkout to compare with, see plain.py")
    parser.add_argument("--docs", type=Path, help="where benchmarks.md is to be filled")
    parser.add_argument("--json", type=Path, default=Path("build/bench-full.json"))
    parser.add_argument("--merge", action="store_true", help="keep what --json has of other lines")
    parser.add_argument("--render", action="store_true", help="fill the page from --json, no runs")
    parsed = parser.parse_args(arguments)
    parsed.only = parsed.only.split(",") if parsed.only else list(names)
    if unknown := set(parsed.only) - set(names):
        parser.error(f"--only: there is no {', '.join(sorted(unknown))}")
    if parsed.docs is None and (parsed.render or _is_whole(parsed, names)):
        parsed.docs = DOCS
    return parsed


def _is_whole(parsed: argparse.Namespace, names: tuple[str, ...]) -> bool:
    return parsed.size == "full" and set(parsed.only) == set(names)


def main(arguments: list[str]) -> int:
    """Run what was asked for, print the table, and fill the page; return 1 if a part has failed."""
    parsed = arguments_of_the_command(arguments)
    failed: list[str] = []
    if parsed.render:
        document = json.loads(parsed.json.read_text("utf-8"))
    else:
        # Beside the file of results: where there is room on a disk, not in a memory file system.
        parsed.json.parent.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.mkdtemp(prefix="bench-", dir=parsed.json.parent)
        try:
            document, failed = measured(parsed, Path(scratch).resolve())
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    table = report.collect(document["benchmarks"], pages.STATISTIC)
    say("\n".join([document["machine"], *report.sides(document), "", *report.render(table)]))
    say("\n".join([*report.remarks(document, pages.STATISTIC), *document.get("plain", [])]))
    if failed:
        say(f"FAILED: {', '.join(failed)}")
    elif parsed.docs is not None:
        pages.fill(parsed.docs, document, say)
    return 1 if failed else 0


def measured(parsed: argparse.Namespace, scratch: Path) -> tuple[dict[str, Any], list[str]]:
    """Return the figures of all parts that were asked for, and the names of those that failed.

    The figures are kept after each part, so that an interrupted run goes on with --merge.
    """
    chosen = sizes.BY_NAME[parsed.size]
    if parsed.entries:
        chosen = chosen._replace(entries=parsed.entries)
    if parsed.grown_objects:
        chosen = chosen._replace(grown_objects=parsed.grown_objects)
    place = Place(scratch, available(say), say)
    runs: dict[str, Callable[[], dict[str, Any]]] = {
        OPERATIONS: lambda: {"benchmarks": operations(scratch, parsed.size)},
        **{name: partial(_records, run, place, chosen) for name, run in PARTS.items()},
        GROWTH: lambda: {"curves": growth.run(place, chosen)},
    }
    runs = {name: run for name, run in runs.items() if name in parsed.only}
    if parsed.release:
        runs["uncompiled"] = lambda: {"plain": plain.compared(parsed.release, scratch / "plain")}
    document: dict[str, Any] = {"benchmarks": []}
    if parsed.merge and parsed.json.exists():
        document = json.loads(parsed.json.read_text("utf-8"))
    document |= machine(scratch)
    failed = []
    start = time.monotonic()
    for name, run in runs.items():
        say(f"{name}, after {time.monotonic() - start:.0f} s")
        try:
            add(document, run())
        except Exception:  # the parts after it take minutes, and may well succeed
            traceback.print_exc()
            failed.append(name)
        parsed.json.write_text(json.dumps(document, indent=1), "utf-8")
    say(f"{time.monotonic() - start:.0f} s in all")
    return document, failed


def _records(
    run: Callable[[Place, sizes.Sizes], list[Record]], place: Place, chosen: sizes.Sizes
) -> dict[str, Any]:
    return {"benchmarks": run(place, chosen)}


def add(document: dict[str, Any], found: dict[str, Any]) -> None:
    """Put figures into a document, in place of those of the same lines that it has already."""
    records = found.pop("benchmarks", [])
    new = {record["group"] for record in records}
    kept = [record for record in document["benchmarks"] if record["group"] not in new]
    document["benchmarks"] = [*kept, *records]
    document |= found


def operations(scratch: Path, size: str) -> list[dict[str, Any]]:
    """Return the records of `make bench`, with all peers; at smaller sizes with fewer objects."""
    environment = dict(os.environ)
    if size == "full":
        environment["KVENGINE_BENCH_PEERS"] = "all"
    else:
        environment["KVENGINE_BENCH_OBJECTS"] = {"quick": "5000", "tiny": "1000"}[size]
    output = scratch / "operations.json"
    command = [sys.executable, "-m", "benchmarks", "--benchmark-json", str(output)]
    subprocess.run(command, env=environment, check=True)
    records: list[dict[str, Any]] = json.loads(output.read_text("utf-8"))["benchmarks"]
    return records


def machine(scratch: Path) -> dict[str, Any]:
    """Return what the figures are of: the machine in a line, and Python."""
    processor = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        if line.startswith("model name"):
            processor = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / (1 << 30)
    fields = [line.split() for line in Path("/proc/self/mounts").read_text("utf-8").splitlines()]
    holding = [each for each in fields if scratch.is_relative_to(each[1])]
    system = max(holding, key=lambda each: len(each[1]))[2]
    return {
        "machine": f"{os.cpu_count()} cores, {processor}, {memory:.0f} GiB, {system}, "
        f"Linux {platform.release()}; {time.strftime('%Y-%m-%d')}",
        "machine_info": {
            "python_implementation": platform.python_implementation(),
            "python_version": platform.python_version(),
        },
    }


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
