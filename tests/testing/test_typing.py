"""`kvengine.testing` as type checkers see it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.state.test_typing import CHECKERS
from tests.testing import usage_testing

FILE = Path(usage_testing.__file__)


@pytest.mark.slow
@pytest.mark.parametrize("checker", CHECKERS)
def test_what_users_write_passes(checker: str, tmp_path: Path) -> None:
    """Pyright refused ``fs=MemoryFileSystem()``: that was no `FileSystem` to it."""
    assert CHECKERS[checker](FILE, tmp_path / "cache") == {}


def test_it_does_what_it_says() -> None:
    """The same module runs."""
    assert usage_testing.run() == (2, b"1", 0.0)
