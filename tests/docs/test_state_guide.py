"""The examples of docs/state.md do what they say."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "state.md"

GIVES = re.compile(r"# -> (.*)$")
RAISES = re.compile(r"# raises ([\w.]+)$")


def blocks(text: str) -> Iterator[tuple[int, str]]:
    """Each example with the line of the guide that it begins on."""
    for found in re.finditer(r"^```python\n(.*?)^```$", text, re.M | re.S):
        yield text[: found.start(1)].count("\n") + 1, found.group(1)


def run(block: str, names: dict[str, Any], where: str) -> int:
    """Run an example statement by statement; how many of them said what comes of them.

    ``# -> value``: the repr of the expression; ``# raises Error``: what the statement raises.
    """
    said = 0
    for statement in ast.parse(block).body:
        source = ast.get_source_segment(block, statement) or ""
        lines = block.splitlines()[statement.lineno - 1 : statement.end_lineno]
        gives, raises = GIVES.search(lines[-1]), _raises("\n".join(lines))
        line = f"{where}, line {statement.lineno}"
        if gives and isinstance(statement, ast.Expr):
            assert repr(eval(source, names)) == gives.group(1), line  # noqa: S307
            said += 1
        elif raises:
            with pytest.raises(eval(raises, names)):  # noqa: S307
                exec(compile(source, line, "exec", dont_inherit=True), names)  # noqa: S102
            said += 1
        else:
            exec(compile(source, line, "exec", dont_inherit=True), names)  # noqa: S102
    return said


def _raises(source: str) -> str | None:
    found = [match.group(1) for one in source.splitlines() if (match := RAISES.search(one))]
    return found[0] if found else None


def test_the_guide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every block runs, in order, and what a comment says of a line is so."""
    monkeypatch.chdir(tmp_path)
    text = GUIDE.read_text("utf-8")
    names: dict[str, Any] = {"__name__": "guide"}
    found = list(blocks(text))
    try:
        said = sum(run(block, names, f"state.md:{line}") for line, block in found)
    finally:
        if "db" in names:
            names["db"].close()
    assert len(found) >= 20 and said >= 30


def test_every_row_of_the_table_is_a_test() -> None:
    """The table of the guide names the file that holds a test for each row."""
    from tests.sessions import test_semantics_table as table

    rows = [name for name in vars(table) if name.startswith("test_")]
    assert "tests/sessions/test_semantics_table.py" in GUIDE.read_text("utf-8")
    assert len(rows) >= 11


@pytest.mark.parametrize(
    "wrong", ["1 + 1  # -> 3\n", "1  # raises ValueError\n", "1 / 0  # raises ValueError\n"]
)
def test_a_wrong_example_is_found(wrong: str) -> None:
    """The check itself, checked."""
    with pytest.raises((AssertionError, ZeroDivisionError, pytest.fail.Exception)):
        run(wrong, {}, "here")
