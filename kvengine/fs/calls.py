"""The system calls that commits and cold reads consist of: write and pread, as in `os`.

Beside this stands a compiled twin, which keeps the interpreter lock over a short call: whoever
gives it up to a busy thread gets it back after 5 ms, a thousand times what the call takes.
"""

from os import pread, write

__all__ = ["pread", "write"]
