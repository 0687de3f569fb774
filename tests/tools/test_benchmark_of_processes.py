"""`make bench-processes` still runs, at a size that says nothing, and says what it lacks."""

from __future__ import annotations

import shutil

import pytest

from benchmarks import processes
from tests.tools.test_benchmarks import run


@pytest.mark.slow
def test_each_line_has_its_figures() -> None:
    """Each line of both tables is printed, with the versions and settings of both sides."""
    pytest.importorskip("redis")
    pytest.importorskip("hiredis")
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    said = run("benchmarks.processes", "--calls", "3", "--rounds", "1", "--seconds", "0.1")
    for name, _, _ in processes.LINES:
        assert f"| {name} |" in said
    crowds = ("get, 8 processes at once", "commit of 3, 8 processes at once")
    tasks = (
        f"{verb}, asyncio, {many}" for verb in ("get", "set") for many in ("1 task", "100 tasks")
    )
    for name in (*tasks, *crowds, *processes.OWNERS):
        assert f"| {name} |" in said
    assert "--appendonly no" in said and "durability os" in said


def test_it_says_what_is_not_installed() -> None:
    """Without redis-server nothing is measured, and that is no error."""
    assert run("benchmarks.processes", PATH="") == (
        "SKIPPED: redis-server is not installed: apt-get install redis-server\n"
    )
