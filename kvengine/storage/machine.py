"""What commits and sessions ask of the machine: a lock, the thread, the time, references.

Beside this stands a compiled twin. A lock taken through the methods of `threading.Lock` costs more
than a tenth of a commit, most of it to find the methods.
"""

from _thread import RLock, get_ident
from builtins import vars as values_of
from collections.abc import Callable
from typing import Any
from weakref import ref

from kvengine.real_time import wall_ns as time_ns

__all__ = ["Lock", "get_ident", "new", "ref", "references", "time_ns", "values_of"]


class Lock(RLock):  # type: ignore[misc]
    """A lock that knows whether this thread has it: ask `mine` before it is taken.

    A signal handler or a finalizer runs in the midst of what its thread does, so it must not wait
    for what that thread has. Taken by it all the same, this lock would let it in.
    """

    __slots__ = ()

    mine: Callable[[], bool] = RLock._is_owned  # type: ignore[attr-defined]
    """Return whether this thread has the lock. In C: it costs no Python frame."""

    def locked(self) -> bool:
        """Return whether some thread has the lock."""
        return not repr(self).startswith("<unlocked")


references = id
"""How many references there are to an object. Nothing says that in plain Python without counting
those of the interpreter's own stack: this is no count, and greater than any.
"""


def new(kind: Any) -> Any:
    """Return an instance of a class without calling its `__init__`."""
    return kind.__new__(kind)
