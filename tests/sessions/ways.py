"""One object's session in every way there is: eager, lazy and partial, of threads and of tasks.

`Way.session` gives the same blocking verbs whatever lies beneath, so that a
test or a program is written once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import kvengine
import kvengine.aio
from kvengine.testing.blocking_store import Blocking

Run = Callable[[Coroutine[Any, Any, Any]], Any]


class Way(NamedTuple):
    """How a session loads, and who runs it.

    ``snapshot``: what is read late comes from a snapshot, as of an object that lies in chunks.
    """

    loading: dict[str, Any]
    asynchronous: bool
    snapshot: bool = False

    @contextmanager
    def session(
        self, db: kvengine.Engine, service: str = "S", key: str = "k", **arguments: Any
    ) -> Iterator[Any]:
        if self.snapshot:
            db._host.hold = None
        if self.asynchronous:
            with asyncio.Runner() as runner:
                with self.awaited(runner.run, db, service, key, **arguments) as session:
                    yield session
            return
        serde = arguments.pop("serde", None)
        handle = db.object(service, key, serde=serde)
        with handle.session(**{**self.loading, **arguments}) as session:
            yield session

    def awaited(
        self, run: Run, db: kvengine.Engine, service: str, key: str, **arguments: Any
    ) -> Blocking:
        """Return the block of a session of a task, each step of which is run by ``run``."""

        def call(verb: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            found = verb(*args, **kwargs)
            return run(found) if asyncio.iscoroutine(found) else found

        serde = arguments.pop("serde", None)
        handle = kvengine.aio.wrap(db).object(service, key, serde=serde)
        return Blocking(call, handle.session(**{**self.loading, **arguments}))


LOADINGS: dict[str, dict[str, Any]] = {
    "eager": {},
    "lazy": {"preload": False},
    "snapshot": {"preload": False},
    "some": {"preload": ["a", "absent", "\u00e9"]},
    "partial": {"preload_limit": 24},
}
WAYS = {
    f"{loading}-{runner}": Way(arguments, runner == "asyncio", loading == "snapshot")
    for loading, arguments in LOADINGS.items()
    for runner in ("threads", "asyncio")
}
