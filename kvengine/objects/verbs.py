"""The verbs by which a store gives out its objects."""

from __future__ import annotations

from datetime import timedelta
from typing import TypeVar

from kvengine.objects.sessions.host import Host
from kvengine.objects.virtual_object import VirtualObject
from kvengine.objects.workflow import Workflow
from kvengine.serdes.registry import SerdeChoice, find
from kvengine.storage.batch import object_name
from kvengine.storage.names import are_ascii_names
from kvengine.storage.times import DAY, check_agrees, retention_time

H = TypeVar("H", bound=VirtualObject)


class ObjectVerbs:
    """``object`` and ``workflow``, which every back end has."""

    _host: Host

    def object(self, service: str, key: str, *, serde: SerdeChoice | None = None) -> VirtualObject:
        """A handle on an object, which need not exist. ``serde``: of its values."""
        return _filled(VirtualObject.__new__(VirtualObject), self._host, service, key, serde, None)

    def workflow(
        self,
        service: str,
        key: str,
        *,
        retention: float | timedelta | None = None,
        serde: SerdeChoice | None = None,
    ) -> Workflow:
        """Return a handle on a workflow, which is kept for ``retention`` once it is complete.

        ``retention``: seconds or a timedelta; zero: gone at completion. Defaults to the
        retention stored for the service, or to one day if there is none. Raise ValueError if the
        database has stored another one.
        """
        host = self._host
        handle = _filled(Workflow.__new__(Workflow), host, service, key, serde, None)
        stored = host.retention_of(handle.service)
        if retention is None:
            kept = DAY if stored is None else stored
        else:
            kept = retention_time(retention)
            check_agrees(handle.service, kept, stored)
        handle._retention = kept
        return handle


def _filled(
    handle: H, host: Host, service: str, key: str, serde: SerdeChoice | None, retention: int | None
) -> H:
    """Return a new handle with its fields; `__init__` would cost more."""
    if not are_ascii_names(service, key):
        service, key = object_name(service, key)
    chosen = host.serdes.of(service) if serde is None else find(serde)
    handle._name = (service, key)
    handle._serde = chosen
    handle._host = host
    handle._retention = retention
    return handle
