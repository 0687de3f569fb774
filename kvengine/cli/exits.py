"""Exit codes: what a script learns without reading a word. Documented in docs/cli.md; frozen."""

from __future__ import annotations

DONE = 0
"""Done, or there was nothing to do."""
NO = 1
"""The answer is no: no such service, object or entry, no hit, damage found, a copy not equal."""
USAGE = 2
"""Wrong usage, or a URL that makes no sense; nothing was read or written."""
CONFLICT = 3
"""An edit met a version that it had not read; nothing was written."""
UNAVAILABLE = 4
"""The database cannot be opened, owned or reached."""
DAMAGED = 5
"""Damaged bytes were in the way."""
FAILED = 6
"""Anything else went wrong: I/O, a limit, a connection that broke off."""
DECLINED = 7
"""Asked, and the answer was not yes; nothing was written."""
INTERRUPTED = 130


class Exit(Exception):
    """End with a code, and a sentence on standard error unless it is empty."""

    def __init__(self, code: int, message: str = "") -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
