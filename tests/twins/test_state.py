"""States and changes: the compiled form is what the plain one is, and frees what it holds."""

from __future__ import annotations

import gc
import weakref
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.twins.forms import only_compiled, outcome, twins

pytestmark = only_compiled
fast, plain = twins("kvengine.storage.state")

ROWS = st.lists(st.binary(min_size=2, max_size=20), min_size=1, max_size=12)
STAMPS = st.integers(0, (1 << 63) - 1)


def chain(module: Any, rows: list[bytes], stamp: int, fresh: int) -> Any:
    """States one below the other, each with the one before."""
    state = None
    for row in rows:
        state = module.state_of(stamp, row, state, fresh, state)
    return state


def content(state: Any) -> tuple[Any, ...]:
    before = state.prev.rows if state.prev is not None else None
    return state.stamp, state.row, state.rows, state.fresh, state.hides, before


@given(ROWS, STAMPS, st.integers(0, 9))
def test_states_are_those_of_the_plain_form(rows: list[bytes], stamp: int, fresh: int) -> None:
    made = [chain(module, rows, stamp, fresh) for module in (fast, plain)]
    assert content(made[0]) == content(made[1])
    marks = ((b"a", b"b", stamp),)
    tombstones = [
        module.TombstoneState(marks, stamp, state)
        for module, state in zip((fast, plain), made, strict=True)
    ]
    for found in tombstones:
        assert (found.tombstones, found.stamp, found.rows) == (marks, stamp, (fast.NO_ROW,))
    assert isinstance(tombstones[0], fast.State)
    assert fast.NO_ROW == plain.NO_ROW


@pytest.mark.parametrize(
    "args",
    [
        (None, b"row", None, 1, None),
        ("1", b"row", None, 1, None),
        (1, None, None, 1, None),
        (1, "row", None, 1, None),
        (1, b"r", None, 1, None),
        (1, b"row", b"row", 1, None),
        (1, b"row", None, None, None),
        (1, b"row", None, 1, "state"),
        (1 << 64, b"row", None, 1, None),
    ],
    ids=str,
)
def test_what_is_no_state_is_refused(args: tuple[Any, ...]) -> None:
    for make in (fast.State, fast.state_of):
        with pytest.raises((TypeError, ValueError, OverflowError)):
            make(*args)


def test_changes_are_those_of_the_plain_form() -> None:
    for args in ((("s", "k"), {"n": b"v", "m": None}, b"row"), (("s", "k"), None, b"row")):
        for make in (fast.change_of, fast.Change, plain.Change):
            made = make(*args)
            assert (made.name, made.entries, made.row, made.known) == (*args, None)
    for make in (fast.change_of, fast.Change):
        assert outcome(make, None, None, b"row") == ("raises", TypeError)
        assert outcome(make, ("s", "k"), [], b"row") == ("raises", TypeError)
        assert outcome(make, ("s", "k"), None, "row") == ("raises", TypeError)


def test_what_a_state_holds_goes_with_it() -> None:
    """No reference is left over, and the collector has nothing to do with it."""
    rows = [b"%05d" % n for n in range(1000)]
    state = chain(fast, rows, 1, 1)
    assert not gc.is_tracked(state)
    middle = state
    for _ in range(500):
        middle = middle.prev
    names = {"n": b"v"}
    change = fast.change_of(("s", "k"), names, rows[0])
    change.state = state
    del state, change
    assert middle.row == rows[499] and len(middle.rows) == 500
    steps = [middle]
    while steps[-1].prev is not None:
        steps.append(steps[-1].prev)
    assert all(newer.below is older for newer, older in pairwise(steps))
    with pytest.raises(TypeError):
        weakref.ref(middle)
