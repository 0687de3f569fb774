"""Objects and entries as the page gets them.

An entry here is one of the forms of a document (kvengine/inspection/document.py), ``text`` or
``base64``, never ``value``: numbers of JavaScript hold 53 bits, and a page that read a value as
numbers would write back others. Versions are strings of digits for the same reason. Added to the
form are ``size`` in bytes and ``type``: "json", "text" or "binary". ``omitted`` stands in place of
a value that is sent when asked for.
"""

from __future__ import annotations

from base64 import b64encode
from bisect import bisect_right
from typing import Any

from kvengine.inspection import document
from kvengine.store import Reads, StoredObject
from kvengine.ui.limits import EDITABLE, INLINE, MIB

_FIRST_LOAD = 2 * MIB
_FURTHER_LOAD = 64 * MIB
"""Bytes of an object that are read to show a page of its entries."""

_PAGE_BYTES = 1 * MIB
_PAGE_ENTRIES = 500

Shown = dict[str, Any]


def entry(value: bytes, expires_at: float | None) -> Shown:
    """An entry with its value."""
    made: Shown = {"size": len(value), "expires_at": expires_at}
    if len(value) > EDITABLE:
        return made | _beginning(value)
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return made | {"type": "binary", "base64": b64encode(value).decode()}
    return made | {"type": "json" if document.json_of(value)[1] else "text", "text": text}


def _beginning(value: bytes) -> Shown:
    """What is shown of a value too large to be edited."""
    part = value[:INLINE]
    try:
        text = part[:-4].decode() if b"\0" not in part else ""
    except UnicodeDecodeError as error:
        text = part[: error.start].decode() if len(part) - error.start < 8 else ""
    if text:
        return {"type": "text", "text": text, "cut": True}
    return {"type": "binary", "base64": b64encode(part).decode(), "cut": True}


def object_page(reads: Reads, service: str, key: str, after: str | None = None) -> Shown | None:
    """An object with a page of its entries, those behind ``after``; None where it is absent.

    ``next``: the state key to go on behind, None where these were the last.
    ``bytes``: of all names and values, None where not all were read.
    """
    most = _FIRST_LOAD if after is None else _FURTHER_LOAD
    found = reads.load(service, key, max_bytes=most)
    if found is None:
        return None
    names = list(found.entries)
    begin = 0 if after is None else bisect_right(names, after.encode(), key=str.encode)
    page = names[begin : begin + _PAGE_ENTRIES]
    entries = _entries(found, page)
    more = begin + len(page) < len(names)
    if not more and found.partial:
        unread = _unread(reads, found, page[-1] if page else after)
        more = len(unread) > _PAGE_ENTRIES
        entries += [_omitted(name, None, None) for name in unread[:_PAGE_ENTRIES]]
    size = sum(len(name.encode()) + len(value) for name, value in found.entries.items())
    return {
        "service": service,
        "key": key,
        "version": str(found.version),
        "expires_at": found.expires_at,
        "count": len(names) if not found.partial else None,
        "bytes": size if not found.partial else None,
        "entries": entries,
        "next": entries[-1]["state_key"] if more else None,
    }


def _unread(reads: Reads, found: StoredObject, last: str | None) -> list[str]:
    """State keys behind ``last`` whose values were too much to read."""
    start = "" if last is None else last + "\0"
    limit = _PAGE_ENTRIES + 1
    return reads.state_keys(found.service, found.key, start=start, limit=limit)


def _entries(found: StoredObject, names: list[str]) -> list[Shown]:
    expiries = found.expiries or {}
    left = _PAGE_BYTES
    made = []
    for name in names:
        value, expires_at = found.entries[name], expiries.get(name)
        if len(value) > min(INLINE, left):
            made.append(_omitted(name, len(value), expires_at))
        else:
            left -= len(value)
            made.append({"state_key": name, **entry(value, expires_at)})
    return made


def _omitted(name: str, size: int | None, expires_at: float | None) -> Shown:
    return {
        "state_key": name,
        "size": size,
        "expires_at": expires_at,
        "type": None,
        "omitted": True,
    }


def one_entry(reads: Reads, service: str, key: str, state_key: str) -> Shown | None:
    """One entry with its value, and the version of its object; None where it is absent."""
    found = reads.load(service, key, max_bytes=_FURTHER_LOAD)
    if found is None:
        return None
    made: Shown = {"state_key": state_key, "version": str(found.version)}
    if state_key in found.entries:
        expires_at = (found.expiries or {}).get(state_key)
        return made | entry(found.entries[state_key], expires_at)
    value = None if not found.partial else reads.get(service, key, state_key)
    if value is None:
        return None
    # Whether it expires by itself is not known here: an edit could end that unseen.
    return made | {"size": len(value), "expires_at": None, "cut": True} | _beginning(value)
