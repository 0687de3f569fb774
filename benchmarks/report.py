"""`python -m benchmarks.report out.json`: pytest-benchmark's figures as one table of ratios.

Cells are microseconds per operation where no unit is named, the median of the rounds, without what
the empty loop took in the same round. The ratio is the best peer's figure by kvengine's: above 1
kvengine is ahead. The bar is the ratio to reach, or the most that kvengine's own figure may be.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.lines import BY_NAME, COMMIT_SYNCED, LINES, MICROSECONDS, YCSB, YCSB_BAR, Line
from benchmarks.peers import COUNTED, KVENGINE, MODULES

FLOOR = f"{COMMIT_SYNCED}, by a bare pwrite + fdatasync"
OVERHEAD_LIMIT = 1.5  # a session by its own load and write
STATISTICS: dict[str, Callable[[list[float]], float]] = {
    "median": statistics.median,
    "mean": statistics.mean,
    "min": min,
    "max": max,
}
HEADER = "microseconds per operation, or as named"
Cells = dict[str, float]  # store -> figure
Table = dict[str, Cells]  # name of a line, or of a group without one -> cells


def collect(benchmarks: list[dict[str, Any]], statistic: str) -> Table:
    """Return the chosen statistic of each benchmark: lines in their order, then the others."""
    table: Table = {}
    for benchmark in benchmarks:
        extra = benchmark["extra_info"]
        if "base" not in extra:
            cells = table.setdefault(benchmark["group"], {})
            cells[extra["peer"]] = _figure(benchmark, statistic)
    numbered = {line.name: table.pop(line.name) for line in LINES if line.name in table}
    return numbered | table


def overheads(benchmarks: list[dict[str, Any]], statistic: str) -> list[str]:
    """Return a line for each operation that was timed beside what it stands on."""
    lines = []
    for benchmark in benchmarks:
        base = benchmark["extra_info"].get("base")
        if base is not None:
            cost = _figure(benchmark, statistic)
            figures = f"{number(cost)} / {number(base)} = {cost / base:.2f}"
            lines.append(f"{benchmark['group']}: {figures}; at most {OVERHEAD_LIMIT}")
    return lines


def floors(benchmarks: list[dict[str, Any]], statistic: str) -> list[str]:
    """Return what each store took by what no store can do without, timed in the same rounds.

    Their ratio is also that of the best peer and kvengine where a disk changes its pace meanwhile.
    """
    described = []
    times: Cells = {}
    for benchmark in benchmarks:
        extra = benchmark["extra_info"]
        if "floor" in extra:
            floor = extra["floor"]
            ratio = times[extra["peer"]] = _figure(benchmark, statistic) / floor
            described.append(f"{extra['peer']} {ratio:.2f} times {number(floor)}")
    if not described:
        return []
    return [
        f"{FLOOR} beside it: {', '.join(described)}; "
        f"ratio by these: {_digits(_ratio(times, COUNTED))}"
    ]


def notes(benchmarks: list[dict[str, Any]]) -> list[str]:
    """Return what is to be said of lines, once each: sizes, and what a figure includes."""
    said = dict.fromkeys(
        f"{_title(benchmark['group'])}: {benchmark['extra_info']['note']}"
        for benchmark in benchmarks
        if benchmark["extra_info"].get("note")
    )
    return list(said)


def geometric_mean(table: Table) -> list[str]:
    """Return a line with the mean of the ratios of YCSB, each to the peer that is best there."""
    ratios = [_ratio(table[name], COUNTED) for name in YCSB.values() if name in table]
    known = [ratio for ratio in ratios if ratio is not None]
    if len(known) < len(YCSB):
        return []
    mean = statistics.geometric_mean(known)
    return [f"YCSB A-F, geometric mean of the ratios: {_digits(mean)}; bar {YCSB_BAR}"]


def _figure(benchmark: dict[str, Any], statistic: str) -> float:
    extra, samples = benchmark["extra_info"], benchmark["stats"]["data"]
    loops = extra.get("loops", [0.0] * len(samples))
    net = [sample - loop for sample, loop in zip(samples, loops, strict=True)]
    line = BY_NAME.get(benchmark["group"])
    scale = (line.unit if line else MICROSECONDS).scale
    return float(STATISTICS[statistic](net) / extra["operations"] * scale)


def sides(document: dict[str, Any]) -> list[str]:
    """Return a line for Python and for each store: version and settings, as when measured."""
    described = {}
    for benchmark in document["benchmarks"]:
        extra = benchmark["extra_info"]
        if "version" in extra:
            described.setdefault(extra["peer"], f"{extra['version']}: {extra['settings']}")
    machine = document["machine_info"]
    python = f"{machine['python_implementation']} {machine['python_version']}"
    return [f"Python: {python}", *(described[name] for name in MODULES if name in described)]


def rows(table: Table) -> list[list[str]]:
    """Return the table as cells of text, its header first."""
    names = [name for name in MODULES if any(name in cells for cells in table.values())]
    result = [["line", HEADER, *names, "best peer / kvengine", "bar", "reached"]]
    for name, cells in table.items():
        line = BY_NAME.get(name)
        place = str(line.number) if line else ""
        values = [number(cells.get(store)) for store in names]
        ratios = [_ratios(_known(table, name), line), _bar(line), reached(table, name)]
        result.append([place, _title(name), *values, *ratios])
    return result


def _title(name: str) -> str:
    """Return the name of a line, with the unit of its figures."""
    line = BY_NAME.get(name)
    return f"{name}, {line.unit.name}" if line and line.unit.name else name


def render(table: Table) -> list[str]:
    """Return the table for a terminal."""
    cells = rows(table)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(_pad(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
    return [lines[0], "-" * len(lines[0]), *lines[1:]]


def markdown(table: Table) -> list[str]:
    """Return the table in the form of README.md, without numbers and bars."""
    header, *body = ([operation, *rest] for _, operation, *rest, _, _ in rows(table))
    header[0], header[-1] = "operation", "ratio"
    return markdown_table([header, *body])


def markdown_table(cells: list[list[str]]) -> list[str]:
    """Return rows of text, the header first, as a table in Markdown."""
    header, *body = cells
    return [f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *body)]


def _pad(cell: str, width: int) -> str:
    return cell.rjust(width) if _is_number(cell) else cell.ljust(width)


def _is_number(cell: str) -> bool:
    return cell == "-" or cell.replace(",", "").replace(".", "").lstrip("-").isdigit()


def number(value: float | None) -> str:
    """Return about three digits."""
    if value is None:
        return "-"
    if value >= 100:
        return f"{value:,.0f}"
    digits = 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:.{digits}f}"


def _ratios(cells: Cells, line: Line | None) -> str:
    """Return the best peer's ratio, or those of the peers that have a bar of their own."""
    if line and line.bars:
        return ", ".join(f"{_digits(_ratio(cells, [peer]))} {peer}" for peer in line.bars)
    ratio = _digits(_ratio(cells, COUNTED))
    if line and line.apart:
        return f"{ratio} ({_digits(_ratio(cells, _without(line.apart)))} without {line.apart})"
    return ratio


