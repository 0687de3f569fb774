"""What a request's query asks for. Refused with 400 where that makes no sense."""

from __future__ import annotations

from urllib.parse import parse_qsl

from starlette.requests import Request

from kvengine.ui.refusal import Refused


def asked(request: Request, what: str) -> str | None:
    """A parameter, None where it is absent. Names are any text; what is no UTF-8 is refused."""
    query = request.scope["query_string"]
    try:
        pairs = parse_qsl(
            query.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            strict_parsing=bool(query),
        )
    except ValueError:
        raise Refused(400, "The query is no percent-encoded UTF-8.") from None
    found = [value for name, value in pairs if name == what]
    if len(found) > 1:
        raise Refused(400, f"The query names {what} twice.")
    return found[0] if found else None


def name_of(request: Request, what: str, default: str | None = None) -> str:
    """A name, which may be empty; ``default`` where it is absent, None for none."""
    found = asked(request, what)
    if found is None:
        found = default
    if found is None:
        raise Refused(400, f"The query must name {what}.")
    return found


def limit_of(request: Request, default: int, most: int) -> int:
    """How many items are wanted: 1 to ``most``."""
    given = asked(request, "limit")
    if given is None:
        return default
    if not (given.isascii() and given.isdigit() and len(given) < 7 and 1 <= int(given) <= most):
        raise Refused(400, f"The limit must be a number from 1 to {most}.")
    return int(given)
