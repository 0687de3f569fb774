"""State as a `MutableMapping`: state keys to values."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any, Protocol

_ABSENT = object()


class Verbs(Protocol):
    """What a mapping is made of: an object, or a session of one."""

    def get(self, name: str, default: Any = None, /) -> Any: ...

    def __contains__(self, name: str, /) -> bool: ...

    def set(self, name: str, value: Any, /) -> object: ...

    def clear(self, name: str, /) -> object: ...

    def clear_all(self) -> object: ...

    def state_keys(self) -> list[str]: ...

    def get_all(self) -> dict[str, Any]: ...


class StateMapping(MutableMapping[str, Any]):
    """The entries of an object, in key order. What it returns are copies: to change one, set it.

    Over an object each operation is one read or one commit; over a session it
    is part of the session.
    """

    __slots__ = ("_verbs",)

    def __init__(self, verbs: Verbs) -> None:
        self._verbs = verbs

    def __getitem__(self, name: str) -> Any:
        value = self._verbs.get(name, _ABSENT) if isinstance(name, str) else _ABSENT
        if value is _ABSENT:
            raise KeyError(name)
        return value

    def __setitem__(self, name: str, value: Any) -> None:
        self._verbs.set(name, value)

    def __delitem__(self, name: str) -> None:
        if name not in self:
            raise KeyError(name)
        self._verbs.clear(name)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._verbs

    def __iter__(self) -> Iterator[str]:
        return iter(self._verbs.state_keys())

    def __len__(self) -> int:
        return len(self._verbs.state_keys())

    def clear(self) -> None:
        """Clear every entry of the object: one small write, its expiry goes too."""
        self._verbs.clear_all()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._verbs.get_all()!r})"
