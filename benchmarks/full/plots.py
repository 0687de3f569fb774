"""Curves and ratios as PNG: light, small, with units at the axes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

from benchmarks.full.growth import Curve
from benchmarks.lines import LINES
from benchmarks.report import Table, least

mpl.use("Agg")
import matplotlib.pyplot as plt

SIZE = (7.2, 4.2)  # inches
DOTS_PER_INCH = 100
COLOURS = ("#1f6fb4", "#d1690e", "#2f8f46", "#b3312c", "#7a4fa3", "#6b6b6b", "#0f8b8d")
MARKERS = "osD^vPX"
REACHED, MISSED = "#2f8f46", "#d1690e"


def curve(data: Curve, path: Path) -> None:
    """Draw every verb over the axis, both logarithmic."""
    figure, axes = plt.subplots(figsize=SIZE)
    for place, (name, times) in enumerate(data.series.items()):
        points = data.points[: len(times)]
        axes.plot(
            *(points, times),
            label=name,
            color=COLOURS[place % len(COLOURS)],
            marker=MARKERS[place % len(MARKERS)],
            markersize=4,
            linewidth=1.5,
        )
    if data.points[0] == 0:
        axes.set_xscale("symlog", linthresh=1)
    else:
        axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel(data.name)
    axes.set_ylabel("microseconds")
    if data.note:
        axes.set_title(data.note, fontsize=9, color="#444444")
    axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    _save(figure, axes, path)


def ratios(table: Table, path: Path) -> None:
    """Draw the ratio of each line that is held to peers, and its bar."""
    held = [(line, least(table, line.name)) for line in reversed(LINES) if line.name in table]
    shown = [(line, *both) for line, both in held if both is not None]
    if not shown:
        return
    figure, axes = plt.subplots(figsize=(SIZE[0], 1.2 + 0.21 * len(shown)))
    for place, (_line, ratio, wanted) in enumerate(shown):
        colour = REACHED if ratio >= wanted else MISSED
        axes.barh(place, ratio - 1, left=1, height=0.65, color=colour)
        axes.plot([wanted, wanted], [place - 0.42, place + 0.42], color="#222222", linewidth=1.5)
    names = [f"{line.number}  {line.name}" for line, _ratio, _wanted in shown]
    axes.set_yticks(range(len(shown)), names, fontsize=7)
    axes.set_xscale("log")
    axes.axvline(1, color="#888888", linewidth=0.8)
    axes.set_xlabel("best peer / kvengine; black: the bar; green: reached")
    axes.set_ylim(-0.8, len(shown) - 0.2)
    _save(figure, axes, path)


def _save(figure: Any, axes: Any, path: Path) -> None:
    axes.grid(visible=True, which="major", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without the version of matplotlib in it, the same figures make the same file.
    figure.savefig(
        path,
        dpi=DOTS_PER_INCH,
        facecolor="white",
        bbox_inches="tight",
        metadata={"Software": None},
    )
    plt.close(figure)
