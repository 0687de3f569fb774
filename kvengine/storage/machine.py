"""What each commit asks of the machine: a lock, the number of its thread, the time.

Beside this stands a compiled twin. A lock taken through the methods of `threading.Lock` costs more
than a tenth of a commit, most of it to find the methods.
"""

from threading import Lock, get_ident
from time import time_ns

__all__ = ["Lock", "get_ident", "time_ns"]
