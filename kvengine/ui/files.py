"""The files of the page: read once, served from memory. What is not among them is not there."""

from __future__ import annotations

import hashlib
from importlib import resources

from starlette.requests import Request
from starlette.responses import Response

from kvengine.ui.refusal import Refused

_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}


class Files:
    """Name -> content, kind and tag."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[bytes, str, str]] = {}
        for one in resources.files("kvengine.ui").joinpath("static").iterdir():
            kind = _KINDS.get("." + one.name.rpartition(".")[2])
            if kind is not None:
                body = one.read_bytes()
                tag = f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
                self._known[one.name] = (body, kind, tag)

    async def page(self, request: Request) -> Response:
        return self._serve(request, "index.html")

    async def file(self, request: Request) -> Response:
        return self._serve(request, request.path_params["name"])

    def _serve(self, request: Request, name: str) -> Response:
        found = self._known.get(name)
        if found is None:
            raise Refused(404, "There is nothing at this address.")
        body, kind, tag = found
        headers = {"ETag": tag, "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(body, headers=headers, media_type=kind)
