"""What each commit asks of the machine: a lock, the number of its thread, the time, references.

Beside this stands a compiled twin. A lock taken through the methods of `threading.Lock` costs more
than a tenth of a commit, most of it to find the methods.
"""

from threading import Lock, get_ident
from time import time_ns
from weakref import ref

__all__ = ["Lock", "get_ident", "ref", "references", "time_ns"]

references = id
"""How many references there are to an object. Nothing says that in plain Python without counting
those of the interpreter's own stack: this is no count, and greater than any.
"""
