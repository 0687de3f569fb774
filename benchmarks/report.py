"""`python -m benchmarks.report out.json`: pytest-benchmark's figures as one table of ratios.

Cells are microseconds per operation, the median of the rounds. The ratio is the best peer's time
by kvengine's: above 1 kvengine is faster. Lines below the table are of one store alone.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks.peers import KVENGINE, MODULES

AIMS = {
    "get, hot": 2.5,
    "eager load, hot (10 keys)": 5.0,
    "commit of 3 keys": 1.0,
    "commit of 3 keys, fsynced": 1.0,
    "scan, per entry": 1.0,
    "eager session, 1 change (10 keys)": 2.5,
}
LEAST = {"eager session, 1 change (10 keys)": 1.5}  # what an aim may not fall below
OVERHEAD_LIMIT = 1.5  # a session by its own load and write
Table = dict[str, dict[str, float]]  # operation -> store -> microseconds


def collect(benchmarks: list[dict[str, Any]], statistic: str) -> Table:
    """The chosen statistic of each benchmark, per operation."""
    table: Table = {}
    for benchmark in benchmarks:
        extra = benchmark["extra_info"]
        if "base" in extra:
            continue
        microseconds = _microseconds(benchmark, statistic)
        table.setdefault(benchmark["group"], {})[extra["peer"]] = microseconds
    return table


def overheads(benchmarks: list[dict[str, Any]], statistic: str) -> list[str]:
    """A line for each operation that was timed beside what it stands on."""
    lines = []
    for benchmark in benchmarks:
        base = benchmark["extra_info"].get("base")
        if base is not None:
            cost = _microseconds(benchmark, statistic)
            figures = f"{_number(cost)} / {_number(base)} = {cost / base:.2f}"
            lines.append(f"{benchmark['group']}: {figures}; at most {OVERHEAD_LIMIT}")
    return lines


def _microseconds(benchmark: dict[str, Any], statistic: str) -> float:
    return float(benchmark["stats"][statistic] / benchmark["extra_info"]["operations"] * 1e6)


def sides(benchmarks: list[dict[str, Any]]) -> list[str]:
    """One line per store: version and settings; and how kvengine runs."""
    described = {}
    for benchmark in benchmarks:
        extra = benchmark["extra_info"]
        if "version" in extra:
            described[extra["peer"]] = f"{extra['version']}: {extra['settings']}"
    return [
        *(described[name] for name in MODULES if name in described),
        "kvengine runs in plain Python",
    ]


def render(table: Table) -> list[str]:
    """The lines of the table, in the order in which the operations ran."""
    names = [name for name in MODULES if any(name in cells for cells in table.values())]
    header = ["microseconds per operation", *names, "best peer / kvengine", "aim"]
    rows = [header]
    for operation, cells in table.items():
        values = [_number(cells.get(name)) for name in names]
        rows.append([operation, *values, _ratio(cells), _aim(operation)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    lines = [
        "  ".join(_pad(cell, width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]
    floors = [
        f"{operation}: {name} alone {_number(cells[name])}"
        for operation, cells in table.items()
        for name in cells
        if name not in MODULES
    ]
    return [lines[0], "-" * len(lines[0]), *lines[1:], *floors]


def _pad(cell: str, width: int) -> str:
    return cell.rjust(width) if cell[:1].isdigit() or cell == "-" else cell.ljust(width)


def _number(microseconds: float | None) -> str:
    if microseconds is None:
        return "-"
    return f"{microseconds:,.0f}" if microseconds >= 100 else f"{microseconds:.2f}"


def _ratio(cells: dict[str, float]) -> str:
    others = [cells[name] for name in MODULES if name in cells and name != KVENGINE]
    if KVENGINE not in cells or not others:
        return "-"
    return f"{min(others) / cells[KVENGINE]:.2f}"


def _aim(operation: str) -> str:
    aim = AIMS.get(operation)
    if aim is None:
        return ""
    return f"{aim:.1f} (at least {LEAST[operation]:.1f})" if operation in LEAST else f"{aim:.1f}"


def main() -> None:
    """Print the table of a file written with --benchmark-json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("json", type=Path, help="what pytest --benchmark-json wrote")
    parser.add_argument("--statistic", default="median", choices=["median", "mean", "min", "max"])
    arguments = parser.parse_args()
    benchmarks = json.loads(arguments.json.read_text())["benchmarks"]
    table = render(collect(benchmarks, arguments.statistic))
    alone = overheads(benchmarks, arguments.statistic)
    print("\n".join([*sides(benchmarks), "", *table, *alone]))


if __name__ == "__main__":
    main()
