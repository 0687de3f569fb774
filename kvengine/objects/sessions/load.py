"""What a session begins with: its object at one moment, all of it, a part, or nothing yet."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from kvengine.objects.sessions.host import Host
from kvengine.objects.sessions.settings import Settings
from kvengine.objects.sessions.working import Working
from kvengine.storage.clock import SECOND
from kvengine.storage.names import Name
from kvengine.store import Snapshot


def load(
    host: Host, name: Name, settings: Settings, always: Collection[str] = ()
) -> tuple[Working, Snapshot | None]:
    """The working state, and the moment to ask for what it lacks (None: it lacks nothing).

    ``always``: state keys that are loaded whatever the settings say.

    Eager: one read. Else a snapshot fixes the moment, so that what is read late
    is of the same instant as what was read early. What the store has in whole is
    shared with it, whatever is asked for: nothing is fetched or copied, and a
    `Working` never changes its base while that is complete.
    """
    eager = settings.preload is True and settings.preload_limit is None
    entries: Any  # of values alone: a session that is complete adds none of its own
    known = host.known(name, not eager) if host.known is not None else None
    if known is not None:
        at = known.expires_at
        entries = known.entries
        return Working(known.version, None if at is None else at / SECOND, entries, True), None
    store = host.store
    if eager:
        found = store.load(*name)
        if found is None:
            return Working(0, None, {}, True), None
        entries = found.entries
        return Working(found.version, found.expires_at, entries, True), None
    moment = store.snapshot()
    try:
        working = _part(moment, name, settings)
        missing = [state_key for state_key in always if working.missing(state_key)]
        if missing:
            working.learn(moment.get_many(*name, missing), missing)
    except BaseException:
        moment.close()
        raise
    if working.complete:
        moment.close()
        return working, None
    return working, moment


def _part(moment: Snapshot, name: Name, settings: Settings) -> Working:
    if settings.preload is True:
        found = moment.load(*name, max_bytes=settings.preload_limit)
        if found is None:
            return Working(0, None, {}, True)
        entries: Any = found.entries
        return Working(found.version, found.expires_at, entries, found.complete)
    found = moment.load(*name, max_bytes=0)
    if found is None:
        return Working(0, None, {}, True)
    working = Working(found.version, found.expires_at, {}, False)
    if settings.preload:
        working.learn(moment.get_many(*name, settings.preload), settings.preload)
    return working
