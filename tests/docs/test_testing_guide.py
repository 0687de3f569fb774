"""docs/testing.md is files of tests and their conftest.py: pytest runs them as a user would."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.examples import sections

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "testing.md"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the files of the guide. A block that begins with a name begins a file."""
    file = tmp_path
    for blocks in sections(GUIDE.read_text("utf-8")).values():
        for block in blocks:
            named = re.match(r"# (\w+\.py)\n", block.code)
            file = tmp_path / named[1] if named else file
            before = file.read_text() + "\n\n" if file.exists() and not named else ""
            file.write_text(before + block.code)
    return tmp_path


def run(folder: Path, *arguments: str) -> str:
    """Run tests of the guide, which pass with warnings as errors; return what pytest printed."""
    options = ["-q", "-W", "error", "-p", "no:cacheprovider", "--rootdir", str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_guide_runs(folder: Path) -> None:
    """Every test of handlers passes, in a folder of its own."""
    count = (folder / "test_handlers.py").read_text().count("def test_")
    assert f"{count + 1} passed" in run(folder, "test_handlers.py"), "one of them runs twice"


def test_the_back_end_of_the_guide_is_held_to_the_contract(folder: Path) -> None:
    """Both classes have the tests of the contract; those of batches pass."""
    passed = run(folder, "test_store.py", "-k", "a_batch", "-rp")
    for name in ("TestThreads", "TestTasks"):
        assert f"PASSED test_store.py::{name}::test_a_batch_commits_when_its_block_ends" in passed
