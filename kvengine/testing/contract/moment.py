"""The reads that compare a store, or a snapshot of one, with the reference."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from kvengine.testing.contract.reference import Reference

SERVICES = ("a", "ab", "a\0b", "")
KEYS = ("", "a", "a\0b", "ab", "b", "\u00e9", "e\u0301", "\U0001f600")
STATE_KEYS = ("n", "", "n\0", "na", "p", "\U0001f600")


class Difference(AssertionError):
    """The store and the reference disagree."""


def agree(what: str, found: object, wanted: object) -> None:
    """Raise Difference unless the store found what the reference has."""
    if found != wanted:
        raise Difference(f"{what}: the store says {found!r}, the reference {wanted!r}")


class Moment:
    """A store or a snapshot and its reference, and the reads that compare them."""

    def __init__(self, reader: Any, reference: Reference, now: Callable[[], int]) -> None:
        """``now`` gives the time of the reference, in microseconds."""
        self.reader = reader
        self.reference = reference
        self.now = now

    def compare_some(self, random_: random.Random) -> None:
        """Compare what three verbs say of an object, both chosen at random."""
        service, key = random_.choice(SERVICES), random_.choice(KEYS)
        state_key = random_.choice(STATE_KEYS)
        for check in random_.sample(self.CHECKS, 3):
            check(self, random_, service, key, state_key)

    def compare_all(self) -> None:
        """Compare every object there is, and that those are all."""
        now, reader, reference = self.now(), self.reader, self.reference
        agree("scan()", list(reader.scan()), list(reference.scan(None, "", now)))
        agree("services()", reader.services(), reference.services(now))
        for service in SERVICES:
            for key in KEYS:
                of = (service, key)
                loaded = reader.load(*of)
                agree(f"load{of}", loaded, reference.load(*of, now))
                if loaded is not None:
                    wanted = list(reference.get_all(*of, now))
                    agree(f"order of load{of}", list(loaded.entries), wanted)

    def _get(self, _: random.Random, service: str, key: str, state_key: str) -> None:
        of = (service, key, state_key)
        agree(f"get{of}", self.reader.get(*of), self.reference.get(*of, self.now()))

    def _get_many(self, random_: random.Random, service: str, key: str, _: str) -> None:
        names = random_.choices(STATE_KEYS, k=3)
        found = list(self.reader.get_many(service, key, names).items())
        wanted = list(self.reference.get_many(service, key, names, self.now()).items())
        agree(f"get_many({service!r}, {key!r}, {names})", found, wanted)

    def _get_all(self, _: random.Random, service: str, key: str, __: str) -> None:
        found = list(self.reader.get_all(service, key).items())
        wanted = list(self.reference.get_all(service, key, self.now()).items())
        agree(f"get_all({service!r}, {key!r})", found, wanted)

    def _load(self, random_: random.Random, service: str, key: str, _: str) -> None:
        limit = random_.choice((0, 5, 60, 300, 3000))
        found = self.reader.load(service, key, max_bytes=limit)
        wanted = self.reference.load(service, key, self.now(), limit)
        agree(f"load({service!r}, {key!r}, max_bytes={limit})", found, wanted)

    def _state_keys(self, random_: random.Random, service: str, key: str, start: str) -> None:
        prefix = random_.choice(("", "", "n", "g", "g1", "\U0001f600"))
        start = random_.choice(("", start, "g15"))
        limit = random_.choice((None, 0, 1, 4))
        reverse = random_.random() < 0.3
        found = self.reader.state_keys(
            service, key, prefix=prefix, start=start, reverse=reverse, limit=limit
        )
        wanted = self.reference.state_keys(service, key, prefix, start, reverse, limit, self.now())
        what = f"state_keys({service!r}, {key!r}, {prefix=}, {start=}, {reverse=}, {limit=})"
        agree(what, found, wanted)

    def _facts(self, _: random.Random, service: str, key: str, state_key: str) -> None:
        of, now = (service, key), self.now()
        agree(f"exists{of}", self.reader.exists(*of), self.reference.version(*of, now) != 0)
        found = self.reference.load(*of, now)
        expiries = (found.expiries or {}) if found is not None else {}
        at = self.reader.expires_at(*of, state_key)
        agree(f"expires_at{(*of, state_key)}", at, expiries.get(state_key))
        agree(f"version{of}", self.reader.version(*of), self.reference.version(*of, now))
        agree(f"expires_at{of}", self.reader.expires_at(*of), self.reference.expires_at(*of, now))

    def _object_keys(self, random_: random.Random, service: str, key: str, _: str) -> None:
        prefix = random_.choice(("", "", "a", "a\0", "e"))
        start = random_.choice((None, key))
        stop = random_.choice((None, None, "", "b"))
        reverse = random_.random() < 0.5
        limit = random_.choice((None, None, 0, 2))
        bounds: dict[str, Any] = {
            "prefix": prefix,
            "start": start,
            "stop": stop,
            "reverse": reverse,
        }
        wanted = self.reference.object_keys(service, **bounds, limit=limit, now=self.now())
        found = list(self.reader.object_keys(service, **bounds, limit=limit))
        agree(f"object_keys({service!r}, {bounds}, {limit=})", found, wanted)
        objects = list(self.reader.scan(service, **bounds, limit=limit))
        loaded = [self.reference.load(service, one, self.now()) for one in wanted]
        agree(f"scan({service!r}, {bounds}, {limit=})", objects, loaded)
        if limit is None:
            agree(
                f"load_many({service!r}, {wanted})",
                self.reader.load_many(service, wanted),
                dict(zip(wanted, loaded, strict=True)),
            )
            if start is None and stop is None:
                agree(
                    f"count({service!r}, {prefix=})",
                    self.reader.count(service, prefix=prefix),
                    len(wanted),
                )

    def _services(self, _: random.Random, service: str, key: str, state_key: str) -> None:
        agree("services()", self.reader.services(), self.reference.services(self.now()))
        for completed in (None, True, False):
            found = list(self.reader.workflows(service, completed))
            wanted = self.reference.workflows(service, completed, self.now())
            agree(f"workflows({service!r}, {completed})", found, wanted)

    CHECKS = (
        *(_get, _get_many, _get_all, _get_all, _load, _state_keys, _facts),
        *(_object_keys, _object_keys, _services),
    )
