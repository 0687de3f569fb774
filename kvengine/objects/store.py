"""What every back end is to its users: the verbs of bytes, and the handles of objects."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol

import kvengine.store
from kvengine.objects.virtual_object import VirtualObject
from kvengine.objects.workflow import Workflow
from kvengine.serdes.registry import SerdeChoice


class Store(kvengine.store.Store, Protocol):
    """Durable state of objects. Thread-safe."""

    def object(self, service: str, key: str, *, serde: SerdeChoice | None = None) -> VirtualObject:
        """A handle on an object, which need not exist. ``serde``: of its values."""
        ...

    def workflow(
        self,
        service: str,
        key: str,
        *,
        retention: float | timedelta | None = None,
        serde: SerdeChoice | None = None,
    ) -> Workflow:
        """A handle on a workflow, which is kept for ``retention`` once it is complete."""
        ...
