"""Names on the command line: plain, in the quoted form that is shown, or joined by slashes.

One argument is a path, SERVICE[/KEY[/STATE_KEY]], in which %2F is a slash within a name and %25 a
percent sign; several are the names as they are. With -q a path is quoted names joined by slashes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import quote, unquote

from kvengine.cli.exits import USAGE, Exit

PARTS = ("SERVICE", "KEY", "STATE_KEY")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"(?:/|$)', re.DOTALL)
_ESCAPE = re.compile(
    r'\\(?:(["\\])|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([\s\S]|$))'
)


def place(given: Sequence[str], least: int, most: int, *, quoted: bool = False) -> tuple[str, ...]:
    """The names that the arguments say, ``least`` to ``most`` of them; `Exit` where they do not."""
    parts = list(given)
    if len(parts) == 1 and not quoted:
        parts = split_path(parts[0])
    elif len(parts) == 1 and _QUOTED.sub("", parts[0]) == "":
        parts = [f'"{part}"' for part in _QUOTED.findall(parts[0])]
    if not least <= len(parts) <= most:
        whole, separate = wanted(least, most, "/"), wanted(least, most, " ")
        either = whole if most == 1 else f"{whole}, or {separate}"
        raise Exit(USAGE, f"give {either}; given: {' '.join(given)}")
    return tuple(taken(what, part, quoted) for what, part in zip(PARTS, parts, strict=False))


def wanted(least: int, most: int, between: str) -> str:
    """How the names of a command are written: ``SERVICE/KEY[/STATE_KEY]``."""
    begin = "[/" if between == "/" else " ["
    optional = "".join(f"{begin}{part}" for part in PARTS[least:most])
    return between.join(PARTS[:least]) + optional + "]" * (most - least)


def path_of(*parts: str) -> str:
    """Names as a path that `place` takes, and that a shell leaves as it is."""
    return "/".join(quote(part, safe="") for part in parts)


def taken(what: str, given: str, quoted: bool) -> str:
    """A name as it was given; ``quoted``: as the tools show it, quotes and escapes undone."""
    if not quoted:
        return checked(what, given)
    inner = given[1:-1] if len(given) >= 2 and given[0] == given[-1] == '"' else given
    return checked(what, _ESCAPE.sub(_character, inner))


def checked(what: str, name: str) -> str:
    """The name, if its bytes are UTF-8, whatever the locale has made of them."""
    try:
        return name.encode(errors="surrogateescape").decode()
    except UnicodeError:
        raise Exit(USAGE, f"{what} is not UTF-8; names are") from None


def split_path(given: str) -> list[str]:
    """SERVICE[/KEY[/STATE_KEY]] taken apart."""
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
