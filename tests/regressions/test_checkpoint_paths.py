"""Where a checkpoint goes: paths that are not text, and links that somebody planted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import kvengine
from tests.share.raw import reached


@pytest.mark.parametrize("through", ["engine", "owner"])
def test_a_path_that_is_not_utf_8(tmp_path: Path, through: str) -> None:
    """A tool asks the owner by MessagePack, whose text is UTF-8: the path failed to encode."""
    target = os.path.join(os.fsencode(tmp_path), b"caf\xe9")
    with kvengine.open(tmp_path / "db", background="thread", live_access=True) as db:
        db.set("S", "k", "n", b"1")
        with reached(db.path) as tool:
            (db if through == "engine" else tool).checkpoint(os.fsdecode(target))
    with kvengine.open(os.fsdecode(target)) as copy:
        assert copy.get("S", "k", "n") == b"1"


def test_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    """The name of the directory that a checkpoint is made in could be told from the pid.

    A link of that name led to files of somebody else, which were removed as what an earlier
    checkpoint had left behind.
    """
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("kept")
    (tmp_path / f"copy.tmp-{os.getpid()}").symlink_to(precious)
    with kvengine.open(tmp_path / "db") as db:
        db.set("S", "k", "n", b"1")
        db.checkpoint(tmp_path / "copy")
    assert [path.name for path in precious.iterdir()] == ["file"]
    with kvengine.open(tmp_path / "copy") as copy:
        assert copy.get("S", "k", "n") == b"1"


def test_a_link_at_the_place_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "copy").symlink_to(tmp_path / "elsewhere")
    with kvengine.open(tmp_path / "db") as db:
        db.set("S", "k", "n", b"1")
        with pytest.raises((OSError, kvengine.KVEngineError)):
            db.checkpoint(tmp_path / "copy")
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "db", "elsewhere"]
