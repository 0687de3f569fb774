"""The write verbs of the embedded Store: each makes one commit."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from kvengine.attempts import Attempts
from kvengine.options import Durability
from kvengine.storage.batch import (
    Batch,
    clear_range_operation,
    clear_service_operation,
    expire_operation,
    object_name,
)
from kvengine.storage.commit import Committer
from kvengine.storage.names import Name
from kvengine.storage.reader import LiveReader


class LiveWriter(LiveReader):
    """The verbs of `Store` over one database: those that read it as of now, and those that write.

    The engine, which is one, makes its committer.
    """

    _committer: Committer

    def set(
        self,
        service: str,
        key: str,
        state_key: str,
        value: bytes,
        *,
        ttl: float | timedelta | None = None,
        expires_at: float | datetime | None = None,
    ) -> int:
        """Set an entry and return the stamp of the commit.

        ``ttl``: seconds or a timedelta after which the entry expires; one of 0 or less clears
        it at once. ``expires_at``: when it expires, in seconds since the epoch or as an aware
        datetime. Without either, an expiry that the entry had before is removed.
        """
        return self._committer.set(service, key, state_key, value, ttl, expires_at)

    def clear(self, service: str, key: str, state_key: str) -> int:
        """Clear an entry and return the stamp of the commit."""
        return self._committer.clear(service, key, state_key)

    def pop(self, service: str, key: str, state_key: str) -> bytes | None:
        """Clear an entry and return the value that it had, None if there was none.

        No other commit to the object comes between the two. Where there was no entry, nothing is
        written.
        """
        name = object_name(service, key)
        for attempt in Attempts():
            version = self.version(service, key)
            value = self.get(service, key, state_key)
            if value is None:
                return None
            batch = Batch()
            batch.clear(service, key, state_key)
            with attempt:
                self.write(batch, expect={name: version})
                return value
        raise AssertionError("there is always another attempt")

    def clear_all(self, service: str, key: str) -> int:
        """Clear every entry of an object, and its expiry, by one small write. Return the stamp."""
        return self._committer.clear_all(service, key)

    def clear_service(self, service: str) -> int:
        """Clear every object of a service by one small write. Return the stamp."""
        return self._committer.commit_operations((clear_service_operation(service),))

    def clear_range(self, service: str, start: str, stop: str | None) -> int:
        """Clear the objects of a service from key ``start`` to before ``stop`` (None: to the end).

        Return the stamp. Where ``start`` is not below ``stop``, nothing is cleared.
        """
        return self._committer.commit_operations((clear_range_operation(service, start, stop),))

    def expire(
        self,
        service: str,
        key: str,
        *,
        at: float | datetime | None = None,
        ttl: float | timedelta | None = None,
    ) -> bool:
        """Give an object an expiry, or remove the one it has if neither argument is given.

        ``at``: seconds since the epoch, or an aware datetime. ``ttl``: seconds or a timedelta
        from now; one of 0 or less ends the object at once. Return whether the object existed;
        if it did not, nothing is written.
        """
        return self._committer.expire(expire_operation(service, key, at, ttl))

    def batch(self) -> Batch:
        """Return a batch, whose writes are committed as one when its ``with`` block ends."""
        return self._committer.batch()

    def write(
        self,
        batch: Batch,
        *,
        expect: Mapping[Name, int] | None = None,
        durability: Durability | None = None,
    ) -> int:
        """Commit a batch and return its stamp.

        ``expect`` maps objects to the versions that they must have, 0 for an absent one.
        If one has another version, VersionConflict is raised and nothing is written.
        ``durability``: "sync" or "os", by default that of the engine.
        """
        return self._committer.write(batch, expect, durability)
