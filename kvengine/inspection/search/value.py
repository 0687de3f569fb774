"""What a search asks of values: bytes in them, nodes of their JSON, what those are."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from kvengine.errors import KVEngineError
from kvengine.inspection.document import is_too_deep, json_of

_SHOWN = 60
_BEFORE = 16
_DEPTH = 200

ANYTHING: Final = object()
"""For ``equals``: no value is asked for. None is one, JSON's null."""

Match = tuple[str, str]
"""Where it matched, and an excerpt from there."""


class Matcher:
    """Asks one value; ``unread`` counts those nested too deeply for the path."""

    def __init__(self, contains: bytes | None, path: Any, equals: object) -> None:
        self._contains = contains
        self._path = path
        self._equals = equals
        self.unread: int = 0

    def match(self, value: bytes) -> Match | None:
        """Where all that is asked for holds, None where it does not."""
        found: Match | None = None
        if self._contains is not None:
            at = value.find(self._contains)
            if at < 0:
                return None
            found = f"offset {at}", beginning(value, max(0, at - _BEFORE))
        if self._path is None and self._equals is ANYTHING:
            return found
        data, is_json = json_of(value)
        if not is_json:
            self.unread += is_too_deep(value)
            return None
        return self._node(data)

    def _node(self, data: Any) -> Match | None:
        """The first node that the path selects and that is what was asked for."""
        if self._path is None:
            return ("$", _json(data)) if same(data, self._equals) else None
        import jsonpath

        # The library would parse a str once more; like null, it has no nodes below it.
        root = None if isinstance(data, str) else data
        try:
            for node in self._path.finditer(root):
                found = data if node.path == "$" else node.obj
                if self._equals is ANYTHING or same(found, self._equals):
                    return node.path, _json(found)
        except (jsonpath.JSONPathError, RecursionError):
            self.unread += 1
        return None


def matcher(contains: str | bytes | None, json_path: str | None, equals: object) -> Matcher | None:
    """What to ask of values; None for nothing. ValueError for what makes no sense."""
    if contains is None and json_path is None and equals is ANYTHING:
        return None
    if isinstance(contains, str):
        contains = contains.encode()
    if contains is not None and not contains:
        raise ValueError("contains must not be empty: every value holds that")
    return Matcher(contains, None if json_path is None else _compiled(json_path), equals)


def same(one: Any, other: Any) -> bool:
    """Whether two are the same JSON: numbers by value, true not 1, members in any order."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def beginning(value: bytes, at: int = 0) -> str:
    """Some characters of a value from about ``at`` on; bytes that are none as ``\\xff``."""
    return value[_edge(value, at) : _edge(value, at + _SHOWN)].decode("utf-8", "backslashreplace")


def _edge(value: bytes, at: int) -> int:
    """``at``, or behind the character of which it is in the midst."""
    for end in range(at, min(at + 4, len(value))):
        if value[end] & 0xC0 != 0x80:
            return end
    return at


def _json(data: Any) -> str:
    return msgspec.json.encode(data).decode()[:_SHOWN]


def _compiled(path: str) -> Any:
    try:
        import jsonpath
    except ImportError:
        raise KVEngineError(
            "a search by JSON path needs python-jsonpath: pip install 'kvengine[cli]'"
        ) from None
    environment = jsonpath.JSONPathEnvironment(strict=True)
    environment.max_recursion_depth = _DEPTH
    try:
        return environment.compile(path)
    except jsonpath.JSONPathError as error:
        reason = error.args[0] if error.args else error
        raise ValueError(f"json_path {path!r} is no query of RFC 9535: {reason}") from None
