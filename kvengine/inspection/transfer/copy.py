"""Copy: the objects of one database become those of another, in any pair of homes.

The source is read as of one moment, in the order of the names, three times:

1. *Check.* Names and values are held against the limits of the target, and the names that the
   target has against those of the source. What does not fit, or does not belong there, stops the
   copy before anything is written.
2. *Move.* The objects that the target has under the names of a batch are read, and those that are
   not equal are written, in one commit. So a copy that was killed is run again, and leaves alone
   what has arrived. The state of a copy is the data itself: notes beside it could be lost, or be
   those of another source. If the source has changed meanwhile, the second run moves the changes.
3. *Compare.* Both sides are read anew, counted and summed.

At last the versions of the source are read again, to tell whether it has changed meanwhile.

Entries, expiries, completed workflows and the retentions of services are carried over. Versions are
not: they are the stamps of a database's own commits, and order these.

Clocks of homes differ, and time goes on between two reads. So what expires within `_HORIZON` counts
on neither side when they are compared.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from datetime import timedelta
from itertools import groupby, islice
from operator import itemgetter
from typing import Any, Literal, NamedTuple, Protocol, TypeVar, get_args

import msgspec
import xxhash

from kvengine.errors import KVEngineError
from kvengine.inspection import escape
from kvengine.inspection.transfer.walk import Counts, microseconds, services, walk
from kvengine.inspection.transfer.writer import (
    BATCH_BYTES,
    BATCH_OBJECTS,
    Writer,
    Written,
    incoming,
)
from kvengine.options import Durability
from kvengine.real_time import wall
from kvengine.storage.batch import Batch
from kvengine.storage.clock import SECOND
from kvengine.storage.names import Name
from kvengine.store import Limits, Reads, Snapshot, StoredObject

T = TypeVar("T")
U = TypeVar("U")

Others = Literal["refuse", "keep", "clear"]
"""What to do with objects of the target that the source does not have."""

_HORIZON = 60 * SECOND
"""Microseconds: more than clocks of homes are apart (postgres/clock.py refuses more)."""

_NAMED = 5
"""Objects that an error names; of the rest it says how many they are."""

_LONGEST = 60
"""Characters of a name in an error."""

_PACE = 1000

Named = Generator[tuple[Name, T], None, None]
"""Names in order, each with what it names."""

_encode = msgspec.msgpack.Encoder().encode


class Home(Reads, Protocol):
    """What a copy reads from and writes to: an `Engine`, its owner's socket, a server."""

    @property
    def limits(self) -> Limits: ...

    def snapshot(self) -> Snapshot: ...

    def write(
        self,
        batch: Batch,
        *,
        expect: Mapping[Name, int] | None = None,
        durability: Durability | None = None,
    ) -> int: ...

    def retentions(self) -> dict[str, timedelta]: ...

    def set_retention(self, service: str, retention: float | timedelta) -> None: ...


class Progress(Protocol):
    """Told now and then: how many objects are done, of how many (0: not known), and of what."""

    def __call__(self, done: int, total: int, what: str, /) -> object: ...


class Copied(NamedTuple):
    """What a copy came to.

    ``objects``, ``entries``, ``bytes`` (of values): all that the source has. ``written``: objects
    that were not there, or were not equal; ``expired``: those that expired before they were
    written. ``others``: objects that only the target had. ``checksum``: of names, values and times
    of both sides, in hexadecimal; "" after a dry run.
    """

    objects: int
    entries: int
    bytes: int
    written: int
    expired: int
    others: int
    checksum: str = ""


class CopyError(KVEngineError):
    """A copy that is refused, or did not come out equal. ``names``: of the first objects."""

    def __init__(self, told: str, names: Iterable[Name] = ()) -> None:
        super().__init__(told)
        self.names: list[Name] = list(names)


class DoesNotFit(CopyError):
    """Names or values are too large for the target. Nothing was written."""


class HoldsOthers(CopyError):
    """The target holds objects that the source does not have. Nothing was written."""


