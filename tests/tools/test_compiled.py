"""Which form of the hot modules runs, and what says so when it is not the one that was wanted."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kvengine import compiled

PACKAGE = Path(compiled.__file__).parent
BUILT = PACKAGE / "_built"

pytestmark = pytest.mark.skipif(
    not (BUILT / compiled.RECORD).exists(), reason="nothing is compiled here: make build"
)

ASK = """
import kvengine, sys
from kvengine.storage import clock
with kvengine.open(sys.argv[1]) as db:
    stats = db.stats()
assert stats.compiled == (kvengine.compiled.form == "compiled")
assert stats.compiled == (not clock.__file__.endswith(".py"))
print(kvengine.compiled.form)
"""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A copy of the installed package, which a test may damage."""
    shutil.copytree(
        PACKAGE, tmp_path / "site" / "kvengine", ignore=lambda _, names: {"__pycache__"} & {*names}
    )
    return tmp_path / "site" / "kvengine"


def run(installed: Path, wanted: str | None) -> subprocess.CompletedProcess[str]:
    """Import the copy and open a database, with KVENGINE_COMPILED as ``wanted``."""
    environment = {k: v for k, v in os.environ.items() if k != "KVENGINE_COMPILED"}
    environment["PYTHONPATH"] = str(installed.parent)
    if wanted is not None:
        environment["KVENGINE_COMPILED"] = wanted
    return subprocess.run(
        [sys.executable, "-W", "always", "-c", ASK, str(installed.parent / "state")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        cwd=installed.parent,
    )


@pytest.mark.parametrize(
    ("wanted", "form"),
    [(None, "compiled"), ("auto", "compiled"), ("require", "compiled"), ("off", "plain Python")],
)
def test_what_is_asked_for_runs(installed: Path, wanted: str | None, form: str) -> None:
    ended = run(installed, wanted)
    assert (ended.stdout, ended.stderr) == (f"{form}\n", "")


def cut_record(package: Path) -> None:
    path = package / "_built" / compiled.RECORD
    path.write_bytes(path.read_bytes()[:40])


def other_record(package: Path) -> None:
    (package / "_built" / compiled.RECORD).write_text("[]")


def stale(package: Path) -> None:
    with (package / "storage" / "clock.py").open("a") as file:
        file.write("# changed\n")


def no_extension(package: Path) -> None:
    next((package / "_built").glob("*.clock.*.so")).unlink()


def cut_extension(package: Path) -> None:
    path = next((package / "_built").glob("*.clock.*.so"))
    path.write_bytes(path.read_bytes()[:1000])


BROKEN = [cut_record, other_record, stale, no_extension, cut_extension]


@pytest.mark.parametrize("break_it", BROKEN, ids=lambda each: each.__name__)
def test_what_cannot_be_used_is_reported(installed: Path, break_it: object) -> None:
    """Nothing compiled runs beside anything plain; the warning and the error say what to do."""
    assert callable(break_it)
    break_it(installed)
    ended = run(installed, "auto")
    assert ended.stdout == "plain Python\n"
    assert "RuntimeWarning: kvengine runs uncompiled" in ended.stderr
    assert "make build" in ended.stderr
    ended = run(installed, "require")
    assert ended.returncode == 1
    assert "ImportError: KVENGINE_COMPILED=require, but" in ended.stderr
    ended = run(installed, "off")
    assert (ended.stdout, ended.stderr) == ("plain Python\n", "")


def test_an_installation_without_a_build_is_no_defect(installed: Path) -> None:
    """There was no compiler, or another Python compiled it: plain, and no word unless required."""
    (installed / "_built" / compiled.RECORD).unlink()
    ended = run(installed, "auto")
    assert (ended.stdout, ended.stderr) == ("plain Python\n", "")
    ended = run(installed, "require")
    assert "nothing was compiled for this Python" in ended.stderr


def test_a_wrong_choice_is_refused(installed: Path) -> None:
    ended = run(installed, "yes")
    assert "KVENGINE_COMPILED must be require, auto or off, not 'yes'" in ended.stderr


def test_out_of_a_zip(installed: Path, tmp_path: Path) -> None:
    """A zipapp holds no compiled modules, and none can be loaded from it: it runs plain.

    It warned that its record could not be read, and advised to reinstall.
    """
    packed = shutil.make_archive(str(tmp_path / "packed"), "zip", installed.parent)
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", ASK, str(tmp_path / "state")],
        env={**os.environ, "PYTHONPATH": packed, "KVENGINE_COMPILED": "auto"},
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert (ended.stdout, ended.stderr) == ("plain Python\n", "")


IN_A_SUB_INTERPRETER = """
import kvengine
interpreters = __import__("_xxsubinterpreters")
interpreters.run_string(interpreters.create(), "import kvengine")
"""


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="asked by another name there")
@pytest.mark.parametrize("wanted", ["require", "auto"])
def test_in_a_sub_interpreter(tmp_path: Path, wanted: str) -> None:
    """Compiled modules load in one interpreter of a process: elsewhere they were called damaged."""
    ended = subprocess.run(
        [sys.executable, "-c", IN_A_SUB_INTERPRETER],
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent), "KVENGINE_COMPILED": wanted},
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert "use kvengine in the main interpreter" in ended.stderr
    assert (ended.returncode != 0) == (wanted == "require")
