"""The read verbs: of what is published now, or of one open moment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NoReturn

from kvengine.arguments import check_completed, check_limit
from kvengine.errors import DatabaseClosed, KVEngineError
from kvengine.storage import read, walk
from kvengine.storage.clock import SECOND
from kvengine.storage.database import Database
from kvengine.storage.machine import Lock
from kvengine.storage.memo import ENTRY, MOST_ENTRIES, WHOLE
from kvengine.storage.memtable import TOMBSTONES
from kvengine.storage.moment import Moment, open_moment
from kvengine.storage.names import (
    Name,
    Range,
    after,
    are_ascii_names,
    check_name,
    key_range,
    prefix_range,
    service_range,
)
from kvengine.storage.read import Summary
from kvengine.storage.resolved import Resolved
from kvengine.storage.row import completed_at_of, expires_at_of, version_of
from kvengine.storage.version import View
from kvengine.storage.walk import stored
from kvengine.store import StoredObject, StoredWorkflow

_KEYS = 16
"""Keys that a listing fetches at a time, at most."""

_NOTHING: Any = object()


class Reader:
    """The read verbs of `Store` and `Snapshot`, over what a subclass chooses to read.

    Every verb raises TypeError for names that are not ``str``, ValueError for names without UTF-8,
    DatabaseClosed after close, CorruptionError if the bytes needed are damaged.
    """

    def __init__(
        self,
        db: Database,
        now: Callable[[], int],
        known: dict[Name, Resolved],
        moment: Moment | None = None,
    ) -> None:
        """``now``: the time to apply. It must be called after the view was taken.

        ``known``: objects that are known in whole, to be read before any layer. Time is not applied
        to them. ``moment``: what is read, None for reads of now. It may be closed during a read,
        and from then on commits unlink what the read is about to find: so it is checked again after
        each read.
        """
        self._db = db
        self._now = now
        self._known = known
        self._fixed_moment = moment
        self._stamp = None if moment is None else moment.stamp
        """The stamp at which the view is read, None for all that is published."""

    def _view(self) -> View:
        """Return the view to read. Raise DatabaseClosed if there is none any more."""
        raise NotImplementedError

    def _moment_to_walk(self) -> tuple[Moment, bool]:
        """Return a moment to walk, and whether it must be closed after the walk."""
        raise NotImplementedError

    def _remember(self, name: Name, points: int) -> Resolved | None:  # noqa: ARG002
        """Count a read of an object that the memo does not have, by `ENTRY` or `WHOLE` points.

        Return the object if it was resolved for this, else None: then read as usual.
        """
        return None

    # --- one object

    def _in_use(self, name: Name) -> Resolved | None:
        """Return an object as of now if it is known in whole without reading a layer, else None."""
        try:
            found = self._known.get(name)
        except TypeError:  # unhashable: the checks of the caller say which name is no str
            return None
        if found is not None and found.soonest is not None:
            return found.at(self._now())
        return found

    def _for_session(self, name: Name, count: bool) -> Resolved | None:
        """Return an object as `_in_use` does.

        ``count``: count this as a read, so that an object of which parts are asked for again and
        again becomes known in whole.
        """
        found = self._known.get(name)
        if found is None and count:
            found = self._remember(name, WHOLE)
        if found is None or found.soonest is None:
            return found
        return found.at(self._now())

    def get(self, service: str, key: str, state_key: str) -> bytes | None:
        """Return the value of an entry, None if there is none. ``b""`` is a value."""
        name = (service, key)
        found = None
        try:
            found = self._known.get(name)
            if found is not None and found.soonest is None:
                value = found.entries.get(state_key)
                if value is not None:
                    return value
        except TypeError:  # unhashable: the checks below say which name is no str
            pass
        if not are_ascii_names(service, key, state_key):
            name = _checked(service, key)
            state_key = check_name("state_key", state_key)
            found = self._known.get(name)
        if found is None:
            found = self._remember(name, ENTRY)
        if found is not None:
            live = found.at(self._now())
            return live.entries.get(state_key) if live is not None else None
        view = self._view()
        value = read.get(view, name, state_key, self._stamp, self._now)
        if self._fixed_moment is not None:
            self._fixed_moment.check_open()
        return value

    def get_many(self, service: str, key: str, state_keys: Iterable[str]) -> dict[str, bytes]:
        """Return the entries that exist among those asked for, in the order of ``state_keys``."""
        if isinstance(state_keys, str):
            raise TypeError("state_keys must be an iterable of str, not one str")
        wanted = [check_name("state_key", name) for name in state_keys]
        name = _checked(service, key)
        found, pieces = self._look(name)
        if not pieces:
            entries = found.entries if found is not None else {}
            return {state_key: entries[state_key] for state_key in wanted if state_key in entries}
        out: dict[str, bytes] = {}
        now = self._now()
        for state_key in wanted:
            value = read.entry_of(pieces, state_key, now)
            if value is not None:
                out[state_key] = value
        return out

    def get_all(self, service: str, key: str) -> dict[str, bytes]:
        """Return all entries of an object in key order, an empty dict if it is absent."""
        found = self._live(service, key)
        if found is None:
            return {}
        return found.entries.copy() if found.size else found.entries  # which nobody else has then

    def exists(self, service: str, key: str) -> bool:
        """Return whether an object exists: whether it has at least one live entry."""
        return self._summary(_checked(service, key)) is not None

    def load(self, service: str, key: str, *, max_bytes: int | None = None) -> StoredObject | None:
        """Return a consistent copy of an object, None if it is absent.

        ``max_bytes``: of names and values. If given, only the first entries in key order that fit
        are returned.
        """
        check_limit(max_bytes, "max_bytes")
        if max_bytes is None:
            found = self._live(service, key)
            return None if found is None else stored(service, key, found)
        name = _checked(service, key)
        view = self._view()
        pieces = read.collect(view, name, self._stamp)
        if self._fixed_moment is not None:
            self._fixed_moment.check_open()
        return load_part(name, pieces, max_bytes, self._now())

    def load_many(self, service: str, keys: Iterable[str]) -> dict[str, StoredObject]:
        """Return those of the objects that exist, by key, all as of one moment.

        They come in the order of ``keys``.
        """
        check_name("service", service)
        if isinstance(keys, str):
            raise TypeError("keys must be an iterable of str, not one str")
        wanted = [check_name("key", key) for key in keys]
        out: dict[str, StoredObject] = {}
        moment, ours = self._moment_to_walk()
        try:
            for key in wanted:
                found = read.whole(moment.view, (service, key), moment.stamp)
                moment.check_open()
                live = found.at(moment.now) if found is not None else None
                if live is not None:
                    out[key] = stored(service, key, live)
        finally:
            if ours:
                moment.close()
        return out

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
        """Return state keys of an object in byte order, or in reverse.

        ``start`` is the first to return, in the direction of the walk.
        """
        if prefix == "" and start == "" and limit is None:  # None or 0 must not count as ""
            known = self._in_use((service, key))
            if known is not None:
                return list(reversed(known.entries)) if reverse else list(known.entries)
        check_name("prefix", prefix)
        check_name("start", start)
        check_limit(limit)
        name = _checked(service, key)
        found, pieces = self._look(name)
        if pieces:
            return keys_of(pieces, prefix, start, reverse, limit, self._now())
        if found is None:
            return []
        return names_among(found.entries, prefix, start, reverse, limit)

    def expires_at(self, service: str, key: str, state_key: str | None = None) -> float | None:
        """Return when an object expires, in seconds since the epoch; None if never or absent.

        With a ``state_key``: when that entry expires by a ttl of its own. It goes with its object
        too, if that expires before.
        """
        name = _checked(service, key)
        if state_key is None:
            found = self._summary(name)
            at = found.expires_at if found is not None else None
        else:
            check_name("state_key", state_key)
            whole, pieces = self._look(name)
            if pieces:
                at = read.expiry_of(pieces, state_key, self._now())
            else:
                at = (whole.ttls or {}).get(state_key) if whole is not None else None
        return None if at is None else at / SECOND

    def version(self, service: str, key: str) -> int:
        """Return the stamp of the last commit that touched an object, 0 if it is absent."""
        found = self._summary(_checked(service, key))
        return found.version if found is not None else 0

    def _in_memory(self, service: str, key: str) -> bool:
        """Return whether the verbs on this object would answer without touching a file."""
        name = _checked(service, key)
        if name in self._known:
            return True
        view = self._view()
        return read.in_memory(view, name, self._stamp)

    def _live(self, service: str, key: str) -> Resolved | None:
        """Return the whole object as of now, None if it is absent."""
        name = (service, key)
        try:
            found = self._known.get(name)
        except TypeError:  # unhashable: the checks below say which name is no str
            found = None
        if found is None:
            if not are_ascii_names(service, key):
                name = _checked(service, key)
            found = self._remember(name, WHOLE)
        if found is None:
            view = self._view()
            found = read.whole(view, name, self._stamp)
            if self._fixed_moment is not None:
                self._fixed_moment.check_open()
        if found is None or found.soonest is None:
            return found
        return found.at(self._now())

    def _look(self, name: Name) -> tuple[Resolved | None, list[read.Piece]]:
        """Return the object as of now, or its pieces if it is too large to decode for a part."""
        found = self._known.get(name) or self._remember(name, WHOLE)
        if found is None:
            view = self._view()
            pieces = read.collect(view, name, self._stamp)
            if self._fixed_moment is not None:
                self._fixed_moment.check_open()
            if read.is_heavy(pieces):
                return None, pieces
            found = read.resolved(pieces)
        return (found.at(self._now()) if found is not None else None), []

    def _summary(self, name: Name) -> Summary | Resolved | None:
        known = self._known.get(name)
        if known is not None:
            return known.at(self._now())
        view = self._view()
        pieces = read.collect(view, name, self._stamp)
        if self._fixed_moment is not None:
            self._fixed_moment.check_open()
        return read.summary(pieces, self._now())

    # --- many objects

    def services(self, start: str = "", limit: int | None = None) -> list[str]:
        """Return the services that have an object, in order, from ``start`` on."""
        low = service_range(check_name("start", start))[0]
        check_limit(limit)
        moment, ours = self._moment_to_walk()
        try:
            return list(islice(walk.services(moment, low), limit))
        finally:
            if ours:
                moment.close()

    def object_keys(
        self,
        service: str,
        *,
        prefix: str = "",
        start: str | None = None,
        stop: str | None = None,
        reverse: bool = False,
        limit: int | None = None,
    ) -> Iterator[str]:
        """Yield keys of the objects of a service in order, or in reverse, as of one moment.

        In the direction of the walk, ``start`` is the first key to return, and ``stop`` the first
        one not to: in reverse, ``start`` is above ``stop``. So the newest ten of a prefix, where
        keys end with a time, are ``object_keys(service, prefix=..., reverse=True, limit=10)``.
        """
        within = _bounds(service, prefix, start, stop, reverse)
        check_limit(limit)
        moment, ours = self._moment_to_walk()
        names = walk.live_names(moment, within, reverse=reverse, expected=limit)
        return Walk(moment, ours, _keys(islice(names, limit), len(service_range(service)[0])))

    def scan(
        self,
        service: str | None = None,
        *,
        prefix: str = "",
        start: str | None = None,
        stop: str | None = None,
        reverse: bool = False,
        limit: int | None = None,
    ) -> Iterator[StoredObject]:
        """Yield the objects of a service, or of all, with their entries, as of one moment.

        ``prefix``, ``start`` and ``stop`` are as in `object_keys` and need a service.
        """
        check_limit(limit)
        if service is not None:
            within = _bounds(service, prefix, start, stop, reverse)
        elif check_name("prefix", prefix) or start is not None or stop is not None:
            raise ValueError("prefix, start and stop are for object keys: name a service too")
        else:
            within = walk.EVERYTHING
        moment, ours = self._moment_to_walk()
        return Walk(moment, ours, walk.scan(moment, within, reverse=reverse, expected=limit))

    def workflows(self, service: str, completed: bool | None = None) -> Iterator[StoredWorkflow]:
        """Yield the workflows of a service in order of their keys, as of one moment.

        ``completed``: True for those that are completed and not over yet, with state or without;
        False for those that are not; None, the default, for both. Costs a walk over the service.
        Each object of the service is taken to be a workflow.
        """
        within = service_range(check_name("service", service))
        check_completed(completed)
        moment, ours = self._moment_to_walk()
        return Walk(moment, ours, walk.workflows(moment, within, completed))

    def count(self, service: str, *, prefix: str = "") -> int:
        """Return how many objects a service has, exactly. Costs a walk over them."""
        return sum(1 for _ in self.object_keys(service, prefix=prefix))


class LiveReader(Reader):
    """Reads what is published now. The memo answers for objects in use."""

    def __init__(self, db: Database) -> None:
        super().__init__(db, db.clock.now, db.memo.known)

    def _view(self) -> View:
        view = self._db.view
        if type(view) is not View:  # the database may no longer be used
            view.check_open()
        return view

    def _moment_to_walk(self) -> tuple[Moment, bool]:
        return open_moment(self._db), True

    def _remember(self, name: Name, points: int) -> Resolved | None:
        db = self._db
        if not db.memo.wants(name, points):
            return None
        view, era = db.view, db.memo.era
        states = view.active.states
        marks, state = states.get(TOMBSTONES), states.get(name)
        pieces = read.collect(view, name)
        is_heavy = read.is_heavy(pieces)
        found = None if is_heavy else read.resolved(pieces)
        if is_heavy or (found is not None and len(found.entries) > MOST_ENTRIES):
            db.memo.refuse(name)
        elif found is None:
            db.memo.count_anew(name)
        # `locked` is asked first: a lock taken by `acquire(blocking=False)` would stay taken if an
        # interrupt came right after it.
        elif not db.commit_lock.locked():
            with db.commit_lock:
                # What was found is not kept if a commit, a rotation or a flush came meanwhile.
                if (
                    db.view is view
                    and db.memo.era == era
                    and states.get(name) is state
                    and states.get(TOMBSTONES) is marks
                ):
                    db.memo.put(name, found)
        return found


class MomentReader(Reader):
    """Reads one open moment."""

    _fixed_moment: Moment

    def __init__(self, moment: Moment) -> None:
        super().__init__(moment.db, lambda: moment.now, {}, moment)

    def _view(self) -> View:
        moment = self._fixed_moment
        view = moment.view  # read first: if the moment is closed right now, the check shows it
        moment.check_open()
        return view

    def _moment_to_walk(self) -> tuple[Moment, bool]:
        moment = self._fixed_moment
        moment.check_open()
        return moment, False


def keys_of(
    pieces: list[read.Piece], prefix: str, start: str, reverse: bool, limit: int | None, now: int
) -> list[str]:
    """Return state keys of an object that was collected, as `Reader.state_keys` does."""
    live = read.live_entries(pieces, prefix if reverse else max(prefix, start), now)
    keys = (state_key for state_key, _, _ in live)
    if not reverse:
        return list(islice(_with_prefix(keys, prefix), limit))
    return names_among(_with_prefix(keys, prefix), "", start, True, limit)


def names_among(
    ordered: Iterable[str], prefix: str, start: str, reverse: bool, limit: int | None
) -> list[str]:
    """Return those of ordered names that `Reader.state_keys` asks for, in its order."""
    found = list(ordered)
    if prefix:
        found = [name for name in found if name.startswith(prefix)]
    if start:
        found = [name for name in found if (name <= start if reverse else name >= start)]
    return (found[::-1] if reverse else found)[:limit]


def load_part(
    name: Name, pieces: list[read.Piece], max_bytes: int, now: int
) -> StoredObject | None:
    """Return an object with as many first entries as fit into ``max_bytes``; None if absent."""
    if max_bytes == 0 and read.entry_of(pieces, "", now) != b"":  # nothing fits
        found = read.summary(pieces, now)
        if found is None:
            return None
        nothing = Resolved(found.version, found.expires_at, {}, None, None, found.completed_at)
        # Only a completed workflow may have no entry that was left out.
        partial = found.completed_at is None or any(read.live_entries(pieces, "", now))
        return stored(*name, nothing, partial)
    entries: dict[str, bytes] = {}
    ttls: dict[str, int] = {}
    size, partial, lives = 0, False, False
    for state_key, value, at in read.live_entries(pieces, "", now):
        lives = True
        size += len(state_key.encode()) + len(value)
        if size > max_bytes:
            partial = True
            break
        entries[state_key] = value
        if at is not None:
            ttls[state_key] = at
    if not lives and read.summary(pieces, now) is None:
        return None
    newest = pieces[0].row
    version, expires_at = version_of(newest), expires_at_of(newest)
    completed_at = completed_at_of(newest)
    whole = Resolved(version, expires_at, entries, ttls, None, completed_at)
    return stored(*name, whole, partial)


def _checked(service: str, key: str) -> Name:
    if are_ascii_names(service, key):
        return service, key
    return check_name("service", service), check_name("key", key)


def _bounds(service: str, prefix: str, start: str | None, stop: str | None, reverse: bool) -> Range:
    """Return the range of encoded objects that a walk over a service covers."""
    check_name("service", service)
    low, high = prefix_range(service, check_name("prefix", prefix))
    if start is not None:
        edge = key_range(service, check_name("start", start), None)[0]
        low, high = (low, min(high, after(edge))) if reverse else (max(low, edge), high)
    if stop is not None:
        edge = key_range(service, check_name("stop", stop), None)[0]
        low, high = (max(low, after(edge)), high) if reverse else (low, min(high, edge))
    return low, max(low, high)


def _with_prefix(names: Iterable[str], prefix: str) -> Iterator[str]:
    """Yield ordered names, which begin at the prefix, as long as they start with it."""
    for name in names:
        if not name.startswith(prefix):
            return
        yield name


def _keys(names: Iterator[bytes], cut: int) -> Iterator[Sequence[str]]:
    """Yield the keys of encoded objects, some at a time. ``cut``: where a key begins."""
    most = 1  # who takes a few pays for a few
    while keys := [name[cut:].decode() for name in islice(names, most)]:
        yield keys
        most = min(2 * most, _KEYS)


class Walk:
    """What a walk finds, one by one. It closes its moment after it if that is ``ours``.

    Threads may share one: each item goes to one of them. A thread that reaches the end of a window
    waits for the thread that fetches the next one. If a fetch fails, or is interrupted, the walk is
    over for all of them, and those who ask for more are told why: none takes it for the end.

    No iterator of itertools stands around the generator that fetches: one that is told "already
    executing" lets go of it, and that frees it under the other thread.
    """

    __slots__ = ("_broken", "_db", "_items", "_lock", "_moment", "_ours", "_windows")

    def __init__(self, moment: Moment, ours: bool, windows: Iterator[Sequence[Any]]) -> None:
        self._db = moment.db
        self._moment = moment
        self._ours = ours
        self._windows: Iterator[Sequence[Any]] | None = windows
        self._items: Iterator[Any] = iter(())
        self._lock = Lock()
        self._broken = ""

    def __iter__(self) -> Walk:
        return self

    def __next__(self) -> Any:
        item = next(self._items, _NOTHING)
        if item is _NOTHING:
            item = self._fetch()
        if self._db.gone or not self._moment.token:
            self._check_open()
        return item

    def _check_open(self) -> None:
        # A walk that is over has closed its moment itself: what it gave before is good.
        if self._windows is not None:
            self._moment.check_open()

    def _end(self) -> NoReturn:
        if self._broken:
            raise KVEngineError(self._broken)
        raise StopIteration

    def _fetch(self) -> Any:
        """Return the first item of the next window."""
        if self._lock.mine():
            raise KVEngineError(
                "a signal handler or finalizer called next() on a walk that is fetching"
            )
        # Before the lock is asked for: in a forked child it may be taken for ever.
        if self._windows is None:
            self._end()
        if self._db.gone or not self._moment.token:
            self._check_open()
        with self._lock:
            while (item := next(self._items, _NOTHING)) is _NOTHING:
                if self._windows is None:
                    self._end()
                try:
                    window = next(self._windows)
                    if self._windows is None:  # of a moment that commits spare no longer
                        raise DatabaseClosed("this walk was closed while it fetched")
                    self._items = iter(window)
                except BaseException as error:
                    if not isinstance(error, StopIteration):
                        # Not the error itself: it refers to this frame, and this to the walk.
                        self._broken = f"this walk ended early: {type(error).__name__}: {error}"
                    self.close()
                    raise
        return item

    def close(self) -> None:
        """End the walk."""
        self._windows = None
        self._items = iter(())
        if self._ours:
            self._moment.close()
