"""How long a typed state lives."""

from __future__ import annotations

import gc
import weakref

import kvengine


class Counter(kvengine.State):
    n: int = 0


def test_a_state_goes_with_its_block(obj: kvengine.VirtualObject) -> None:
    """State and session refer to each other while the block runs, and not after it.

    Left to the collector, a thousand sessions would cost as much again as one collection does.
    """
    gc.disable()
    try:
        with obj.session(Counter) as state:
            state.n += 1
        alive = weakref.ref(state)
        del state
        assert alive() is None
    finally:
        gc.enable()
