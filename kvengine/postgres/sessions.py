"""What sessions ask of a store that other clients use too: turns, late reads, commits."""

from __future__ import annotations

import time
from collections.abc import Collection
from contextlib import suppress
from functools import partial

from kvengine.errors import KVEngineError
from kvengine.objects.sessions.session import SessionVerbs
from kvengine.postgres.claims import Waiting
from kvengine.postgres.client import Client
from kvengine.postgres.held import Held, Run
from kvengine.storage.batch import Batch
from kvengine.storage.names import Name


class Sessions:
    """The turns of one open store among those of other clients (objects/sessions/host.py)."""

    def __init__(self, client: Client, run: Run) -> None:
        self._client = client
        self._run = run

    def begin(
        self, session: SessionVerbs, always: Collection[str], timeout: float | None
    ) -> Held | None:
        """Wait until this client has the object of a session, and begin it.

        Return whom to ask for what was not loaded. Raise SessionTimeout past ``timeout``.
        """
        if not session._settings.read_only:
            waiting = Waiting(self._client, session._handle._name, timeout)
            while not self._run(waiting.ask):
                time.sleep(waiting.pause())
        held = self._run(partial(self._client.begin, session, always))
        return None if held is None else Held(held, self._run)

    def commit(self, session: SessionVerbs, batch: Batch, leaves: bool) -> int:
        """Commit if the session still has its turn; ``leaves``: and give that back."""
        stamp = self._run(self._client.session_commit(session, batch, leaves))
        if leaves:
            self._client.claims.forget(session._handle._name)
        return stamp

    def leave(self, name: Name) -> None:
        """Give an object back, if it is not given back yet. If that fails, the keeper does it."""
        place = self._client.claims.forget(name)
        if place is not None:
            with suppress(KVEngineError):
                self._run(partial(self._client.claims.leave, name, place))
