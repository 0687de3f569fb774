"""The pytest fixture `kv`: a database in memory with a clock that tests move.

Ask for it in the root conftest of your tests; nothing of it is there unless you do:

    pytest_plugins = ["kvengine.testing.fixtures"]
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kvengine.testing.memory_database import MemoryDatabase


@pytest.fixture
def kv() -> Iterator[MemoryDatabase]:
    """Give an empty database in memory, and close it after the test: `kv.db`, `kv.clock`."""
    with MemoryDatabase() as found:
        yield found
