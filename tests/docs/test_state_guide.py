"""What the guide and the README show is so: their examples run, and the table's rows are tests."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import kvengine
from tests.docs.examples import Block, Remarks, programs, sections

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "state.md"
DOCUMENTS = (GUIDE, ROOT / "README.md")

PROGRAMS = {
    f"{path.stem}: {heading or 'beginning'}": (path, blocks)
    for path in DOCUMENTS
    for heading, blocks in programs(path.read_text("utf-8")).items()
}


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module to run a program in, as a typed state needs one."""
    found = ModuleType("example")
    monkeypatch.setitem(sys.modules, found.__name__, found)
    return found


@pytest.fixture
def remarks(
    module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Remarks]:
    """Runs a program in a directory of its own, and closes what it left open."""
    monkeypatch.chdir(tmp_path)
    opened: list[kvengine.Engine] = []
    original = kvengine.open

    def noted(*args: object, **options: object) -> kvengine.Engine:
        opened.append(original(*args, **options))  # type: ignore[arg-type]
        return opened[-1]

    monkeypatch.setattr(kvengine, "open", noted)
    yield Remarks(module)
    for db in opened:
        db.close()


@pytest.mark.parametrize("name", PROGRAMS)
def test_examples(remarks: Remarks, name: str) -> None:
    """Every example runs, gives the values that it shows, and raises what it says it raises."""
    remarks.run(*PROGRAMS[name])


WRONG: dict[str, tuple[str, str]] = {
    "another value": ("1 + 1  # -> 3", "line 1: 2, not 3"),
    "another type": ("1 + 1  # -> 2.0", "line 1: 2, not 2.0"),
    "another order": ("dict(b=1, a=2)  # -> {'a': 2, 'b': 1}", "line 1"),
    "a value inside": ("if True:\n    1 + 1  # -> 3", "line 2: 2, not 3"),
    "no error": ("x = 1  # raises ValueError", "line 1: nothing was raised"),
    "another error": ("int('a')  # raises TypeError", "line 1: ValueError"),
    "a wider error": ("int('a')  # raises Exception", "line 1: ValueError"),
    "no error in a block": ("if True:  # raises OSError\n    x = 1", "line 1: nothing was raised"),
    "never reached": ("def f():\n    1  # -> 1\n", r"lines \[2\].*never reached"),
    "no expression": ("x = 1  # -> 1", r"nothing can check the remarks of lines \[1\]"),
    "no statement": ("# raises OSError\nx = 1", r"nothing can check the remarks of lines \[1\]"),
    "a test": ("def test_one():\n    assert 1 == 2, 'one'", "one"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_example_is_noticed(remarks: Remarks, wrong: str) -> None:
    """An example that does not do as its comment says fails, and so does a comment unchecked."""
    code, message = WRONG[wrong]
    with pytest.raises(AssertionError, match=message):
        remarks.run(GUIDE, [Block(1, code)])


def test_programs_of_a_document() -> None:
    """A program is what stands before the first section, then one section; only its Python."""
    text = "```python\na\n```\n\n## One\n```text\nb\n```\n## Two\n### Part\n```python\n## c\n```\n"
    assert programs(text) == {"": [Block(2, "a\n")], "Two": [Block(2, "a\n"), Block(12, "## c\n")]}
    with pytest.raises(ValueError, match="line 1 has no end"):
        sections("```python\na\n")


TABLE = "tests/sessions/test_semantics_table.py::test_"
CONTRACT = "kvengine/testing/contract/"
ROWS = {
    "`get` after `clear`": TABLE + "get_after_clear_in_the_same_session",
    "`state_keys` after `set`": TABLE + "state_keys_after_pending_sets",
    "`state_keys` after `clear`": TABLE + "state_keys_after_clear_in_the_same_session",
    "`clear_all`, then `set`": TABLE + "clear_all_then_set",
    "`set(name, None)`": TABLE + "set_none",
    '`set(name, b"")` as bytes': TABLE + "empty_bytes",
    "names": TABLE + "names",
    "order of `state_keys`": TABLE + "order_of_state_keys",
    "large values": TABLE + "large_values",
    "limits of size": CONTRACT + "limits.py::test_a_value_past_the_limit_is_refused",
    "commit unit": TABLE + "the_commit_unit_is_the_session",
    "steps": TABLE + "commit_in_the_middle",
    "who runs when": CONTRACT + "sessions.py::test_read_only_sessions_wait_for_nobody",
    "a write where only reads are allowed": TABLE + "a_read_only_session_only_reads",
    "loading": "tests/sessions/test_moment.py::test_eager_is_one_read_then_none",
    "a change from outside": "tests/sessions/test_moment.py::test_a_change_from_outside",
    "version of an object": "tests/sessions/test_moment.py::test_version_and_expiry_of_a_session",
    "cost of `clear_all`": "tests/api/test_writes.py::"
    "test_clear_all_removes_every_entry_by_one_small_write",
    "TTL": "tests/api/test_expiry.py::test_an_entry_is_absent_from_the_instant_its_ttl_ends",
    "end of a workflow": "tests/state/test_workflows.py::test_completion_starts_the_retention",
    "values": "tests/state/test_serdes.py::test_types_of_values",
}
"""The rows of the guide's table of semantics, each with a test that shows our side of it."""


def test_each_row_of_the_table_is_a_test() -> None:
    """Every row of the table beside Restate has all its columns, and a test that is there."""
    part = GUIDE.read_text("utf-8").split("## Beside Restate")[1]
    table = part[part.index("| case |") :].split("\n\n")[0]
    rows = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in table.splitlines()[2:]
    ]
    assert [row[0] for row in rows] == list(ROWS)
    assert {len(row) for row in rows} == {4} and all(all(row) for row in rows)
    for place in ROWS.values():
        path, test = place.split("::")
        tree = ast.parse((ROOT / path).read_text("utf-8"))
        assert test in {one.name for one in ast.walk(tree) if isinstance(one, ast.FunctionDef)}, (
            place
        )


def test_links() -> None:
    """Every link of the guide leads to a section of it, or to a file that is there."""
    text = GUIDE.read_text("utf-8")
    headings = re.findall(r"^##+ (.*)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert links
    for link in links:
        path, _, anchor = link.partition("#")
        assert (GUIDE.parent / path).exists() if path else anchor in anchors, link
