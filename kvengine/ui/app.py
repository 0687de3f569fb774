"""The application: which address is which verb, behind the guard."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.types import ASGIApp

from kvengine.ui.api_clear_service import clear_service
from kvengine.ui.api_edit import edit
from kvengine.ui.api_object import as_document, entry, one_object, value
from kvengine.ui.api_objects import objects
from kvengine.ui.api_services import services
from kvengine.ui.api_session import launch, session
from kvengine.ui.api_storage import pulse, storage
from kvengine.ui.files import Files
from kvengine.ui.launch import Doorkeeper
from kvengine.ui.limits import Limits
from kvengine.ui.refusal import RAISED, on_error, on_http_error
from kvengine.ui.security import Guard
from kvengine.ui.source import Source


def make_app(source: Source, hosts: frozenset[str], door: Doorkeeper, limits: Limits) -> ASGIApp:
    """The page of ``source``, for requests to one of ``hosts`` (with port)."""
    files = Files()
    app = Starlette(
        routes=[
            Route("/", files.page, methods=["GET"]),
            Route("/static/{name}", files.file, methods=["GET"]),
            Route("/api/launch", launch, methods=["POST"]),
            Route("/api/session", session, methods=["GET"]),
            Route("/api/pulse", pulse, methods=["GET"]),
            Route("/api/services", services, methods=["GET"]),
            Route("/api/objects", objects, methods=["GET"]),
            Route("/api/object", one_object, methods=["GET"]),
            Route("/api/entry", entry, methods=["GET"]),
            Route("/api/value", value, methods=["GET"]),
            Route("/api/document", as_document, methods=["GET"]),
            Route("/api/storage", storage, methods=["GET"]),
            Route("/api/edit", edit, methods=["POST"]),
            Route("/api/clear-service", clear_service, methods=["POST"]),
        ],
        exception_handlers={HTTPException: on_http_error, **dict.fromkeys(RAISED, on_error)},
    )
    app.router.redirect_slashes = False  # an address is one address
    app.state.source, app.state.door, app.state.limits = source, door, limits
    return Guard(app, hosts, door, limits)
