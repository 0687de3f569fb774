"""What a session begins with: its object at one moment, all of it, a part, or nothing yet."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from kvengine.objects.sessions.host import Host, Late
from kvengine.objects.sessions.settings import Settings
from kvengine.objects.sessions.working import Working, begin
from kvengine.storage.clock import SECOND
from kvengine.storage.names import Name


def load(
    host: Host, name: Name, settings: Settings, always: Collection[str]
) -> tuple[Working, Late | None]:
    """The working state, and the moment to ask for what it lacks (None: it lacks nothing).

    ``always``: state keys that are loaded whatever the settings say.

    Eager: one read. Else the moment is held, so that what is read late is of the
    same instant as what was read early: by the store's `Hold`, or a snapshot if
    it has none. What the store has in whole is shared with it, whatever is asked
    for: nothing is fetched or copied, and a `Working` never changes its base while
    that is complete.
    """
    eager = settings.preload is True and settings.preload_limit is None
    entries: Any  # of values alone: a session that is complete adds none of its own
    reader = host.reader
    if reader is not None:
        known = reader._for_session(name, not eager)
        if known is not None:
            at = known.expires_at
            expires_at = None if at is None else at / SECOND
            entries = known.entries
            return begin(known.version, expires_at, entries, True), None
    if eager:
        found = host.store.load(*name)
        if found is None:
            return begin(0, None, {}, True), None
        entries = found.entries
        return begin(found.version, found.expires_at, entries, True), None
    if host.hold is not None:
        held = host.hold(name)
        working = begin(held.version, held.expires_at, {}, not held.version)
        if held.version and settings.preload is not False:
            working = _part(held, name, settings)
        return _with(always, working, held, name)
    moment = host.store.snapshot()
    try:
        return _with(always, _part(moment, name, settings), moment, name)
    except BaseException:
        moment.close()
        raise


def _with(
    always: Collection[str], working: Working, moment: Late, name: Name
) -> tuple[Working, Late | None]:
    """Load the state keys that are loaded always, and keep the moment if anything is missing."""
    missing = [state_key for state_key in always if working.missing(state_key)]
    if missing:
        working.learn(moment.get_many(*name, missing), missing)
    if working.complete:
        moment.close()
        return working, None
    return working, moment


def _part(moment: Late, name: Name, settings: Settings) -> Working:
    """Load what the settings ask for."""
    if settings.preload is True:
        found = moment.load(*name, max_bytes=settings.preload_limit or 0)
        if found is None:
            return begin(0, None, {}, True)
        entries: Any = found.entries
        return begin(found.version, found.expires_at, entries, found.complete)
    found = moment.load(*name, max_bytes=0)
    if found is None:
        return begin(0, None, {}, True)
    working = begin(found.version, found.expires_at, {}, False)
    if settings.preload:
        working.learn(moment.get_many(*name, settings.preload), settings.preload)
    return working
