"""docs/testing.md is one file of tests and its conftest.py: pytest runs them as a user would."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.docs.examples import sections

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "testing.md"


def test_the_guide_runs(tmp_path: Path) -> None:
    """Every test of the guide passes, with warnings as errors, in a folder of its own."""
    found = sections(GUIDE.read_text("utf-8"))
    conftest, *tests = [block.code for blocks in found.values() for block in blocks]
    assert conftest.startswith("# conftest.py") and tests[0].startswith("# test_handlers.py")
    (tmp_path / "conftest.py").write_text(conftest)
    (tmp_path / "test_handlers.py").write_text("\n\n".join(tests))
    options = ["-q", "-W", "error", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "test_handlers.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    count = sum(code.count("def test_") for code in tests)
    assert f"{count + 1} passed" in run.stdout, "one of them runs twice"
