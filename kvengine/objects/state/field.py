"""A field of a typed state: its entry, its type, its default."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin
from uuid import UUID

from kvengine.errors import FieldError, SerdeError
from kvengine.serdes.base import Serde
from kvengine.serdes.codec import Codec, type_name
from kvengine.serdes.json import JSONFieldSerde, JSONSerde, decoder_of
from kvengine.serdes.json import encode as encode_json
from kvengine.serdes.raw import BytesSerde
from kvengine.serdes.registry import SerdeChoice, find
from kvengine.storage.names import check_name
from kvengine.storage.times import duration

MISSING: Any = type("Missing", (), {"__repr__": lambda _: "<no default>"})()
"""The default of a field that has none."""

PLAIN = frozenset({int, str, bool, float, NoneType})
"""Types whose values every serde stores as they are: nothing to check beyond the type."""

UNCHANGING: frozenset[object] = PLAIN | {bytes, date, datetime, time, timedelta, Decimal, UUID}
"""Types whose values cannot change in place."""

_EXACT = frozenset({int, str, bool, NoneType})
"""Types whose every value JSON has, but for what no encoder takes. Of floats it lacks some."""

_BYTES = BytesSerde()
_JSON = JSONFieldSerde()


class Field:
    """Reads one attribute of a state the first time; the instance keeps it from then on.

    ``state_key`` is the entry it lives in; ``aliases`` are entries that it may
    lie in yet, from before it was renamed. ``ttl``: how long a value lives from the commit that
    sets it, in microseconds; None for one that stays.
    """

    __slots__ = (
        "aliases",
        "attribute",
        "default",
        "factory",
        "from_json",
        "in_json",
        "plain",
        "resolve",
        "serde",
        "state_key",
        "ttl",
        "type",
    )

    def __init__(
        self,
        default: Any,
        factory: Callable[[], Any] | None,
        state_key: str | None,
        aliases: tuple[str, ...],
        serde: SerdeChoice | None,
        ttl: int | None,
    ) -> None:
        self.default: Any = default
        self.factory: Callable[[], Any] | None = factory
        self.aliases: tuple[str, ...] = aliases
        self.serde = serde
        self.ttl: int | None = ttl
        self.attribute: str = ""
        self.state_key: str = state_key  # type: ignore[assignment]  # settled by `belongs`
        self.type: Any = None
        self.plain: frozenset[type] = frozenset()
        self.in_json: Serde | None = None
        """What JSON cannot store itself: the serde in its place."""
        self.from_json: Callable[[bytes], Any] | None = None
        """The decoder of a plain type, for the commonest serde."""
        self.resolve: Callable[[], object] | None = None
        """Settles the type, where the annotation names what was not yet defined."""

    def copied(self) -> Field:
        """Return a field as declared, for another class."""
        how = self.serde, self.ttl
        return Field(self.default, self.factory, self.state_key, self.aliases, *how)

    def belongs(self, attribute: str) -> None:
        """Take the attribute's name, for the state key too where none was given."""
        self.attribute = attribute
        if self.state_key is None:
            self.state_key = attribute  # type: ignore[unreachable]

    def settle(self, wanted: Any) -> None:
        """Take the type that the annotation names."""
        self.type = wanted
        self.plain = _plain(wanted)
        if bytes in _parts(wanted):
            self.in_json = _BYTES if wanted is bytes else _JSON
        if self.plain and self.serde is None:
            self.from_json = decoder_of(wanted)
        self.resolve = None
        if self.plain and self.default is not MISSING:
            allowed = self.plain | {int} if float in self.plain else self.plain
            if not isinstance(self.default, tuple(allowed)):
                raise TypeError(
                    f"the default of field {self.attribute!r} is {self.default!r}, not"
                    f" {type_name(wanted)}"
                )

    def __get__(self, state: Any, owner: type) -> Any:
        return self if state is None else state._kv_load(self)

    def initial(self, owner: type) -> Any:
        """The default, a copy of its own where it could change; AttributeError for none."""
        if self.factory is not None:
            return self.factory()
        if self.default is MISSING:
            raise AttributeError(
                f"{owner.__qualname__}.{self.attribute} is not set, and has no default"
            )
        if type(self.default) in UNCHANGING:
            return self.default
        return copy.deepcopy(self.default)

    # --- values and bytes

    def encode(self, codec: Codec, owner: type, value: Any) -> tuple[bytes, Any]:
        """The bytes of a value, and the value as the field's type has it.

        That is ``value`` itself wherever it is of the type already. FieldError
        where it does not fit.
        """
        if self.resolve is not None:
            self.resolve()
        kind = type(value)
        if (
            kind in _EXACT
            and kind in self.plain
            and self.serde is None
            and type(codec._serde) is JSONSerde
        ):
            try:
                return encode_json(value), value
            except Exception:  # the way below says what is wrong
                pass
        try:
            data = codec._encode(self.state_key, value, self._serde(codec))
            if type(value) in self.plain:
                return data, value
            found = codec._decode(self.state_key, data, self.type, self._serde(codec))
        except SerdeError as error:
            reason = f"{owner.__qualname__}.{self.attribute}: {error.reason}"
            raise FieldError(*codec._name, self.state_key, reason) from error
        return data, value if _same(value, found) else found

    def decode(self, codec: Codec, owner: type, data: bytes, state_key: str | None = None) -> Any:
        """The value of stored bytes; SerdeError names the field where they do not fit it."""
        if self.resolve is not None:
            self.resolve()
        if self.from_json is not None and type(codec._serde) is JSONSerde:
            try:
                return self.from_json(data)
            except Exception:
                pass
        at = self.state_key if state_key is None else state_key
        try:
            return codec._decode(at, data, self.type, self._serde(codec))
        except SerdeError as error:
            reason = f"{owner.__qualname__}.{self.attribute}: {error.reason}"
            raise SerdeError(*codec._name, at, reason) from error

    def _serde(self, codec: Codec) -> SerdeChoice | None:
        if self.serde is None and type(codec._serde) is JSONSerde:
            return self.in_json
        return self.serde

    def __repr__(self) -> str:
        return f"<field {self.attribute}: {type_name(self.type)}, entry {self.state_key!r}>"


