"""Objects as JSON documents: what the tools print, take in, and export, a line for each object.

    {"service": "Greeter", "key": "alice", "version": 1764000000000000, "expires_at": null,
     "entries": {"name": {"value": "Alice"},
                 "raw": {"base64": "/w=="},
                 "token": {"text": "x", "expires_at": 1764000030.0}}}

The form of an entry gives its bytes back exactly. ``value``: they are JSON, and this is what
they say; ``text`` beside it where they are not the one way in which msgspec writes that (blanks,
the order of digits): then the text counts. ``text`` alone: UTF-8 that is no JSON, the empty
value too. ``base64``: anything else. Times in seconds since the epoch. A completed workflow has
``completed_at`` too, and may have no entries.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any

import msgspec

from kvengine.store import StoredObject

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
DEEPEST = 100
"""Levels of JSON that are shown as such, wherever it is read; deeper values are text."""

_BRACKETS = re.compile(rb'(?s)"(?:[^"\\]|\\.)*"?|[\[\]{}]')
_FORMS = ("value", "text", "base64")
_UNPRINTED = re.compile(r"[^\x20-\x7e]")

Form = dict[str, Any]
"""An entry of a document."""


class BadDocument(ValueError):
    """What was given is no document of an object."""


def document(found: StoredObject) -> dict[str, Any]:
    """An object as JSON-able data. One that was cut by ``max_bytes`` says ``"complete": false``."""
    expiries = found.expiries or {}
    made: dict[str, Any] = {
        "service": found.service,
        "key": found.key,
        "version": found.version,
        "expires_at": found.expires_at,
        "entries": {name: form(value, expiries.get(name)) for name, value in found.entries.items()},
    }
    if found.completed_at is not None:
        made["completed_at"] = found.completed_at
    if found.partial:
        made["complete"] = False
    return made


def form(value: bytes, expires_at: float | None = None) -> Form:
    """An entry: its bytes in the most readable form that gives them back exactly."""
    made: Form = {}
    known, is_json = json_of(value)
    if is_json:
        made["value"] = known
    if not is_json or _encode(known) != value:
        try:
            made["text"] = value.decode()
        except UnicodeDecodeError:
            made["base64"] = b64encode(value).decode()
    if expires_at is not None:
        made["expires_at"] = expires_at
    return made


def json_of(value: bytes) -> tuple[Any, bool]:
    """What a value says as JSON, and whether it is JSON at all, nested up to `DEEPEST`."""
    if is_too_deep(value):
        return None, False
    try:
        known = _decode(value)
        _encode(known)  # what cannot be written again is not shown as JSON
    except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError, OverflowError):
        return None, False
    return known, True


def is_too_deep(value: bytes) -> bool:
    """Whether brackets outside of strings nest more deeply than `DEEPEST`."""
    if value.count(b"[") + value.count(b"{") <= DEEPEST:
        return False
    depth = 0
    for match in _BRACKETS.finditer(value):
        if match[0] in b"[{":
            depth += 1
            if depth > DEEPEST:
                return True
        elif match[0] in b"]}":
            depth -= 1
    return False


def value_of(entry: object, where: str = "entry") -> bytes:
    """The bytes of an entry's form; BadDocument where it is none."""
    if not isinstance(entry, Mapping):
        raise BadDocument(
            f"{where} must be an object with one of {', '.join(_FORMS)};"
            " plain=True takes it as the value itself"
        )
    unknown = [key for key in entry if key not in (*_FORMS, "expires_at")]
    if unknown:
        raise BadDocument(f"{where} has an unknown member {unknown[0]!r}")
    if "base64" in entry and "text" in entry:
        raise BadDocument(f"{where} has both text and base64: give one")
    if "base64" in entry:
        try:
            return b64decode(entry["base64"], validate=True)
        except (ValueError, TypeError):
            raise BadDocument(f"{where}: base64 does not decode") from None
    if "text" in entry:
        text = entry["text"]
        if not isinstance(text, str):
            raise BadDocument(f"{where}: text must be a string")
        return text.encode()
    if "value" not in entry:
        raise BadDocument(f"{where} needs one of {', '.join(_FORMS)}")
    return _encode(entry["value"])


def expiry_of(entry: object, where: str = "entry") -> float | None:
    """When an entry, or a whole document, expires; BadDocument for what is no time."""
    return _time_of(entry, "expires_at", where)


def completion_of(data: Mapping[str, Any]) -> float | None:
    """When the workflow of a document was completed; BadDocument for what is no such time."""
    at = _time_of(data, "completed_at", "document")
    end = expiry_of(data, "document")
    if at is not None and (end is None or end <= at):
        raise BadDocument("document: completed_at needs an expires_at behind it")
    return at


def _time_of(entry: object, member: str, where: str) -> float | None:
    at = entry.get(member) if isinstance(entry, Mapping) else None
    if at is not None and (isinstance(at, bool) or not isinstance(at, (int, float)) or at < 0):
        raise BadDocument(f"{where}: {member} must be seconds since the epoch, or null")
    return at


def read_document(line: bytes | str) -> dict[str, Any]:
    """A document from its line; BadDocument says what is wrong. `value_of` checks values."""
    try:
        found = _decode(line)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise BadDocument(f"not JSON: {error}") from None
    if not isinstance(found, dict):
        raise BadDocument("a document is a JSON object with service, key and entries")
    for name in ("service", "key"):
        if not isinstance(found.get(name), str):
            raise BadDocument(f"{name} must be a string")
    if not isinstance(found.get("entries"), dict):
        raise BadDocument("entries must be an object of state keys")
    version = found.get("version", 0)
    if isinstance(version, bool) or not isinstance(version, int):
        raise BadDocument("version must be an integer")
    expiry_of(found, "document")
    return found


def line(data: object) -> str:
    """JSON on one line, of printable ASCII alone: safe on any terminal, and the same data."""
    return _UNPRINTED.sub(_escaped, _encode(data).decode())


def _escaped(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))
