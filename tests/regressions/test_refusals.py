"""Wrong arguments that were refused or not depending on what was in memory."""

from __future__ import annotations

from typing import Any

import pytest

import kvengine
from kvengine.fs.memory import MemoryFileSystem


@pytest.mark.parametrize(
    "wrong", [{"start": None}, {"prefix": None}, {"start": 0}, {"prefix": b""}]
)
@pytest.mark.parametrize("memory", ["written", "read often", "flushed", "reopened"])
def test_state_keys_refuses_what_is_no_str_wherever_the_object_is(
    wrong: dict[str, Any], memory: str
) -> None:
    """`state_keys` raises TypeError for a start or a prefix that is no str, in memory or on disk.

    An object known in whole was listed before the arguments were checked, if they
    were false in a condition: `start=None` passed for "" there, and was a TypeError
    for every other object. The comparison with release 0.1.0 found it, which had
    the same bug under other circumstances.
    """
    fs = MemoryFileSystem()
    db = kvengine.open("/db", fs=fs, background="none", durability="os")
    db.set("a", "a", "n", b"1")
    if memory == "flushed":
        db.flush()
    if memory == "reopened":
        db.close()
        db = kvengine.open("/db", fs=fs, background="none")
    if memory == "read often":
        for _ in range(9):
            db.get_all("a", "a")
    name = next(iter(wrong))
    with db, db.snapshot() as snapshot:
        for reader in (db, snapshot):
            with pytest.raises(TypeError, match=f"{name} must be str"):
                reader.state_keys("a", "a", **wrong)
            assert reader.state_keys("a", "a") == ["n"]