def field(
    *,
    default: Any = MISSING,
    default_factory: Callable[[], Any] | None = None,
    alias: str | tuple[str, ...] = (),
    state_key: str | None = None,
    serde: SerdeChoice | None = None,
    ttl: float | timedelta | None = None,
) -> Any:
    """Declare a field of a typed state that needs more than a default.

    ``alias``: the state key, or keys, that the field had before: read where its
    own entry is absent, cleared when the field is set or deleted. ``state_key``:
    the entry to live in, where the attribute's name will not do.
    ``default_factory`` makes a default anew for each state. ``serde``: of this field.
    ``ttl``: seconds or a timedelta after which a value is gone, and the field reads as its
    default; it counts from the commit that sets or changes the field, each time anew.
    """
    if default is not MISSING and default_factory is not None:
        raise TypeError("field() takes default= or default_factory=, not both")
    if default_factory is not None and not callable(default_factory):
        raise TypeError("default_factory must be callable")
    if not isinstance(alias, (str, tuple, list)):
        raise TypeError(f"alias must be a str or several, not {type(alias).__name__}")
    aliases = (alias,) if isinstance(alias, str) else tuple(alias)
    for name in aliases:
        check_name("alias", name)
    if state_key is not None:
        check_name("state_key", state_key)
    chosen = None if serde is None else find(serde)
    lifetime = None if ttl is None else duration("ttl", ttl)
    return Field(default, default_factory, state_key, aliases, chosen, lifetime)


def _plain(wanted: Any) -> frozenset[type]:
    """Classes whose every instance is a value of this type; empty where values must be checked."""
    parts = _parts(wanted)
    plain = all(isinstance(part, type) and part in PLAIN for part in parts)
    return frozenset(parts) if plain else frozenset()


def _parts(wanted: Any) -> list[Any]:
    """The types of a union; else the type alone. Annotated ones stay as they are."""
    parts = get_args(wanted) if get_origin(wanted) in (Union, UnionType) else (wanted,)
    return [NoneType if part is None else part for part in parts]


def _same(value: Any, found: Any) -> bool:
    """Whether a value is what it would load as; then the caller's own object stays."""
    try:
        return type(value) is type(found) and bool(value == found)
    except Exception:  # whatever a foreign __eq__ raises
        return False
