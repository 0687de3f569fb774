"""The verbs by which a store gives out its objects."""

from __future__ import annotations

from datetime import timedelta

from kvengine.objects.sessions.host import Host
from kvengine.objects.sessions.settings import check_retention
from kvengine.objects.virtual_object import VirtualObject
from kvengine.objects.workflow import DAY, Workflow
from kvengine.serdes.codec import Codec
from kvengine.serdes.registry import SerdeChoice, find
from kvengine.storage.batch import object_name
from kvengine.storage.names import are_ascii_names


class ObjectVerbs:
    """``object`` and ``workflow``, which every back end has."""

    _host: Host

    def object(self, service: str, key: str, *, serde: SerdeChoice | None = None) -> VirtualObject:
        """A handle on an object, which need not exist. ``serde``: of its values."""
        return VirtualObject(self._host, self._codec(service, key, serde))

    def workflow(
        self,
        service: str,
        key: str,
        *,
        retention: float | timedelta = DAY,
        serde: SerdeChoice | None = None,
    ) -> Workflow:
        """A handle on a workflow, which is kept for ``retention`` once it is complete.

        In seconds or as a timedelta, one day by default; zero: gone at completion.
        """
        return Workflow(self._host, self._codec(service, key, serde), check_retention(retention))

    def _codec(self, service: str, key: str, serde: SerdeChoice | None) -> Codec:
        if not are_ascii_names(service, key):
            service, key = object_name(service, key)
        return Codec(
            (service, key), self._host.serdes.of(service) if serde is None else find(serde)
        )
