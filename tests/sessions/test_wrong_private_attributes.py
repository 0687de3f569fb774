"""Private attributes of sessions set to a wrong type: an exception, and the object is free after.

Compiled, a session reads its attributes as what they are declared to be, so a wrong one must be
refused where it is set or where it is used.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

import kvengine
from kvengine import compiled
from kvengine.fs.memory import MemoryFileSystem

WRONG: tuple[Any, ...] = (None, "text", b"bytes", 1.5, -(1 << 70), object(), [], {1: 2}, (None,))


class Counter(kvengine.State):
    n: int = 0
    seen: list[int] = []


ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "session": ("_handle", "_moment", "_open", "_settings", "_state"),
    "block": ("_handle", "_kind", "_session", "_settings", "call", "claim", "task"),
    "working": (
        "_base",
        "_changes",
        "_complete",
        "_expire",
        "_keys",
        "_some_keys",
        "_ttls",
        "_version",
    ),
    "host": ("committer", "hold", "reader", "max_value_size", "serdes", "turns"),
    "state": ("_kv_cells", "_kv_codec", "_kv_watched"),
    "moment": ("name", "version"),
    "handle": ("_host", "_name", "_retention", "_serde"),
}


def misuse(
    db: kvengine.Engine,
    handle: kvengine.VirtualObject,
    owner: str,
    name: str,
    wrong: Any,
    *,
    preload: bool,
) -> None:
    """Enter a session, set one attribute to a wrong value, use all verbs, and forget it."""
    block: Any = handle.session(Counter, preload=preload)
    state = block.__enter__()
    session: Any = kvengine.session_of(state)
    owners = {
        "session": session,
        "block": block,
        "working": session,
        "host": db._host,
        "state": state,
        "moment": session._moment,
        "handle": session._handle,
    }
    uses: list[Callable[[], object]] = [
        lambda: session.get("n"),
        lambda: session.set("n", 2),
        session.state_keys,
        session.get_all,
        lambda: session.clear("x"),
        lambda: setattr(state, "n", 5),
        lambda: state.seen,
        session.commit,
        lambda: block.__exit__(None, None, None),
        block._leave,
    ]
    before = getattr(owners[owner], name, None)
    with suppress(TypeError, AttributeError, OverflowError):
        setattr(owners[owner], name, wrong)
    for use in uses:
        with suppress(Exception):
            use()
    with suppress(TypeError, AttributeError):
        setattr(owners[owner], name, before)


@pytest.mark.skipif(compiled.form != "compiled", reason="plain Python declares no types")
@pytest.mark.parametrize("preload", [True, False])
@pytest.mark.parametrize("owner", ATTRIBUTES)
def test_a_wrong_private_attribute_of_a_session(owner: str, preload: bool) -> None:
    """Whatever a session is made to use, no crash follows, and the next one has the object."""
    with kvengine.open("/db", fs=MemoryFileSystem(), background="none", durability="os") as db:
        for name in ATTRIBUTES[owner]:
            for number, wrong in enumerate(WRONG):
                handle = db.object("S", f"k{number}")
                handle.set("n", 1)
                misuse(db, handle, owner, name, wrong, preload=preload)
            gc.collect()
            for number, wrong in enumerate(WRONG):
                with db.object("S", f"k{number}").session(timeout=1) as again:
                    assert again.get("n") in (1, 2, 5), (name, wrong)
        assert db.verify() == []
