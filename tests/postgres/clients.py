"""The two stores on PostgreSQL, used alike: the one for asyncio has a thread that awaits it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import kvengine
import kvengine.aio
from kvengine.testing import blocking

Connect = Callable[..., AbstractContextManager[Any]]


def connect_awaited(url: str, **options: Any) -> AbstractContextManager[Any]:
    """Connect as `kvengine.connect`, to a store whose verbs are awaited."""
    return blocking(kvengine.aio.connect(url, **options))


CLIENTS: Mapping[str, Connect] = {"threads": kvengine.connect, "asyncio": connect_awaited}
