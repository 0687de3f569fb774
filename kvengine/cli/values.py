"""Values: as the user gives them, and as they are shown."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import click
import msgspec

from kvengine.cli.exits import USAGE, Exit
from kvengine.cli.output import cells, cut
from kvengine.inspection import escape
from kvengine.inspection.document import json_of
from kvengine.inspection.escape import safe

BINARY = ("base64", "hex", "text")
_LEAST = 16
"""Columns for a value, however narrow the terminal."""

LONGEST = 250_000_000_000.0
"""Seconds: longer than any expiry may be away."""

_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)?")
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}

binary_option: Callable[[Callable[..., Any]], Callable[..., Any]] = click.option(
    "--binary",
    type=click.Choice(BINARY),
    default="text",
    show_default=True,
    help="How values that are not JSON are shown; bytes that are not text then as hex.",
)


def shown(value: bytes, binary: str = "text", room: int | None = None) -> str:
    """A value on one line: JSON as it is, other text quoted after the word text, bytes marked.

    What is wider than ``room`` columns is cut, which is said; None: nothing is.
    """
    most = None if room is None else max(room, _LEAST)
    known, is_json = json_of(value)
    if is_json:
        text = msgspec.json.encode(known).decode()
        return _fitting(safe(text[: most and most + 1]), most, value)
    if binary == "text":
        try:
            text = value.decode()
            return _fitting("text " + escape.text(text[: most and most + 1]), most, value)
        except UnicodeDecodeError:
            binary = "hex"
    part = value[: most and most + 1]
    text = part.hex() if binary == "hex" else b64encode(part).decode()
    return _fitting(f"{binary} {text}", most, value)


def _fitting(text: str, most: int | None, value: bytes) -> str:
    if most is None or cells(text) <= most:
        return text
    tail = f"… ({len(value):,} bytes)"
    return cut(text, max(most - len(tail), 1)) + tail


def pretty(value: bytes) -> str:
    """A JSON value on several lines, for people; the one-line form of anything else."""
    known, is_json = json_of(value)
    if not is_json:
        return shown(value)
    return safe(msgspec.json.format(msgspec.json.encode(known), indent=2).decode())


def taken(given: str | bytes, form: str) -> bytes:
    """The bytes that a value on the command line or in a file means; `Exit` where it is none."""
    data = given.encode("utf-8", "surrogateescape") if isinstance(given, str) else given
    if form == "raw":
        return data
    if form in ("base64", "hex"):
        try:
            if form == "hex":
                return bytes.fromhex(data.decode())
            return b64decode(b"".join(data.split()), validate=True)
        except ValueError:
            raise Exit(USAGE, f"the value is not {form}") from None
    if form == "text":
        try:
            return data.decode().encode()
        except UnicodeDecodeError:
            raise Exit(USAGE, "the value is not UTF-8; give --raw to set its bytes") from None
    try:
        return msgspec.json.encode(msgspec.json.decode(data))
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        hint = "a string needs quotes of its own ('\"text\"'), or give --text"
        raise Exit(USAGE, f"the value is not JSON ({safe(str(error))}): {hint}") from None


def duration(given: str) -> float:
    """Seconds of ``90``, ``30s``, ``5m``, ``2h``, ``1d12h``."""
    at, seconds = 0, 0.0
    while at < len(given):
        match = _PART.match(given, at)
        if match is None or (match[2] is None and match.end() != len(given)):
            break
        seconds += float(match[1]) * _UNITS[match[2] or "s"]
        at = match.end()
    if at < len(given) or not given or not 0 < seconds <= LONGEST:
        raise Exit(USAGE, f"{given!r} is no duration: write 30s, 5m, 2h, 7d, or seconds")
    return seconds


def instant(given: str) -> float:
    """Seconds since the epoch of a number of them, or of an ISO 8601 time (UTC unless it says)."""
    try:
        seconds = float(given)
        if not 0 <= seconds <= LONGEST:
            raise Exit(USAGE, f"{given!r} is no time between 1970 and 9999")
        return seconds
    except ValueError:
        pass
    try:
        found = datetime.fromisoformat(given)
        if found.tzinfo is None:
            found = datetime.fromisoformat(
                given + ("Z" if "T" in given or " " in given else "T00Z")
            )
        return max(found.timestamp(), 0.0)
    except ValueError:
        raise Exit(
            USAGE, f"{given!r} is no time: write 2026-12-31T23:59:59Z, or seconds since the epoch"
        ) from None


def json_entries(entries: Mapping[str, bytes]) -> tuple[dict[str, Any], list[str]]:
    """What the entries say as JSON, and the state keys of those that are none."""
    found: dict[str, Any] = {}
    others: list[str] = []
    for name, value in entries.items():
        known, is_json = json_of(value)
        if is_json:
            found[name] = known
        else:
            others.append(name)
    return found, others
