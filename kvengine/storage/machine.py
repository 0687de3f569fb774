"""What commits and sessions ask of the machine: a lock, the thread, the time, references.

Beside this stands a compiled twin. A lock taken through the methods of `threading.Lock` costs more
than a tenth of a commit, most of it to find the methods.
"""

from builtins import vars as values_of
from threading import Lock, get_ident
from typing import Any
from weakref import ref

from kvengine.real_time import wall_ns as time_ns

__all__ = ["Lock", "get_ident", "new", "ref", "references", "time_ns", "values_of"]

references = id
"""How many references there are to an object. Nothing says that in plain Python without counting
those of the interpreter's own stack: this is no count, and greater than any.
"""


def new(kind: Any) -> Any:
    """Return an instance of a class without calling its `__init__`."""
    return kind.__new__(kind)
