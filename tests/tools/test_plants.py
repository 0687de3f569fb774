"""The bugs of tests/planted still have the lines that they change.

A campaign of planted bugs takes minutes and runs last; a line that was rewritten elsewhere is seen
here at once.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.planted import patched

MODULES = sorted(path.stem for path in Path(patched.__file__).parent.glob("test_*.py"))


def changes(value: object) -> Iterator[patched.Change]:
    """The changes in a table of bugs, however deep."""
    if isinstance(value, patched.Change):
        yield value
    elif isinstance(value, dict):
        yield from changes(list(value.values()))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from changes(inner)


@pytest.mark.parametrize("module", MODULES)
def test_each_planted_bug_has_its_line(module: str) -> None:
    tables = vars(importlib.import_module(f"tests.planted.{module}"))
    for change in changes(tables):
        text = (patched.PACKAGE / change.file).read_text()
        assert text.count(change.old) == 1, f"plant it anew: {change}"
