"""The first ten minutes: README.md from top to bottom, with a wheel just built.

A user pasted its two examples one after the other. The first ran; the second said "which
database?", and with one named it showed other figures than README did.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.cli.golden import ROOT
from tests.docs import readme

TEXT = readme.README.read_text("utf-8")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of this checkout, uncompiled: built in a second."""
    place = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(place)],
        cwd=ROOT,
        env=os.environ | {"KVENGINE_COMPILED": "off"},
        check=True,
        capture_output=True,
    )
    (made,) = place.glob("*.whl")
    return made


@pytest.mark.slow
def test_every_block_runs_in_order_in_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    """What README shows is what a newcomer sees; nothing is fetched, as all of it is there."""
    place, home, installed = (tmp_path / name for name in ("empty", "home", "installed"))
    place.mkdir()
    home.mkdir()
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps"]
    subprocess.run([*pip, "--target", str(installed), str(wheel)], check=True)
    wrong = readme.follow(
        TEXT,
        place,
        home,
        PATH=f"{installed / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        PYTHONPATH=str(installed),
        PIP_NO_INDEX="1",
        PIP_DISABLE_PIP_VERSION_CHECK="1",
        PIP_ROOT_USER_ACTION="ignore",
        KVENGINE_COMPILED="auto",
    )
    assert not wrong, "\n".join(wrong)


def test_every_block_is_of_a_kind_that_runs() -> None:
    """A block of another kind would be shown and never tried."""
    kinds = [kind for kind, _, _ in readme.blocks(TEXT)]
    assert set(kinds) == set(readme.KINDS)
    shown = "".join(code for kind, code, _ in readme.blocks(TEXT) if kind == "console")
    for kind, _, file in readme.blocks(TEXT):
        assert kind != "python" or f"$ python {file}\n" in shown


def test_costs_and_limits_stand_before_the_promises() -> None:
    """Who reads from the top learns how to install, what it costs, and whether it fits."""
    headings = [line[3:] for line in TEXT.splitlines() if line.startswith("## ")]
    first = ["Install", "What you get", "What it costs", "When to choose something else"]
    assert headings[: len(first) + 1] == [*first, "Promises"]


def test_a_wheel_holds_the_package_alone(wheel: Path) -> None:
    """No demo, no data, no tests: what is installed is kvengine alone."""
    names = zipfile.ZipFile(wheel).namelist()
    others = [n for n in names if not n.startswith("kvengine/") and ".dist-info/" not in n]
    assert others == []
    kinds = {Path(name).suffix for name in names if ".dist-info/" not in name}
    assert kinds <= {".py", ".pyi", ".pyx", ".pxd", ".h", ".md", ".typed", ".html", ".css", ".js",
                     ".svg", ".sql"}  # fmt: skip
    assert [n for n in names if "demo" in n or "flights" in n or "_built" in n] == []
    assert "kvengine/py.typed" in names
