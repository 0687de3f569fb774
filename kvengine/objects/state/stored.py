"""What a typed state knows of its entries: values that were read or set, and where they lie."""

from __future__ import annotations

from typing import Any, TypeVar

from kvengine.errors import ReadOnly
from kvengine.objects.state.cells import Cells
from kvengine.objects.state.field import UNCHANGING, Field
from kvengine.serdes.codec import Codec
from kvengine.storage.machine import new, values_of

K = TypeVar("K", bound="Stored")

_NO_FIELDS: dict[str, Field] = {}
_OWN = ("_kv_cells", "_kv_codec", "_kv_watched")


class Stored:
    """The values of the fields of a `State`, in its ``__dict__`` from their first use on.

    ``_kv_cells``: the entries beneath. ``_kv_watched``: by attribute, the bytes of values that
    can change in place.
    """

    __slots__ = _OWN

    _kv_fields = _NO_FIELDS
    _kv_cells: Cells
    _kv_codec: Codec
    _kv_watched: dict[str, bytes]

    def _kv_load(self, field: Field) -> Any:
        kind, codec, cells = type(self), self._kv_codec, self._kv_cells
        state_key = field.state_key
        data = cells._read(state_key)
        if data is None and field.aliases:
            for state_key in field.aliases:
                data = cells._read(state_key)
                if data is not None:
                    break
        if data is not None:
            value = field.decode(codec, kind, data, state_key)
        else:
            value = field.initial(kind)
        values_of(self)[field.attribute] = value
        if type(value) not in UNCHANGING:
            # Not the stored bytes: whoever wrote those may write otherwise, or with less in them.
            self._kv_watched[field.attribute] = field.encode(codec, kind, value)[0]
        return value

    def _kv_bind(self, cells: Cells, codec: Codec) -> None:
        self._kv_cells = cells
        self._kv_codec = codec
        self._kv_watched = {}

    def _kv_assign(self, name: str, value: Any) -> None:
        """Set an attribute: `State.__setattr__`."""
        fields = type(self)._kv_fields
        field = fields.get(name)
        if field is None:
            if name not in _OWN:
                self._kv_beside(name, "it would not be stored")
            object.__setattr__(self, name, value)
        else:
            self._kv_set(field, value)

    def _kv_remove(self, name: str) -> None:
        """Delete an attribute: `State.__delattr__`."""
        fields = type(self)._kv_fields
        field = fields.get(name)
        if field is None:
            self._kv_beside(name, "there is nothing to clear")
            object.__delattr__(self, name)
        else:
            self._kv_clear(field)

    def _kv_beside(self, name: str, consequence: str) -> None:
        """AttributeError for what is neither a field nor a property."""
        kind = type(self)
        if not isinstance(getattr(kind, name, None), property):
            raise AttributeError(f"{kind.__qualname__} has no field {name!r}: {consequence}")

    def _kv_set(self, field: Field, value: Any) -> None:
        data, value = field.encode(self._kv_codec, type(self), value)
        self._kv_cells._write(field.state_key, data, field.ttl)
        for alias in field.aliases:
            self._kv_cells._erase(alias)
        values_of(self)[field.attribute] = value
        if type(value) not in UNCHANGING:
            self._kv_watched[field.attribute] = data
        elif self._kv_watched:
            self._kv_watched.pop(field.attribute, None)

    def _kv_clear(self, field: Field) -> None:
        for state_key in (field.state_key, *field.aliases):
            self._kv_cells._erase(state_key)
        self._kv_watched.pop(field.attribute, None)
        values_of(self).pop(field.attribute, None)


def over(kind: type[K], cells: Cells, codec: Codec) -> K:
    """Return a state whose entries are those of a session."""
    state: K = new(kind)
    state._kv_cells = cells  # `_kv_bind` does this too; a method that may be replaced costs more
    state._kv_codec = codec
    state._kv_watched = {}
    return state


def collect(state: Stored) -> None:
    """Write what was changed in place; ReadOnly where only reads are allowed."""
    watched = state._kv_watched
    if not watched:
        return
    kind, codec, cells = type(state), state._kv_codec, state._kv_cells
    for name, before in list(watched.items()):
        field = kind._kv_fields[name]
        data, _ = field.encode(codec, kind, values_of(state)[name])
        if data == before:
            continue
        try:
            cells._write(field.state_key, data, field.ttl)
        except ReadOnly as error:
            raise ReadOnly(
                f"{kind.__qualname__}.{name} was changed in place in a read-only session,"
                " which writes nothing"
            ) from error
        for alias in field.aliases:
            cells._erase(alias)
        watched[name] = data


def forget(state: Stored, state_key: str | None = None) -> None:
    """The entry (None: every one) was changed beside this state: read it anew."""
    values, watched = values_of(state), state._kv_watched
    if state_key is None:
        values.clear()
        watched.clear()
        return
    for name, field in type(state)._kv_fields.items():
        if state_key == field.state_key or state_key in field.aliases:
            values.pop(name, None)
            watched.pop(name, None)
