"""The compiled kernel, where one was built: twins in C of what sessions and commits do most.

Everything here has its twin in plain Python, which decides what is right; an
installation without a compiler runs on that alone. KVENGINE_KERNEL=off in the
environment does so too, to compare the two, or to tell whose a bug is.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

record_of_sets: Callable[..., bytes] | None = None
"""The twin of `format.wal.record_of_sets`."""

install: Callable[[dict[str, Any]], None] | None = None
"""Puts the shortcuts in place (shortcuts.py)."""

if os.environ.get("KVENGINE_KERNEL", "on") != "off":
    with suppress(ImportError):
        from kvengine.kernel._kernel import install as install
        from kvengine.kernel._kernel import record_of_sets as record_of_sets

COMPILED = install is not None
"""Whether the kernel is in use."""