def least(table: Table, name: str) -> tuple[float, float] | None:
    """Return the ratio of a line and its bar; of several the one that is farthest from its bar."""
    held = _held(_known(table, name), BY_NAME[name])
    return min(held, key=lambda each: each[0] / each[1], default=None)


def reached(table: Table, name: str) -> str:
    """Return "yes" or "no"; nothing where there is no bar, or no figure to hold to it."""
    line, cells = BY_NAME.get(name), _known(table, name)
    if line is None or KVENGINE not in cells:
        return ""
    if line.at_most is not None:
        return "yes" if cells[KVENGINE] <= line.at_most else "no"
    held = _held(cells, line)
    if not held:
        return ""
    return "yes" if all(ratio >= bar for ratio, bar in held) else "no"


def _known(table: Table, name: str) -> Cells:
    """Return the figures of a line, with the peers' of the line that it stands against."""
    line = BY_NAME.get(name)
    others = table.get(line.against, {}) if line and line.against else {}
    return others | table[name]


def _held(cells: Cells, line: Line) -> list[tuple[float, float]]:
    """Return ratios and bars: against the best peer, or the peers that have bars of their own."""
    wanted = [([peer], bar) for peer, bar in line.bars.items()]
    if line.bar is not None:
        wanted.append((_without(line.apart), line.bar))
    ratios = [(_ratio(cells, stores), bar) for stores, bar in wanted]
    return [(ratio, bar) for ratio, bar in ratios if ratio is not None]


def _without(peer: str | None) -> list[str]:
    return [name for name in COUNTED if name != peer]


def _ratio(cells: Cells, peers: list[str]) -> float | None:
    others = [cells[peer] for peer in peers if peer in cells]
    if not others or cells.get(KVENGINE, 0) <= 0:
        return None
    return min(others) / cells[KVENGINE]


def _digits(ratio: float | None) -> str:
    if ratio is None:
        return "-"
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:,.1f}" if ratio < 100 else f"{ratio:,.0f}"


def _bar(line: Line | None) -> str:
    if line is None:
        return ""
    if line.at_most is not None:
        return f"{line.at_most:g} {line.unit.name}, own"
    if line.bars:
        return ", ".join(f"{bar:g} {peer}" for peer, bar in line.bars.items())
    return "" if line.bar is None else f"{line.bar:,}"


def remarks(document: dict[str, Any], statistic: str) -> list[str]:
    """Return what stands below the table."""
    benchmarks = document["benchmarks"]
    mean = geometric_mean(collect(benchmarks, statistic))
    alone = [*floors(benchmarks, statistic), *overheads(benchmarks, statistic)]
    return [*mean, *alone, *notes(benchmarks)]


def main() -> None:
    """Print the table of a file written with --benchmark-json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("json", type=Path, help="what pytest --benchmark-json wrote")
    parser.add_argument("--statistic", default="median", choices=list(STATISTICS))
    parser.add_argument("--markdown", action="store_true", help="in the form of README.md")
    arguments = parser.parse_args()
    document = json.loads(arguments.json.read_text())
    benchmarks = document["benchmarks"]
    table = collect(benchmarks, arguments.statistic)
    printed = markdown(table) if arguments.markdown else render(table)
    print("\n".join([*sides(document), "", *printed, *remarks(document, arguments.statistic)]))


if __name__ == "__main__":
    main()
