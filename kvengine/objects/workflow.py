"""`Workflow`: an object that is kept for its retention once it is complete."""

from __future__ import annotations

from datetime import timedelta

from kvengine.errors import VersionConflict
from kvengine.objects.virtual_object import VirtualObject
from kvengine.storage.batch import Batch

DAY = timedelta(days=1)


class Workflow(VirtualObject):
    """A workflow: a virtual object that ends.

    It never expires before `complete`. From then on its state stays readable
    for ``retention``, and reads as absent from that instant; then the same key
    may run again. In a session ``complete()`` is part of the commit.
    """

    __slots__ = ()

    _retention: int

    @property
    def retention(self) -> timedelta:
        """How long the state stays readable once the workflow is complete."""
        return timedelta(microseconds=self._retention)

    def complete(self) -> bool:
        """Start the retention clock; a retention of zero clears the state at once.

        Completing again changes nothing. Whether there was any state.
        """
        store, name = self._host.store, self._name
        while version := store.version(*name):
            if self._retention and store.expires_at(*name) is not None:
                return True
            batch = Batch()
            if self._retention:
                batch.expire(*name, ttl=self.retention)
            else:
                batch.clear_all(*name)
            try:
                store.write(batch, expect={name: version})
            except VersionConflict:
                continue  # somebody wrote, or completed it, meanwhile: look again
            return True
        return False

    @property
    def completed(self) -> bool:
        """Whether the workflow is complete and its state still readable."""
        return self._host.store.expires_at(*self._name) is not None