class NotEqual(CopyError):
    """After the copy the target is not equal: somebody else writes to it, or bytes are lost."""


class SourceChanged(CopyError):
    """The copy is whole, but the source has changed since it began. ``copied``: what there is."""

    def __init__(self, told: str, names: Iterable[Name], copied: Copied) -> None:
        super().__init__(told, names)
        self.copied = copied


def copy(
    source: Home,
    target: Home,
    *,
    service: str | None = None,
    prefix: str = "",
    others: Others = "refuse",
    dry_run: bool = False,
    batch_objects: int = BATCH_OBJECTS,
    batch_bytes: int = BATCH_BYTES,
    durability: Durability | None = None,
    now: Callable[[], float] = wall,
    progress: Progress | None = None,
) -> Copied:
    """Make the objects of ``target`` those of ``source``, and return what that came to.

    ``service``, ``prefix`` of the key: only these objects, on both sides. ``others``: what to do
    with objects there that the source does not have. ``dry_run``: check and count, write nothing.

    Raise DoesNotFit or HoldsOthers before anything is written; NotEqual or SourceChanged
    afterwards; KVEngineError if both are one directory, and what a read or a write raises.
    """
    if others not in get_args(Others):
        raise ValueError(f"others must be one of {', '.join(get_args(Others))}, not {others!r}")
    _check_apart(source, target)
    scope = _Scope(service, prefix)
    with source.snapshot() as held:
        job = _Job(held, target, scope, now, progress or _nowhere)
        counts, foreign = job.check(others)
        if not dry_run:
            _carry_retentions(source, target, scope)
            if others == "clear" and foreign:
                job.clear_others(durability)
        writer = Writer(
            target,
            "replace",
            now=now,
            durability=durability,
            batch_objects=batch_objects,
            batch_bytes=batch_bytes,
            dry_run=dry_run,
            compares=True,
            progress=job.moved,
        )
        written = job.move(writer)
        copied = Copied(*counts, written.objects, written.expired_objects, foreign)
        if dry_run:
            return copied
        copied = copied._replace(checksum=job.compare(keeps=others == "keep"))
        refresh = getattr(source, "refresh", None)  # of files that are read beside their owner
        if refresh is not None:
            refresh()
        with source.snapshot() as later:
            changed = job.changed_since(later)
    if changed.count:
        raise SourceChanged(
            f"the source has changed since the copy began, {changed}; copy again, and what has"
            " changed is moved",
            changed.names,
            copied,
        )
    return copied


class _Scope(NamedTuple):
    """What is copied: all, a service, or the keys of one that begin alike."""

    service: str | None
    prefix: str

    def objects(self, reads: Reads) -> Named[StoredObject]:
        for one in walk(reads, service=self.service, prefix=self.prefix):
            yield (one.service, one.key), one

    def names(self, reads: Reads) -> Named[Name]:
        for service in services(reads) if self.service is None else [self.service]:
            for key in reads.object_keys(service, prefix=self.prefix):
                yield (service, key), (service, key)

    def versions(self, reads: Reads) -> Named[int]:
        """The versions of objects: `workflows` tells them without reading entries."""
        for service in services(reads) if self.service is None else [self.service]:
            for one in reads.workflows(service):
                if one.key.startswith(self.prefix):
                    yield (service, one.key), one.version


class _Listed:
    """Objects that an error is about: how many they are, and the first names."""

    def __init__(self) -> None:
        self.count = 0
        self.names: list[Name] = []
        self._why: list[str] = []

    def add(self, name: Name, why: str = "") -> None:
        self.count += 1
        if len(self.names) < _NAMED:
            self.names.append(name)
            self._why.append(why)

    def __str__(self) -> str:
        many = "1 object" if self.count == 1 else f"{self.count:,} objects"
        named = ", ".join(
            f"{_shown(*name)}{why and f' ({why})'}"
            for name, why in zip(self.names, self._why, strict=True)
        )
        return f"{many}: {named}{', ...' if self.count > len(self.names) else ''}"


