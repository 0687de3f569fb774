"""Answers with a tag of their content: a page that polls gets 304 where nothing has changed."""

from __future__ import annotations

import hashlib

import msgspec
from starlette.requests import Request
from starlette.responses import Response

_encode = msgspec.json.Encoder().encode


def with_tag(request: Request, data: object, tagged: object = None) -> Response:
    """``data`` as JSON; 304 without a body where the request says that it has just that.

    ``tagged``: what counts for that, if it is not all of the data.
    """
    body = _encode(data)
    counts = body if tagged is None else _encode(tagged)
    tag = f'"{hashlib.blake2b(counts, digest_size=12).hexdigest()}"'
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers={"ETag": tag})
    return Response(body, headers={"ETag": tag}, media_type="application/json")
