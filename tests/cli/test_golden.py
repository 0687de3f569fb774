"""docs/cli.md shows what the commands print: each of its examples is run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kvengine.cli.app import COMMANDS, KV
from tests.cli import golden

TEXT = golden.DOCUMENT.read_text("utf-8")

_MAY_BE_LONG = ("{", "kvengine:", "what was there", "damage", "    http", "lost:", "note:")
"""JSON, sentences, and paths."""


@pytest.mark.slow
def test_the_document_shows_what_is_printed(tmp_path: Path) -> None:
    """The whole session of the document, through the real console script."""
    place, home = tmp_path / "work", tmp_path / "home"
    place.mkdir()
    golden.prepare(place, home)
    wrong = []
    for step in golden.steps(TEXT):
        printed = golden.run(step.command, place, home)
        if golden.steady(printed) != golden.steady(step.printed):
            wrong.append(f"$ {step.command}\n--- documented\n{step.printed}--- printed\n{printed}")
    assert not wrong, "\n".join(wrong)


def test_every_command_has_an_example() -> None:
    """No command without a documented output."""
    shown = "\n".join(step.command for step in golden.steps(TEXT))
    missing = [
        name
        for name in [*COMMANDS, *(f"kv {one}" for one in KV)]
        if not re.search(rf"kvengine (?:\S+ )*?{name}\b", shown)
    ]
    assert missing == []


def test_no_line_is_wider_than_a_terminal() -> None:
    """80 columns are enough, but for JSON, which is for programs."""
    wide = [
        line
        for step in golden.steps(TEXT)
        for line in step.printed.splitlines()
        if len(line) > 80 and not line.startswith(_MAY_BE_LONG) and "--json" not in step.command
    ]
    assert wide == []


def test_every_exit_code_is_documented() -> None:
    from kvengine.cli import exits

    codes = [value for value in vars(exits).values() if isinstance(value, int)]
    assert [code for code in codes if f"| {code} |" not in TEXT] == []