class _Job:
    """One copy from a snapshot: its passes."""

    def __init__(
        self,
        held: Reads,
        target: Home,
        scope: _Scope,
        now: Callable[[], float],
        progress: Progress,
    ) -> None:
        self._held, self._target, self._scope = held, target, scope
        self._now = now
        self._progress = progress
        self._total = 0

    def check(self, others: Others) -> tuple[Counts, int]:
        """Return what the source holds, and how many others are in the target.

        Raise DoesNotFit or HoldsOthers.
        """
        limits, until = self._target.limits, self._until()
        counts, misfits, foreign = Counts(), _Listed(), _Listed()
        with (
            self._target.snapshot() as there,
            closing(self._scope.objects(self._held)) as objects,
            closing(self._scope.names(there)) as names,
        ):
            for name, one, other in _pairs(objects, names):
                if one is not None:
                    counts = counts.plus(one.entries)
                    why = _misfit(one, limits)
                    if why:
                        misfits.add(name, why)
                    if counts.objects % _PACE == 0:
                        self._progress(counts.objects, 0, "checking")
                elif other is not None and (
                    others != "refuse"
                    or foreign.count >= _NAMED  # there is enough to refuse it for
                    or _lives(there.load(*name), until)
                ):
                    foreign.add(name)
        self._total = counts.objects
        if misfits.count:
            raise DoesNotFit(
                f"the target does not take {misfits}; nothing was written", misfits.names
            )
        if foreign.count and others == "refuse":
            raise HoldsOthers(
                f"the target holds what the source does not, {foreign}; nothing was written: choose"
                " others='keep' or others='clear'",
                foreign.names,
            )
        return counts, foreign.count

    def clear_others(self, durability: Durability | None) -> None:
        """Clear what only the target has."""
        with (
            self._target.snapshot() as there,
            closing(self._scope.names(self._held)) as ours,
            closing(self._scope.names(there)) as theirs,
        ):
            foreign = (name for name, one, _ in _pairs(ours, theirs) if one is None)
            while some := list(islice(foreign, BATCH_OBJECTS)):
                batch = Batch()
                for name in some:
                    batch.clear_all(*name)
                self._target.write(batch, durability=durability)

    def move(self, writer: Writer) -> Written:
        """Write what is not there yet; return what became of it."""
        with closing(self._scope.objects(self._held)) as objects:
            for _, one in objects:
                writer.add(incoming(one))
        writer.flush()
        return writer.written

    def moved(self, written: Written) -> None:
        """Tell how far the move is."""
        done = written.objects + written.skipped + written.expired_objects
        self._progress(done, self._total, "copying")

    def compare(self, *, keeps: bool) -> str:
        """Return the checksum of both sides; raise NotEqual. ``keeps``: others may be there."""
        until = self._until()
        different = _Listed()
        ours, theirs = _Sum(), _Sum()
        with (
            self._target.snapshot() as there,
            closing(self._scope.objects(self._held)) as here,
            closing(self._scope.objects(there)) as found,
        ):
            for number, (name, one, other) in enumerate(_pairs(here, found)):
                if one is None and keeps:
                    continue
                left, right = ours.add(one, until), theirs.add(other, until)
                if left != right:
                    different.add(name, _difference(left, right))
                if number % _PACE == 0:
                    self._progress(number, self._total, "comparing")
        if different.count or ours.checksum != theirs.checksum:
            raise NotEqual(
                f"the target is not equal to the source in {different}; {ours} here, {theirs}"
                " there: does somebody else write to it? copy again",
                different.names,
            )
        return ours.checksum

    def changed_since(self, later: Reads) -> _Listed:
        """Return the objects that are not as they were when the copy began, but for what expired.

        ``later``: the source at a later moment.
        """
        until = self._until()
        changed = _Listed()
        before, after = self._scope.versions(self._held), self._scope.versions(later)
        with closing(before), closing(after):
            for name, was, version in _pairs(before, after):
                if was == version or (
                    version is None and not _lives(self._held.load(*name), until)
                ):
                    continue
                changed.add(name)
        return changed

    def _until(self) -> int:
        return microseconds(self._now()) + _HORIZON


