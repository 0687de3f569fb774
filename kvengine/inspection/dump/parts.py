"""The parts that dumps have in common, as lines for people and as JSON-able dicts.

In dicts names are strings, stamps integers, times seconds since the epoch. A
value is ``{"text": ...}`` where it is UTF-8, else ``{"base64": ...}``, its first
200 bytes at most, with its whole size in ``bytes``. An end of a range of objects
is ``{"service", "key"}``, ``{"end_of_service"}``, ``"start"`` or ``"end"``, and
``{"base64"}`` where it is none of these. What is damaged is
``{"damage": {"path", "offset", "reason"}}``.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from kvengine.errors import CorruptionError
from kvengine.inspection import escape
from kvengine.inspection.dump.logs import Gap
from kvengine.storage.clock import SECOND
from kvengine.storage.names import END, TERMINATOR, decode_object, service_range
from kvengine.storage.row import Entry, Row
from kvengine.storage.segment.format import Properties

_T = TypeVar("_T")

WIDTH = 80
VALUE_BYTES = 200
"""What a dict shows of a value."""

_LEAST_VALUE = 16
_TIMES = ("tombstone_time", "first_expiry", "half_expiry", "last_expiry")
_STAMPS = ("first_stamp", "last_stamp")
_BOUNDS = ("start", "stop")

Item = dict[str, Any]
"""One thing of a dump; its only key is the kind of thing it is."""


def damage_item(error: CorruptionError) -> Item:
    return {"damage": {"path": error.path, "offset": error.offset, "reason": error.reason}}


class Met:
    """The damage of a file as it comes to light: each is told once."""

    def __init__(self, damage: list[CorruptionError]) -> None:
        """``damage`` grows while the file is read."""
        self._damage = damage
        self._told = 0

    def new(self) -> Iterator[Item]:
        while self._told < len(self._damage):
            self._told += 1
            yield damage_item(self._damage[self._told - 1])


def log_items(
    walk: Iterable[_T | Gap],
    damage: list[CorruptionError],
    kind: str,
    as_dict: Callable[[_T], dict[str, Any]],
    limit: int | None,
) -> Iterator[Item]:
    """What a log file holds as items of ``kind``, up to ``limit``; gaps and damage where met."""
    met, shown = Met(damage), 0
    for one in walk:
        if isinstance(one, Gap):
            yield {"gap": {"offset": one.start, "length": one.stop - one.start, "torn": one.torn}}
        elif limit is None or shown < limit:
            shown += 1
            yield {kind: as_dict(one)}
        yield from met.new()
    yield from met.new()


def properties_lines(stated: Properties) -> Iterator[str]:
    for name in stated.__struct_fields__:
        yield f"  {name:<17}{_property(name, getattr(stated, name))}"


def _property(name: str, what: Any) -> str:
    if name in _BOUNDS:
        return escape.bound(what)
    if name in _TIMES:
        return escape.moment(what)
    if name in _STAMPS:
        return stamp_text(what)
    return f"{what:,}"


def properties_dict(stated: Properties) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name in stated.__struct_fields__:
        what = getattr(stated, name)
        if name in _BOUNDS:
            what = bound(what)
        elif name in _TIMES:
            what = seconds(what)
        made[name] = what
    return made


def stamp_text(stamp: int) -> str:
    """A stamp and the time that it tells. There is no stamp 0."""
    return "none" if stamp == 0 else f"{stamp} ({escape.moment(stamp)})"


def seconds(microseconds: int | None) -> float | None:
    return None if microseconds is None else microseconds / SECOND


def row_marks(row: Row) -> str:
    """What a row says of its object as a whole, but for the version."""
    marks = ["cleared"] * row.cleared + ["extends an expiry"] * row.extends
    if row.expires_at is not None:
        marks.append(f"expires {escape.moment(row.expires_at)}")
    if row.completed_at is not None:
        marks.append(f"completed {escape.moment(row.completed_at)}")
    return ", ".join(marks)


def row_dict(row: Row) -> dict[str, Any]:
    """The same as a dict; the entries are the caller's to add."""
    return {
        "version": row.version,
        "cleared": row.cleared,
        "extends": row.extends,
        "expires_at": seconds(row.expires_at),
        "completed_at": seconds(row.completed_at),
    }


def entry_line(indent: str, state_key: str, entry: Entry) -> str:
    """An entry; its value is cut so that the line ends where a terminal does."""
    head = f"{indent}{escape.text(state_key)}"
    if entry is None:
        return f"{head}: tombstone"
    value, ends = _value_of(entry)
    expiry = "" if ends is None else f", expires {escape.moment(ends)}"
    tail = f" ({len(value):,} bytes{expiry})"
    room = max(WIDTH - len(head) - len(tail) - len(' = ""…'), _LEAST_VALUE)
    shown = escape.value(_start(value, room), room)
    cut = "" if len(value) <= room or shown.endswith("…") else "…"
    return f"{head} = {shown}{cut}{tail}"


def entry_dict(state_key: str, entry: Entry) -> dict[str, Any]:
    """The same as a dict."""
    if entry is None:
        return {"state_key": state_key, "tombstone": True}
    value, ends = _value_of(entry)
    made = {"state_key": state_key, **value_dict(value)}
    if ends is not None:
        made["expires_at"] = seconds(ends)
    return made


def _value_of(entry: bytes | tuple[int, bytes]) -> tuple[bytes, int | None]:
    """The value of an entry, and its own expiry if it has one."""
    return (entry, None) if isinstance(entry, bytes) else (entry[1], entry[0])


def value_dict(value: bytes) -> dict[str, Any]:
    """The first bytes of a value, and how many there are."""
    shown = _start(value, VALUE_BYTES)
    try:
        return {"text": shown.decode(), "bytes": len(value)}
    except UnicodeDecodeError:
        return {"base64": b64encode(shown).decode(), "bytes": len(value)}


def _start(value: bytes, limit: int) -> bytes:
    """The first bytes, without the part of a character that the limit would cut."""
    shown = value[:limit]
    for less in range(4 if len(value) > limit else 0):
        try:
            shown[: len(shown) - less].decode()
        except UnicodeDecodeError:
            continue
        return shown[: len(shown) - less]
    return shown


def object_dict(encoded: bytes) -> dict[str, Any]:
    """An encoded object by its names; base64 for bytes that are none."""
    try:
        service, key = decode_object(encoded)
    except ValueError:
        return {"base64": b64encode(encoded).decode()}
    return {"service": service, "key": key}


def bound(encoded: bytes) -> dict[str, Any] | str:
    """An end of a range of objects."""
    if not encoded:
        return "start"
    if encoded == END:
        return "end"
    if TERMINATOR not in encoded and encoded.endswith(b"\0\x02"):
        try:
            service = encoded[:-2].replace(b"\0\xff", b"\0").decode()
        except UnicodeDecodeError:
            return object_dict(encoded)
        if service_range(service)[1] == encoded:
            return {"end_of_service": service}
    return object_dict(encoded)
