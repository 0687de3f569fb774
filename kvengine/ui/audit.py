"""The audit: a line for every write, done or refused, with names that are safe on a terminal."""

from __future__ import annotations

import logging
import sys

from kvengine.inspection import escape

log: logging.Logger = logging.getLogger("kvengine.ui.audit")

_LONGEST = 200


def name(text: str) -> str:
    """A name as the audit shows it: escaped, and cut where it is very long."""
    return escape.text(text, _LONGEST)


def done(what: str, result: str) -> None:
    """A write that was carried out, or found its object changed."""
    log.info("%s: %s", what, result)


def refused(what: str, status: int, reason: str) -> None:
    """A write that was refused before it reached the store, or by it."""
    log.warning("%s: refused (%d), %s", what, status, reason)


def to_terminal() -> logging.Handler:
    """Show the audit on standard error, with times; the handler, to be taken away again."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    return handler
