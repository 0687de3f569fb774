"""An owner with live access, and a tool connected to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import kvengine
from kvengine.share.client import LiveStore, connect


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[kvengine.Engine]:
    with kvengine.open(tmp_path / "db", durability="os", background="thread") as db:
        yield db


@pytest.fixture
def tool(owner: kvengine.Engine) -> Iterator[LiveStore]:
    found = connect(owner.path)
    assert found is not None
    with found:
        yield found
