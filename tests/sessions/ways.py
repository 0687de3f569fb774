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

Run = Callable[[Coroutine[Any, Any, Any]], Any]


class Awaited:
    """A session of a task with the verbs of a thread's."""

    def __init__(self, session: kvengine.aio.Session, run: Run) -> None:
        self._session = session
        self._run = run

    def get(self, *args: Any, **kwargs: Any) -> Any:
        return self._run(self._session.get(*args, **kwargs))

    def get_all(self, **kwargs: Any) -> dict[str, Any]:
        found: dict[str, Any] = self._run(self._session.get_all(**kwargs))
        return found

    def state_keys(self, **kwargs: Any) -> list[str]:
        found: list[str] = self._run(self._session.state_keys(**kwargs))
        return found

    def commit(self) -> int | None:
        stamp: int | None = self._run(self._session.commit())
        return stamp

    def expires_at(self, name: str | None = None) -> float | None:
        found: float | None = self._run(self._session.expires_at(name))
        return found

    def update(self, *args: Any, **kwargs: Any) -> Any:
        return self._run(self._session.update(*args, **kwargs))

    def increment(self, *args: Any) -> Any:
        return self._run(self._session.increment(*args))

    def pop(self, *args: Any, **kwargs: Any) -> Any:
        return self._run(self._session.pop(*args, **kwargs))

    def __contains__(self, name: str) -> bool:
        found: bool = self._run(self._session.contains(name))
        return found

    def __getattr__(self, name: str) -> Any:
        """Writes are not awaited."""
        return getattr(self._session, name)


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

    @contextmanager
    def awaited(
        self, run: Run, db: kvengine.Engine, service: str, key: str, **arguments: Any
    ) -> Iterator[Any]:
        """The session of a task, each step of which is run by ``run``."""
        serde = arguments.pop("serde", None)
        handle = kvengine.aio.wrap(db).object(service, key, serde=serde)
        block = handle.session(**{**self.loading, **arguments})
        session = run(block.__aenter__())
        try:
            yield Awaited(session, run)
        except BaseException as error:
            run(block.__aexit__(type(error), error, error.__traceback__))
            raise
        run(block.__aexit__(None, None, None))


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
