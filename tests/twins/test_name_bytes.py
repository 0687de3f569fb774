"""Names as bytes: the compiled form encodes and judges them as the plain one does."""

from __future__ import annotations

import enum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvengine.storage.names import decode_object, is_object
from tests.twins.forms import only_compiled, outcome, twins

pytestmark = only_compiled
fast, plain = twins("kvengine.storage.name_bytes")

ODD = st.text("\0\1a\xff\u20ac\U0001f600\ud800", max_size=6)
TEXTS = st.text(max_size=50) | ODD | st.sampled_from([65_535, 65_536, 65_537]).map("n".__mul__)


class Name(enum.StrEnum):
    """A name that is no plain str."""

    CART = "Cart"


@given(TEXTS, TEXTS)
def test_objects_are_encoded_alike(service: str, key: str) -> None:
    found = outcome(fast.encode_object, service, key)
    assert found == outcome(plain.encode_object, service, key)
    if found[0] == "returns":
        assert is_object(found[1]) and decode_object(found[1]) == (service, key)


@given(st.lists(TEXTS | st.sampled_from([None, 5, b"a", Name.CART]), min_size=2, max_size=3))
def test_names_are_judged_alike(names: list[Any]) -> None:
    assert fast.are_ascii_names(*names) is plain.are_ascii_names(*names)


@pytest.mark.parametrize("args", [(None, "a"), ("a", None), (b"a", "a"), ("a", 5)], ids=str)
def test_what_is_no_name_is_a_type_error(args: tuple[Any, Any]) -> None:
    with pytest.raises(TypeError):
        fast.encode_object(*args)


@given(st.lists(st.binary(max_size=3), max_size=20), st.binary(max_size=3))
def test_the_last_name_up_to_another(names: list[bytes], name: bytes) -> None:
    ordered = sorted(names)
    for wanted in (name, b"", b"\xff" * 4, *ordered):
        assert fast.last_up_to(ordered, wanted) == plain.last_up_to(ordered, wanted)
        assert fast.is_below(name, wanted) is plain.is_below(name, wanted)


@pytest.mark.parametrize("args", [(None, b""), ([], None), ([None], b""), (["a"], b""), ((), b"")])
def test_what_is_no_list_of_names_is_a_type_error(args: tuple[Any, Any]) -> None:
    with pytest.raises(TypeError):
        fast.last_up_to(*args)


@pytest.mark.parametrize("args", [(None, b""), (b"", None), ("a", b""), (b"", "a")])
def test_what_is_no_bytes_is_below_nothing(args: tuple[Any, Any]) -> None:
    with pytest.raises(TypeError):
        fast.is_below(*args)
