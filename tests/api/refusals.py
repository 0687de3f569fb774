"""Helpers for the tests of bad input."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import kvengine


def open_disk(path: Path, **options: object) -> kvengine.Engine:
    return kvengine.open(path, background="none", **options)


@contextmanager
def refuses(kind: type[BaseException], message: str) -> Iterator[None]:
    """The error, and that it is one sentence on one line."""
    with pytest.raises(kind, match=message) as raised:
        yield
    assert "\n" not in str(raised.value)
