"""An owner whom others may ask, and a tool connected to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import kvengine
from kvengine.share.store import SharedStore
from tests.share.raw import reached


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[kvengine.Engine]:
    with kvengine.open(tmp_path / "db", durability="os", background="thread") as db:
        yield db


@pytest.fixture
def tool(owner: kvengine.Engine) -> Iterator[SharedStore]:
    with reached(owner.path) as found:
        yield found
