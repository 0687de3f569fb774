"""Errors that were raised where they should be, and said something else than what was wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import kvengine


@pytest.mark.parametrize("key", [True, None, (1, 2)])
def test_a_key_that_json_does_not_know(tmp_path: Path, key: Any) -> None:
    """TinyDB (issue 290) and SqliteDict (73) turned keys into text. Here some are refused.

    "Values of type bool cannot be stored", it said. They can: it is the key that cannot.
    """
    with kvengine.open(tmp_path / "db") as db:
        with pytest.raises(kvengine.SerdeError, match=r"with the key .* let its keys be str"):
            db.object("S", "k").set("n", {"found": [{key: 1}]})
        assert db.object("S", "k").get("n") is None
