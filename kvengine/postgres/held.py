"""Lazy sessions: what an object held when its session began, asked for later.

What fits into `FIRST_BYTES` is loaded as the session begins, since that costs no further round
trip, so most objects are known in whole then. No transaction is kept open for the rest. A late read
carries the time at which the session began, and must find the version that the object had then:
after a change from outside the commit would fail anyway, so the read says so first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Protocol, TypeVar

from kvengine.errors import VersionConflict
from kvengine.options import KIB
from kvengine.postgres.clock import Moment
from kvengine.postgres.reads import Reads, object_rows, stored
from kvengine.postgres.scripts import Rows, Script, Time
from kvengine.storage.names import Name
from kvengine.store import StoredObject

T = TypeVar("T")

FIRST_BYTES = 16 * KIB
"""Bytes of names and values that a lazy session loads as it begins."""


class Run(Protocol):
    """Runs a script, and waits for its answer."""

    def __call__(self, work: Callable[[], Script[T]], /) -> T: ...


class HeldReads(Reads):
    """The reads of one object at one version, as scripts."""

    def __init__(self, schema: str, name: Name) -> None:
        super().__init__(schema, Moment(0))
        self.at_version: int | None = None
        """The version that every read must find; None until the first one."""
        self._name = name

    def begin(self, time: Time, max_bytes: int) -> Script[StoredObject | None]:
        """Load the first entries of the object, and take its version and the time as the moment."""
        self._time, self.at_version = time, None
        rows = yield from self.first_entries(*self._name, max_bytes)
        found = stored(*self._name, object_rows(rows))
        self.at_version = rows[0][1] or 0
        self._time = Moment(rows[0][0])
        return found

    def _ask(self, template: str, *values: Any, direction: str = "") -> Script[Rows]:
        rows = yield from super()._ask(template, *values, direction=direction)
        found = rows[0][1] or 0
        if self.at_version is not None and found != self.at_version:
            raise VersionConflict(*self._name, self.at_version, found)
        return rows


class Held:
    """One object as its session began, for the session (objects/sessions/host.py)."""

    def __init__(self, reads: HeldReads, run: Run) -> None:
        self._reads = reads
        self._run = run

    @property
    def version(self) -> int:
        """Return the version that late reads must find: after a commit of the session, that one."""
        return self._reads.at_version or 0

    @version.setter
    def version(self, version: int) -> None:
        self._reads.at_version = version

    def close(self) -> None:
        """Nothing is held."""

    def _in_memory(self, service: str, key: str) -> bool:  # noqa: ARG002
        return False

    def get(self, service: str, key: str, state_key: str) -> bytes | None:
        return self._run(partial(self._reads.get, service, key, state_key))

    def get_many(self, service: str, key: str, state_keys: Iterable[str]) -> dict[str, bytes]:
        return self._run(partial(self._reads.get_many, service, key, list(state_keys)))

    def get_all(self, service: str, key: str) -> dict[str, bytes]:
        return self._run(partial(self._reads.get_all, service, key))

    def load(self, service: str, key: str, *, max_bytes: int) -> StoredObject | None:
        return self._run(partial(self._reads.load, service, key, max_bytes=max_bytes))

    def state_keys(
        self,
        service: str,
        key: str,
        *,
        prefix: str = "",
        start: str = "",
        reverse: bool = False,
        limit: int | None = None,
    ) -> list[str]:
        keys = partial(self._reads.state_keys, service, key, prefix=prefix, start=start)
        return self._run(partial(keys, reverse=reverse, limit=limit))

    def expires_at(self, service: str, key: str, state_key: str) -> float | None:
        return self._run(partial(self._reads.expires_at, service, key, state_key))
