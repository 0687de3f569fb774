"""`make bench-full` still runs, at a size that says nothing, and fills its page.

Peers that are not installed are left out, loudly, and so are the plots without matplotlib. What
`make bench` runs needs pytest-benchmark, and is tested where that is installed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import lines, report
from benchmarks.full import growth, pages
from benchmarks.peers import KVENGINE

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
BEYOND_OPERATIONS = [line for line in lines.LINES if line.number > 13]


def run(module: str, *arguments: str, **environment: str) -> str:
    """Run a module of the checkout; return what it printed.

    Where these tests run in several processes, pytest-benchmark would measure nothing.
    """
    inherited = {name: value for name, value in os.environ.items() if "XDIST" not in name}
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env=inherited | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_full_run(tmp_path: Path) -> None:
    """Every line beyond those of `make bench` has a figure, and the page has tables and curves."""
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / pages.PAGE).write_bytes((DOCS / pages.PAGE).read_bytes())
    kept = tmp_path / "kept" / "figures.json"
    parts = "load,opening,expire,tail,ycsb,growth"
    where = ("--docs", str(docs), "--json", str(kept))
    said = run("benchmarks.full", "--size", "tiny", "--only", parts, *where)

    document = json.loads(kept.read_text("utf-8"))
    table = report.collect(document["benchmarks"], pages.STATISTIC)
    assert [line.name for line in BEYOND_OPERATIONS if KVENGINE not in table[line.name]] == []
    assert {curve.name for curve in pages.curves_of(document)} == {
        *("objects", "keys of an object", "bytes of a value", "threads", "open snapshots")
    }
    page = (docs / pages.PAGE).read_text("utf-8")
    for line in BEYOND_OPERATIONS:
        assert line.name in page
        assert line.name in said
    drawn = sorted(path.name for path in (docs / pages.PICTURES).glob("*.png"))
    assert len(drawn) == 6 or "SKIPPED: plots" in said
    assert list(kept.parent.iterdir()) == [kept], "its stores are gone"

    run("benchmarks.full", "--render", *where)
    assert (docs / pages.PAGE).read_text("utf-8") == page, "the same figures make the same page"


@pytest.mark.slow
def test_the_operations() -> None:
    """`make bench` prints its table for kvengine alone."""
    pytest.importorskip("pytest_benchmark")
    only = f"{KVENGINE} and (in_use or small_cache or mapped)"
    said = run("benchmarks", "-k", only, KVENGINE_BENCH_OBJECTS="1000")
    for name in (lines.GET_IN_USE, lines.GET_ZIPF, lines.GET_UNREAD_MAPPED):
        assert name in said


def test_the_page_has_a_place_for_everything() -> None:
    """Each generated part has its markers once."""
    text = (DOCS / pages.PAGE).read_text("utf-8")
    for name in ("machine", "lines", "growth", "plain"):
        assert "no figures" in pages.replaced(text, name, ["no figures"])
    with pytest.raises(ValueError, match="0 places"):
        pages.replaced(text, "nonsense", [])


def test_what_a_cliff_is() -> None:
    """Three times the point before it, or three times what more work lets expect."""
    even = growth.Curve("objects", [10, 100, 1_000], {"get": [1.0, 2.9, 8.0]})
    assert growth.cliffs(even) == []
    steep = even._replace(series={"get": [1.0, 1.0, 3.1]})
    assert growth.cliffs(steep) == [
        "get, from 100 to 1,000 objects: from 1 to 3.1 us, 3.1 times as much"
    ]
    longer = growth.Curve("bytes", [10, 100, 1_000], {"set": [1.0, 9.0, 300.0]}, "", True)
    assert [cliff.partition(":")[0] for cliff in growth.cliffs(longer)] == [
        "set, from 100 to 1,000 bytes"
    ]


def test_what_reaches_a_bar() -> None:
    """The best peer that counts, the peers that a line names, or the engine's own figure."""
    best = {lines.SET: {KVENGINE: 1.0, "LMDB": 2.0, "SQLite": 9.0, "diskcache": 0.1}}
    assert report.reached(best, lines.SET) == "yes"
    assert report.reached({lines.SET: {KVENGINE: 1.0, "LMDB": 1.6}}, lines.SET) == "no"
    assert report.reached({lines.SET: {KVENGINE: 1.0}}, lines.SET) == ""
    named = {lines.OPEN_KILLED: {KVENGINE: 1.0, "LevelDB": 2.0, "LMDB": 0.1}}
    assert report.reached(named, lines.OPEN_KILLED) == "yes"
    assert report.reached({lines.OPEN_CLEAN: {KVENGINE: 51.0}}, lines.OPEN_CLEAN) == "no"
    mapped = {lines.GET_UNIFORM_MAPPED: {KVENGINE: 1.0}, lines.GET_UNIFORM: {"LMDB": 1.3}}
    assert report.least(mapped, lines.GET_UNIFORM_MAPPED) == (1.3, 1.2)
    assert report.reached(mapped, lines.GET_UNIFORM_MAPPED) == "yes"
