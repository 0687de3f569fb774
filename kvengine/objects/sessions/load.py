"""What a session begins with: its object at one moment, all of it, a part, or nothing yet."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from kvengine.objects.sessions.host import Late
from kvengine.objects.sessions.session import SessionVerbs
from kvengine.storage.clock import SECOND
from kvengine.store import StoredObject


def load(session: SessionVerbs, always: Collection[str]) -> None:
    """Fill in the working state, and the moment to ask for what that lacks, if anything.

    ``always``: state keys that are loaded whatever the settings say.

    Eager: one read. Else the moment is held, so that what is read late is of the
    same instant as what was read early: by the store's `Hold`, or a snapshot if
    it has none. What the store has in whole is shared with it, whatever is asked
    for: nothing is fetched or copied, and a session never changes its base while
    that is complete.
    """
    host, name, settings = session._handle._host, session._handle._name, session._settings
    eager = settings.preload is True and settings.preload_limit is None
    reader = host.reader
    if reader is not None:
        known = reader._for_session(name, not eager)
        if known is not None:
            at = known.expires_at
            expires_at = None if at is None else at / SECOND
            entries: Any = known.entries  # of values alone: nothing is added while it is complete
            ends: Any = None
            if known.ttls is not None:
                ends = {state_key: end / SECOND for state_key, end in known.ttls.items()}
            completed = known.completed_at is not None
            session._begin(known.version, expires_at, entries, True, ends, completed)
            return
    if eager:
        begin_with(session, host.store.load(*name), True)
        return
    moment: Any
    if host.hold is not None:
        session._moment = moment = host.hold(name)
        whole = not moment.version
        session._begin(moment.version, moment.ends_at, {}, whole, None, moment.completed)
        if moment.version and settings.preload is not False:
            _load_part(session, moment)
    else:
        moment = host.store.snapshot()
        session._moment = moment
        _load_part(session, moment)
    missing = [state_key for state_key in always if session._missing(state_key)]
    if missing:
        session._learn(moment.get_many(*name, missing), missing)
    if session._complete:
        moment.close()
        session._moment = None


def _load_part(session: SessionVerbs, moment: Late) -> None:
    """Load what the settings ask for."""
    name, settings = session._handle._name, session._settings
    preload = settings.preload
    if preload is True:
        found = moment.load(*name, max_bytes=settings.preload_limit or 0)
        begin_with(session, found, found is None or not found.partial)
        return
    found = moment.load(*name, max_bytes=0)
    begin_with(session, found, found is None)
    if found is not None and preload:
        session._learn(moment.get_many(*name, preload), preload)


def begin_with(session: SessionVerbs, found: StoredObject | None, complete: bool) -> None:
    """Begin with an object as the store gave it, None if it is absent."""
    if found is None:
        session._begin(0, None, {}, True)
    else:
        entries: Any = found.entries
        ends: Any = found.expiries
        completed = found.completed_at is not None
        session._begin(found.version, found.expires_at, entries, complete, ends, completed)
