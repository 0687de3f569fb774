"""POST /api/launch: a launch code for a session. GET /api/session: what the page needs to begin."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from kvengine.release import VERSION
from kvengine.ui import audit
from kvengine.ui.launch import Doorkeeper, Session
from kvengine.ui.limits import read_body, read_json
from kvengine.ui.refusal import Refused, answer
from kvengine.ui.source import Source


class Launch(msgspec.Struct, forbid_unknown_fields=True):
    code: str


async def launch(request: Request) -> Response:
    """The cookie of a new session, for a code that is good."""
    door: Doorkeeper = request.app.state.door
    wanted = read_json(await read_body(request, request.app.state.limits), Launch)
    made = door.redeem(wanted.code)
    if made is None:
        reason = "This launch code is wrong, used or too old; start kvengine ui again for another."
        audit.refused("launch", 401, reason)
        raise Refused(401, reason)
    audit.done("launch", "a browser has come")
    return answer(_beginning(request, made), headers={"Set-Cookie": door.set_cookie(made)})


async def session(request: Request) -> Response:
    """The token for writes, and what this is a page of."""
    return answer(_beginning(request, request.scope["session"]))


def _beginning(request: Request, known: Session) -> dict[str, object]:
    source: Source = request.app.state.source
    return {
        "csrf": known.csrf,
        "path": source.path,
        "write": source.write,
        "release": VERSION,
    }
