"""Names on the command line: plain, in the quoted form that is shown, or joined by slashes."""

from __future__ import annotations

import re
from urllib.parse import unquote

from kvengine.cli.exits import USAGE, Exit

_ESCAPE = re.compile(
    r'\\(?:(["\\])|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([\s\S]|$))'
)


def taken(what: str, given: str, quoted: bool) -> str:
    """A name as it was given; ``quoted``: as the tools show it, quotes and escapes undone."""
    if not quoted:
        return checked(what, given)
    inner = given[1:-1] if len(given) >= 2 and given[0] == given[-1] == '"' else given
    return checked(what, _ESCAPE.sub(_character, inner))


def checked(what: str, name: str) -> str:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise Exit(USAGE, f"{what} is not UTF-8; names are") from None
    return name


def split_path(given: str) -> list[str]:
    """SERVICE[/KEY[/STATE_KEY]] taken apart; a slash within a name is %2F, a percent sign %25."""
    parts = [unquote(part, errors="surrogateescape") for part in given.split("/")]
    if len(parts) > 3:
        raise Exit(
            USAGE,
            f"{given!r} has more than three parts: write a slash within a name as %2F,"
            " or give the names as separate arguments",
        )
    return parts


def _character(match: re.Match[str]) -> str:
    same, two, four, eight, other = match.groups()
    if same:
        return same
    if other is not None:
        raise Exit(USAGE, f"unknown escape \\{other} in a quoted name")
    try:
        return chr(int(two or four or eight, 16))
    except (ValueError, OverflowError):
        raise Exit(USAGE, f"\\U{eight} is no character") from None
