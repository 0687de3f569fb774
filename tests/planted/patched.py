"""A copy of the package with a planted bug, and a run of tests that must find it."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "kvengine"

ORIGIN = """
import pathlib
import kvengine
assert pathlib.Path(__file__).parent in pathlib.Path(kvengine.__file__).parents, "not the copy"
"""

SETTINGS = """
[pytest]
pythonpath = .
addopts = --import-mode=importlib -p no:cacheprovider -p pytest_timeout
timeout = 120
markers =
    slow: as in the project
    planted: as in the project
    plain: as in the project
"""


class Change(NamedTuple):
    """``old``, which stands exactly once in a file of the package, becomes ``new``."""

    file: str
    old: str
    new: str


class Run(NamedTuple):
    """How a run of tests ended: pytest's exit status, and what it printed."""

    status: int
    output: str


JUDGES = ("model", "crash")
"""The folders of tests that judge a copy, unless a run says otherwise."""


def copy(target: Path, changes: Sequence[Change], judges: Sequence[str] = JUDGES) -> None:
    """The package and the tests that judge it, in ``target``, with the changes made.

    Python takes bytecode for that of a file of the same size and time. It comes along, so that
    only what was changed is compiled.
    """
    ignored = shutil.ignore_patterns("_built")
    shutil.copytree(PACKAGE, target / "kvengine", ignore=ignored)
    for folder in judges:
        shutil.copytree(ROOT / "tests" / folder, target / "tests" / folder, ignore=ignored)
    (target / "conftest.py").write_text(ORIGIN)
    (target / "pytest.ini").write_text(SETTINGS)
    for file, old, new in changes:
        path = target / "kvengine" / file
        text = path.read_text()
        assert text.count(old) == 1, f"{file} has {text.count(old)} times {old!r}: plant it anew"
        changed = text.replace(old, new)
        ast.parse(changed)
        path.write_text(changed)
        for bytecode in path.parent.glob(f"__pycache__/{path.stem}.*"):
            bytecode.unlink()


def run(target: Path, *arguments: str) -> Run:
    """Run tests of a copy, up to the first that fails."""
    environment = {
        **os.environ,
        "KVENGINE_SHRINK_SECONDS": "0",
        # What else is installed as a plugin takes longer to import than most of the tests to fail.
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONPATH": str(target),
    }
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "--tb=short", *arguments],
        cwd=target,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    return Run(done.returncode, done.stdout + done.stderr)


def must_find(
    target: Path,
    changes: Sequence[Change],
    kind: str,
    *arguments: str,
    judges: Sequence[str] = JUDGES,
) -> None:
    """The tests fail on the changed copy, with an error whose line matches ``kind``."""
    copy(target, changes, judges)
    status, output = run(target, *arguments)
    assert status == 1, f"pytest ended with {status}: the planted bug was not found\n{output}"
    assert re.search(rf"^E +.*({kind})", output, re.M), f"it failed in another way:\n{output}"


class Sync(NamedTuple):
    """A statement that makes something durable: where it stands, and the text around it."""

    file: str
    function: str
    statement: str
    start: int
    stop: int

    @property
    def name(self) -> str:
        return f"{self.file} {self.function} {self.statement}"

    def left_out(self) -> Change:
        """The whole file without it."""
        text = (PACKAGE / self.file).read_text()
        return Change(self.file, text, text[: self.start] + "pass" + text[self.stop :])


ELSEWHERE = ("Engine._finish_write", "Committer._show_pending", "Committer.confirm")
"""Syncs of what asyncio began, and of what was sent again: test_sessions.py and test_new_rules.py
leave these out, and have others judge."""


def syncs() -> Iterator[Sync]:
    """Every statement that syncs something, but for the file systems, and the tools.

    tests/inspection has power cuts of its own for backups.
    """
    for path in sorted(PACKAGE.rglob("*.py")):
        file = path.relative_to(PACKAGE).as_posix()
        if not file.startswith(("fs/", "inspection/")):
            text = path.read_text()
            found = _syncs(file, text, ast.parse(text), "")
            yield from (one for one in found if one.function not in ELSEWHERE)


def _syncs(file: str, text: str, node: ast.AST, inside: str) -> Iterator[Sync]:
    for child in ast.iter_child_nodes(node):
        name = inside
        if isinstance(child, ast.FunctionDef | ast.ClassDef):
            name = f"{inside}.{child.name}".removeprefix(".")
        if isinstance(child, ast.Expr) and isinstance(child.value, ast.Call):
            called = child.value.func
            if isinstance(called, ast.Attribute) and called.attr in _NAMES:
                lines = text.splitlines(keepends=True)
                start = sum(map(len, lines[: child.lineno - 1])) + child.col_offset
                statement = ast.unparse(child)
                stop = start + len(ast.get_source_segment(text, child) or "")
                yield Sync(file, name, statement, start, stop)
        yield from _syncs(file, text, child, name)


_NAMES = ("sync", "datasync", "sync_dir")
