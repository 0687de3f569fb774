"""docs/benchmarks.md: tables and plots between markers; the text around them is written by hand."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.full.growth import Curve, cliffs

PAGE = "benchmarks.md"
PICTURES = "benchmarks"  # a folder beside the page
RATIOS = "ratios.png"
STATISTIC = "median"
_BLOCK = "<!-- generated: {name} -->\n"
_END = "<!-- end of {name} -->"


def fill(docs: Path, document: dict[str, Any], say: Callable[[str], None]) -> None:
    """Write the tables of a document into the page, and draw its plots beside it."""
    draw(docs / PICTURES, document, say)
    page = docs / PAGE
    text = page.read_text("utf-8")
    for name, lines in blocks(document, docs).items():
        text = replaced(text, name, lines)
    page.write_text(text, "utf-8")


def blocks(document: dict[str, Any], docs: Path) -> dict[str, list[str]]:
    """Return the lines of each generated part that the document has figures for."""
    table = report.collect(document["benchmarks"], STATISTIC)
    found = {
        "machine": [f"- {line}" for line in (document["machine"], *report.sides(document))],
        "lines": [
            *report.markdown_table(report.rows(table)),
            "",
            *_picture(docs, "Ratio of the best peer to kvengine for each line", RATIOS),
            *(f"- {line}" for line in report.remarks(document, STATISTIC)),
        ],
        "growth": [line for curve in curves_of(document) for line in (*described(curve, docs), "")],
        "plain": document.get("plain", []),
    }
    return {name: lines for name, lines in found.items() if lines}


def curves_of(document: dict[str, Any]) -> list[Curve]:
    """Return the curves that a document keeps as lists."""
    return [Curve(*fields) for fields in document.get("curves", [])]


def described(curve: Curve, docs: Path) -> list[str]:
    """Return the picture of a curve, its table, and its cliffs, if any."""
    header = [f"{curve.name}, microseconds", *(f"{point:,}" for point in curve.points)]
    body = [
        [name, *(report.number(each) for each in times)] for name, times in curve.series.items()
    ]
    about = f" ({curve.note})" if curve.note else ""
    return [
        f"### Over {curve.name}{about}",
        "",
        *_picture(docs, f"{', '.join(curve.series)} over {curve.name}", _file(curve)),
        *report.markdown_table([header, *body]),
        "",
        *(f"- A cliff: {cliff}." for cliff in cliffs(curve)),
    ]


def _picture(docs: Path, text: str, name: str) -> list[str]:
    """Return the link to a picture, if it was drawn."""
    return [f"![{text}]({PICTURES}/{name})", ""] if (docs / PICTURES / name).exists() else []


def replaced(text: str, name: str, lines: list[str]) -> str:
    """Return the text with what stands between the markers of a name replaced."""
    begin, end = _BLOCK.format(name=name), _END.format(name=name)
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    body = "\n".join(lines).strip("\n")
    new, found = pattern.subn(lambda _: f"{begin}{body}\n{end}", text)
    if found != 1:
        raise ValueError(f"{PAGE} has {found} places for {name!r}, not one")
    return new


def draw(folder: Path, document: dict[str, Any], say: Callable[[str], None]) -> None:
    """Draw the curves and the ratios; say so if there is nothing to draw with."""
    try:
        from benchmarks.full import plots
    except ImportError as error:
        say(f"SKIPPED: plots: {error}")
        return
    for curve in curves_of(document):
        plots.curve(curve, folder / _file(curve))
    plots.ratios(report.collect(document["benchmarks"], STATISTIC), folder / RATIOS)


def _file(curve: Curve) -> str:
    return f"{curve.name.replace(' ', '-')}.png"
