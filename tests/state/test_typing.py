"""The API of state as type checkers see it: what users write passes, what is wrong does not."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.state import usage_state

ROOT = Path(__file__).resolve().parents[2]

Lines = dict[int, str]
"""What a checker finds wrong: line numbers and messages."""

OF_THREADS = [
    'state.count = "x"',
    "state.tags.append(1)",
    "state.name = None",
    "print(state.cuont)",
    "state.cuont = 1",
    "Greeter(cuont=1)",
    'Greeter(count="x")',
    'Greeter("Ada")',
    "obj.session(shared=True)",
    'state.get("count")',
    "obj.session(int)",
    'obj.session("count")',
    'obj.session(preload="count", read_only="yes")',
    'obj.session(durability="maybe")',
    'count: int = obj.get("n", type=int)',
    'print(obj.get("n", type=int) + 1)',
    "obj.complete()",
    'obj.set("n", 1, ttl="1 day")',
    "obj.set(1, 1)",
    'db.object("S", "k", serde="pickle")',
    'db.object("S", "k", serde=object())',
    'db.workflow("W", "1", retention="1 day")',
    'db.workflow("W", "1").retention = 3',
    "kvengine.session_of(obj)",
]
OF_TASKS = [
    'number: int = obj.get("n", 0, type=int)',
    'count: int = await obj.get("n", type=int)',
    "await obj.complete()",
    "obj.session(int)",
    "with obj.session(): pass",
    'await db.object("S", "k", serde="pickle").get("n")',
]
PREFACE = """\
import kvengine
import kvengine.aio

class Greeter(kvengine.State):
    name: str = "world"
    count: int = 0
    tags: list[str] = []

def threads(db: kvengine.Engine, obj: kvengine.VirtualObject, state: Greeter) -> None:
"""
TASKS = "async def tasks(db: kvengine.aio.Engine, obj: kvengine.aio.VirtualObject) -> None:"
MODULE = [
    *PREFACE.splitlines(),
    *(f"    {use}" for use in OF_THREADS),
    TASKS,
    *(f"    {use}" for use in OF_TASKS),
]
"""The wrong uses, each in a line of its own."""


def mypy(file: Path, cache: Path) -> Lines:
    """What mypy --strict finds."""
    api = pytest.importorskip("mypy.api", reason="the extra `test` brings mypy")
    out, err, _ = api.run(
        [
            "--strict",
            f"--config-file={ROOT / 'pyproject.toml'}",
            f"--cache-dir={cache}",
            "--no-error-summary",
            str(file),
        ]
    )
    assert not err
    found = re.findall(rf"^{re.escape(str(file))}:(\d+): error: (.*)$", out, re.MULTILINE)
    assert found or not out, out
    return {int(line): message for line, message in found}


def pyright(file: Path, scratch: Path) -> Lines:
    """What pyright finds in strict mode."""
    pytest.importorskip("pyright", reason="the extra `test` brings pyright")
    settings = {
        "include": [file.name],
        "extraPaths": [str(ROOT)],
        "pythonVersion": "3.11",
        "typeCheckingMode": "strict",
    }
    scratch.mkdir()
    copy = shutil.copytree if file.is_dir() else shutil.copy
    copy(file, scratch / file.name)
    project = scratch / "pyrightconfig.json"
    project.write_text(json.dumps(settings))
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable]
    try:
        done = subprocess.run(
            [*command, "--outputjson", "--project", str(project)],
            cwd=scratch,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
    except subprocess.TimeoutExpired:
        pytest.skip("PYRIGHT DOES NOT ANSWER HERE: types are unchecked by it")
    if not done.stdout.startswith("{"):
        pytest.skip(f"PYRIGHT DOES NOT RUN HERE: types are unchecked by it: {done.stderr[-200:]}")
    report = json.loads(done.stdout)
    assert report["summary"]["filesAnalyzed"] == len(
        list(file.rglob("*.py")) if file.is_dir() else [1]
    )
    return {
        one["range"]["start"]["line"] + 1: one["message"]
        for one in report["generalDiagnostics"]
        if one["severity"] == "error"
    }


CHECKERS: dict[str, Callable[[Path, Path], Lines]] = {"mypy": mypy, "pyright": pyright}


@pytest.mark.slow
@pytest.mark.parametrize("checker", CHECKERS)
def test_what_users_write_passes(checker: str, tmp_path: Path) -> None:
    """A module that uses the API of state as users do, with every type asserted, has no error."""
    file = ROOT / "tests" / "state" / "usage_state.py"
    assert CHECKERS[checker](file, tmp_path / "cache") == {}


def test_it_does_what_it_says(tmp_path: Path) -> None:
    """The same module runs."""
    assert asyncio.run(usage_state.run(tmp_path / "db")) == (1, "Hello, worldworld", True, 2)


@pytest.fixture(scope="module", params=CHECKERS)
def found_wrong(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Lines:
    """What a checker says of all the wrong uses, by line."""
    scratch = tmp_path_factory.mktemp("wrong")
    file = scratch / "wrong.py"
    file.write_text("\n".join(MODULE))
    return CHECKERS[request.param](file, scratch / "cache")


@pytest.mark.slow
@pytest.mark.parametrize("use", OF_THREADS)
def test_a_wrong_use_does_not_pass(found_wrong: Lines, use: str) -> None:
    """Each of these is an error to the type checker, in its line."""
    assert MODULE.index(f"    {use}") + 1 in found_wrong


@pytest.mark.slow
@pytest.mark.parametrize("use", OF_TASKS)
def test_a_wrong_use_of_a_task_does_not_pass(found_wrong: Lines, use: str) -> None:
    """The same for what is awaited, or should be."""
    assert MODULE.index(f"    {use}", MODULE.index(TASKS)) + 1 in found_wrong


@pytest.mark.slow
def test_only_the_wrong_uses_are_found(found_wrong: Lines) -> None:
    """The module around them is right, so each error is about its line."""
    right = {*range(1, len(PREFACE.splitlines()) + 1), MODULE.index(TASKS) + 1}
    assert not right & found_wrong.keys()


def test_the_examples_are_strict(tmp_path: Path) -> None:
    """Whoever copies from them into a project of strict types copies no fault."""
    assert pyright(ROOT / "examples", tmp_path / "scratch") == {}


def test_every_public_symbol_has_a_type(tmp_path: Path) -> None:
    """`pyright --verifytypes`: 14 of 100 symbols were typed by guessing, and checkers guess apart.

    A copy, since what is checked must be found as an installed package is.
    """
    pytest.importorskip("pyright", reason="the extra `test` brings pyright")
    leave_out = shutil.ignore_patterns("_built", "__pycache__")
    shutil.copytree(ROOT / "kvengine", tmp_path / "site" / "kvengine", ignore=leave_out)
    places = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"
    command = [sys.executable, "-m", "pyright", "--verifytypes", "kvengine", "--ignoreexternal"]
    done = subprocess.run(
        [*command, "--outputjson"],
        env={**os.environ, "PATH": places, "PYTHONPATH": str(tmp_path / "site")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    found = json.loads(done.stdout)["typeCompleteness"]
    untyped = [one["name"] for one in found["symbols"] if not one["isTypeKnown"]]
    guessed = [one["name"] for one in found["symbols"] if one["isTypeAmbiguous"]]
    assert len(found["symbols"]) > 3000 and not (untyped or guessed)
