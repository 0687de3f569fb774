"""GET /api/object, /api/entry, /api/value, /api/document: one object, in several cuts."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from kvengine.inspection import document
from kvengine.ui.asked import asked, name_of
from kvengine.ui.caching import with_tag
from kvengine.ui.limits import MIB
from kvengine.ui.refusal import Refused
from kvengine.ui.shown import object_page, one_entry
from kvengine.ui.source import Opened, Source

_ABSENT = "There is no such object."
_LARGEST_DOCUMENT = 16 * MIB


async def one_object(request: Request) -> Response:
    """``service``, ``key``, ``after``: the object with a page of its entries."""
    source: Source = request.app.state.source
    service, key = name_of(request, "service"), name_of(request, "key")
    after = asked(request, "after")
    found = await source.read(lambda store: _page(store, service, key, after))
    if found is None:
        raise Refused(404, _ABSENT)
    return with_tag(request, found)


def _page(store: Opened, service: str, key: str, after: str | None) -> dict[str, object] | None:
    with store.snapshot() as at:
        return object_page(at, service, key, after)


async def entry(request: Request) -> Response:
    """``service``, ``key``, ``state_key``: one entry with its value, however large."""
    source: Source = request.app.state.source
    service, key = name_of(request, "service"), name_of(request, "key")
    state_key = name_of(request, "state_key")
    found = await source.read(lambda store: one_entry(store, service, key, state_key))
    if found is None:
        raise Refused(404, "There is no such entry.")
    return with_tag(request, found)


async def value(request: Request) -> Response:
    """The bytes of an entry, to be saved as a file."""
    source: Source = request.app.state.source
    service, key = name_of(request, "service"), name_of(request, "key")
    state_key = name_of(request, "state_key")
    found = await source.read(lambda store: store.get(service, key, state_key))
    if found is None:
        raise Refused(404, "There is no such entry.")
    headers = {"Content-Disposition": 'attachment; filename="value.bin"'}
    return Response(found, headers=headers, media_type="application/octet-stream")


async def as_document(request: Request) -> Response:
    """The object as the command line prints and takes it: one line of JSON."""
    source: Source = request.app.state.source
    service, key = name_of(request, "service"), name_of(request, "key")
    found = await source.read(lambda store: store.load(service, key, max_bytes=_LARGEST_DOCUMENT))
    if found is None:
        raise Refused(404, _ABSENT)
    if found.partial:
        raise Refused(413, "The object is too large for this; use kvengine export.")
    line = document.line(document.document(found)) + "\n"
    return Response(line, media_type="application/json")
