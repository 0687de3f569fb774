"""`Workflow`: an object that is kept for its retention once it is complete."""

from __future__ import annotations

from datetime import timedelta

from kvengine.objects.virtual_object import VirtualObject
from kvengine.storage.batch import Batch, Complete


class Workflow(VirtualObject):
    """A workflow: a virtual object that ends.

    It never expires before `complete`. From then on it exists for ``retention``, also
    without state, and reads as absent from that instant; then the same key may run
    again. In a session ``complete()`` is part of the commit.
    """

    __slots__ = ()

    _retention: int

    @property
    def retention(self) -> timedelta:
        """How long the state stays readable once the workflow is complete."""
        return timedelta(microseconds=self._retention)

    def complete(self) -> bool:
        """Start the retention clock, with or without state; zero clears the state at once.

        Completing again changes nothing. Return False only where a retention of zero finds no
        state to clear.
        """
        store = self._host.store
        if not self._retention and not store.version(*self._name):
            return False
        store.write(self._completion())
        return True

    def _completion(self) -> Batch:
        """Return the batch that starts the retention clock, to be written."""
        batch = Batch()
        batch.operations.append(Complete(self._name, self._retention))
        return batch

    @property
    def completed(self) -> bool:
        """Whether the workflow is complete and its retention is not over."""
        found = self._host.store.load(*self._name, max_bytes=0)
        return found is not None and found.completed_at is not None
