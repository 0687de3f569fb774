"""`State`: attributes that are the entries of an object."""

from __future__ import annotations

import inspect
import re
import sys
from functools import partial
from types import SimpleNamespace
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    dataclass_transform,
    get_origin,
    get_type_hints,
)

from kvengine.objects.state.cells import Detached
from kvengine.objects.state.field import MISSING, Field
from kvengine.objects.state.stored import Stored, forget
from kvengine.serdes.codec import codec_of
from kvengine.serdes.json import JSONSerde

_NOWHERE = codec_of(("", ""), JSONSerde())
"""Of states without a session."""


# Without `field_specifiers`: to type checkers `alias` there is the name of an argument, and here it
# is an entry. So they take each field(...) for a default.
@dataclass_transform(eq_default=False, kw_only_default=True)
class State(Stored):
    """The base of typed states. Annotated attributes are fields, each an entry of the object::

        class Greeter(kvengine.State):
            name: str = "world"
            count: int = 0

        with db.object("Greeter", "alice").session(Greeter) as state:
            state.count += 1

    A field is validated when it is first read and when it is set; ``del``
    clears its entry, and it reads as its default again. A value changed in
    place (a list appended to) is noticed when the session commits. Entries that
    no field names are kept as they are. Made by itself, ``Greeter(count=3)``
    lives in memory, for tests.

    SerdeError where stored bytes do not fit the field, FieldError (a TypeError
    too) where a value does not; both name it.
    """

    __slots__ = ("__dict__",)

    _kv_own: ClassVar[dict[str, Field]] = {}

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        annotations = {
            name: one
            for name, one in inspect.get_annotations(cls).items()
            if not _is_class_variable(one)
        }
        own = {name: _declared(cls, name) for name in annotations}
        fields: dict[str, Field] = {}
        for base in reversed(cls.__mro__):
            fields.update(vars(base).get("_kv_own", {}) if base is not cls else own)
        cls._kv_own, cls._kv_fields = own, fields
        for name, one in fields.items():
            if vars(cls).get(name, one) is not one:
                raise TypeError(f"{cls.__qualname__}.{name} hides a field: annotate it")
        _refuse_shared_entries(cls, fields)
        frame = sys._getframe(1)
        module = vars(sys.modules[cls.__module__]) if cls.__module__ in sys.modules else {}
        scopes = [module, frame.f_globals]
        if frame.f_globals.get("__name__") != cls.__module__:
            scopes.reverse()  # a metaclass in Python stands between
        elif frame.f_locals is not frame.f_globals:
            scopes.append(dict(frame.f_locals))
        _resolve(own, annotations, scopes, final=False)

    def __init__(self, **values: Any) -> None:
        """A state in memory alone, with the fields of these values."""
        self._kv_bind(Detached(), _NOWHERE)
        for name, value in values.items():
            setattr(self, name, value)

    # --- what people call; names that no field may have

    def commit(self) -> int | None:
        """Commit what has changed so far; see `Session.commit`.

        With asyncio: ``await kvengine.aio.session_of(state).commit()``.
        """
        return self._kv_cells._commit()

    def clear_all(self) -> None:
        """Clear every entry of the object, those that no field names too."""
        self._kv_cells.clear_all()
        forget(self)

    def complete(self) -> None:
        """Complete the workflow with the commit; see `Session.complete`."""
        self._kv_cells.complete()

    if not TYPE_CHECKING:  # or every misspelt attribute would pass the type check
        __setattr__ = Stored._kv_assign
        __delattr__ = Stored._kv_remove

    def __repr__(self) -> str:
        known = ", ".join(f"{name}={value!r}" for name, value in self.__dict__.items())
        return f"{type(self).__qualname__}({known})"

    # --- what a session calls

    @classmethod
    def _kv_entries(cls) -> tuple[str, ...]:
        """The state keys that fields may lie in."""
        found = cls._kv_fields.values()
        return tuple(name for one in found for name in (one.state_key, *one.aliases))


def _resolve(
    fields: dict[str, Field],
    annotations: dict[str, Any],
    scopes: list[dict[str, Any]],
    *,
    final: bool,
) -> None:
    """Settle the types of a class's own fields; those that name the unknown are left for later.

    ``scopes``: the names of the module that the class stands in, and of what is around it
    there, the nearest last. ``final``: NameError for the unknown.
    """
    names = {name: one for scope in scopes for name, one in scope.items()}
    for name, one in fields.items():
        alone = SimpleNamespace(__annotations__={name: annotations[name]})
        try:
            one.settle(get_type_hints(alone, names, include_extras=True)[name])
        except NameError:
            if final:
                raise
            one.resolve = partial(_resolve, {name: one}, annotations, scopes, final=True)


def _declared(cls: type[State], attribute: str) -> Field:
    """The field that an annotation declares; it takes the place of the default."""
    if attribute.startswith("_"):
        raise TypeError(
            f"{cls.__qualname__}.{attribute}: a field may not begin with an underscore;"
            " field(state_key=...) lets it live in any entry"
        )
    if hasattr(State, attribute):
        raise TypeError(
            f"{cls.__qualname__}.{attribute} is a verb of every state; name the field otherwise,"
            f" with field(state_key={attribute!r})"
        )
    given = vars(cls).get(attribute, MISSING)
    # A copy: the same field(...) may stand in another class, under another name.
    one = given.copied() if isinstance(given, Field) else Field(given, None, None, (), None, None)
    one.belongs(attribute)
    setattr(cls, attribute, one)
    return one


def _is_class_variable(annotation: Any) -> bool:
    if isinstance(annotation, str):
        return re.match(r"(\w+\.)*ClassVar\b", annotation) is not None
    return annotation is ClassVar or get_origin(annotation) is ClassVar


def _refuse_shared_entries(cls: type[State], fields: dict[str, Field]) -> None:
    taken: dict[str, str] = {}
    for attribute, one in fields.items():
        for state_key in (one.state_key, *one.aliases):
            if state_key in taken:
                raise TypeError(
                    f"{cls.__qualname__}: the fields {taken[state_key]!r} and {attribute!r}"
                    f" both live in entry {state_key!r}"
                    if taken[state_key] != attribute
                    else f"{cls.__qualname__}.{attribute} names entry {state_key!r} twice"
                )
            taken[state_key] = attribute
