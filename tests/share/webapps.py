"""Counters on the web, for real web servers: a WSGI and an ASGI application over one directory.

``POST /<id>`` increments a counter, once for each id however often it is sent: a client that got no
answer may ask again. ``GET /`` tells who answers. The directory is that of ``COUNTERS``.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import kvengine
import kvengine.aio

COUNTERS = 20


def wsgi() -> Callable[..., Iterable[bytes]]:
    """Return the WSGI application. With --preload this runs in the master, before it forks."""
    db = kvengine.open(os.environ["COUNTERS"], share=True, durability="os")

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        name = environ["PATH_INFO"].strip("/")
        if name:
            with db.object("Counter", counter_of(name)).session(preload=[name, "n"]) as state:
                if state.get(name) is None:
                    state.set(name, 1)
                    state.increment("n")
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [str(os.getpid()).encode()]

    return application


class Asgi:
    """The ASGI application: each worker opens the store when it starts."""

    def __init__(self) -> None:
        self._db: Any = None

    async def __call__(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[Any], Awaitable[None]],
    ) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        name = scope["path"].strip("/")
        if name:
            obj = self._db.object("Counter", counter_of(name))
            async with obj.session(preload=[name, "n"]) as state:
                if await state.get(name) is None:
                    state.set(name, 1)
                    await state.increment("n")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(os.getpid()).encode()})

    async def _live(
        self, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                path = os.environ["COUNTERS"]
                self._db = await kvengine.aio.open(path, share=True, durability="os")
            elif self._db is not None:
                await asyncio.sleep(0)
                await self._db.close()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return


asgi = Asgi()


def counter_of(name: str) -> str:
    """Return which counter an id counts in."""
    return str(int(name) % COUNTERS)