class _Sum:
    """Count and checksum of objects in order."""

    def __init__(self) -> None:
        self.count = 0
        self._hash = xxhash.xxh3_128()

    @property
    def checksum(self) -> str:
        return self._hash.hexdigest()

    def add(self, one: StoredObject | None, until: int) -> bytes | None:
        """Add what lives beyond a time, if anything does; return the sum of the object alone."""
        live = _living(one, until)
        if live is None:
            return None
        digest = xxhash.xxh3_128_digest(_encode(live))
        self.count += 1
        self._hash.update(digest)
        return digest

    def __str__(self) -> str:
        return f"{self.count:,} with checksum {self.checksum}"


def _living(one: StoredObject | None, until: int) -> tuple[Any, ...] | None:
    """Return all of an object that lives beyond a time, but its version; None if nothing does."""
    if one is None:
        return None
    _, expires_at, entries, expiries, _, completed_at = incoming(one)
    if expires_at is not None and expires_at <= until:
        return None
    if expiries:
        over = {name for name, end in expiries.items() if end <= until}
        entries = {name: value for name, value in entries.items() if name not in over}
        expiries = {name: expiries[name] for name in entries if name in expiries}
    if not entries and completed_at is None:
        return None
    return one.service, one.key, expires_at, completed_at, entries, expiries


def _difference(left: bytes | None, right: bytes | None) -> str:
    if right is None:
        return "missing there"
    return "missing here" if left is None else "not equal"


def _lives(one: StoredObject | None, until: int) -> bool:
    return _living(one, until) is not None


def _misfit(one: StoredObject, limits: Limits) -> str:
    """Return what of an object is too large, or ""."""
    service, key = len(one.service.encode()), len(one.key.encode())
    for state_key, value in one.entries.items():
        size = len(state_key.encode())
        if max(service, key, size) > limits.name or service + key + size > limits.names:
            total = service + key + size
            return f"names of {total:,} bytes, at most {limits.names:,} go together"
        if len(value) > limits.value:
            return f"a value of {len(value):,} bytes, at most {limits.value:,} go"
    if max(service, key) > limits.name or service + key > limits.names:
        return f"names of {service + key:,} bytes, at most {limits.names:,} go together"
    return ""


def _carry_retentions(source: Home, target: Home, scope: _Scope) -> None:
    """Store the retentions of the services that are copied in whole."""
    if scope.prefix:
        return
    there = target.retentions()
    for service, kept in source.retentions().items():
        if scope.service in (None, service) and there.get(service) != kept:
            target.set_retention(service, kept)


def _pairs(
    left: Iterable[tuple[Name, T]], right: Iterable[tuple[Name, U]]
) -> Iterator[tuple[Name, T | None, U | None]]:
    """Names of both sides in order, each with what either has under it, or None."""
    merged = heapq.merge(_tagged(left, 0), _tagged(right, 1), key=itemgetter(0))
    for name, group in groupby(merged, itemgetter(0)):
        found = {side: one for _, side, one in group}
        yield name, found.get(0), found.get(1)


def _tagged(items: Iterable[tuple[Name, T]], side: int) -> Iterator[tuple[Name, int, Any]]:
    return ((name, side, one) for name, one in items)


def _shown(service: str, key: str) -> str:
    return f"{escape.text(service, _LONGEST)} {escape.text(key, _LONGEST)}"


def _nowhere(done: int, total: int, what: str, /) -> None:
    """Progress that nobody looks at."""


def _check_apart(source: object, target: object) -> None:
    """Refuse a copy of a directory into itself, by whatever paths."""
    one, other = (getattr(store, "path", None) for store in (source, target))
    both = isinstance(one, str) and isinstance(other, str)
    if both and _is_same(str(one), str(other)):
        raise KVEngineError(f"source and target are one database ({other}); copy to another")


def _is_same(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:  # of another file system than that of the machine
        return one == other
