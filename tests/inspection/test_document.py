"""Documents: every value comes back as the same bytes, whatever it is."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvengine.inspection.document import (
    DEEPEST,
    BadDocument,
    document,
    form,
    line,
    read_document,
    value_of,
)
from kvengine.store import StoredObject

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def back(value: bytes) -> bytes:
    stored = StoredObject("s", "k", 7, None, {"n": value})
    text = line(document(stored))
    assert text.isascii() and text.isprintable()
    return value_of(read_document(text)["entries"]["n"])


@given(st.binary() | st.text().map(str.encode) | JSON.map(lambda one: line(one).encode()))
def test_any_value_comes_back(value: bytes) -> None:
    assert back(value) == value


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"null",
        b" null",
        b"1.0",
        b"1e5",
        b"18446744073709551616",
        b"-0",
        b'{"a":1,"a":2}',
        b'"\\ud800"',
        b'"\\u00e9"',
        b"NaN",
        b"[" * 3000,
        b"[" * 3000 + b"]" * 3000,
        b"[" * 5000 + b'"]"' + b"]" * 5000,
        b'"' + b"[" * 5000 + b'"',
        "\ufeff{}".encode(),
        b"\xed\xa0\x80",
    ],
)
def test_a_value_that_is_hard_to_tell_comes_back(value: bytes) -> None:
    assert back(value) == value


def test_depth_is_judged_alike_from_any_depth_of_the_stack() -> None:
    """What one caller wrote as JSON another, deeper in its own calls, could not read."""
    for depth in (DEEPEST, DEEPEST + 1):
        value = b"[" * depth + b"]" * depth
        assert ("value" in form(value)) == (depth <= DEEPEST)
    value = b"[" * DEEPEST + b"]" * DEEPEST

    def deeper(frames: int) -> bytes:
        return deeper(frames - 1) if frames else back(value)

    assert deeper(sys.getrecursionlimit() // 2) == value


@pytest.mark.parametrize(
    "entry",
    [None, 1, [], {}, {"x": 1}, {"text": 1}, {"base64": "!"}, {"text": "a", "base64": "YQ=="}],
)
def test_what_is_no_form_of_an_entry_is_refused(entry: object) -> None:
    with pytest.raises(BadDocument, match="entry"):
        value_of(entry)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"service": 1, "key": "k", "entries": {}}',
        '{"service": "s", "key": "k"}',
        '{"service": "s", "key": "k", "entries": {}, "version": true}',
        '{"service": "s", "key": "k", "entries": {}, "expires_at": "soon"}',
        "[" * 100_000,
    ],
)
def test_what_is_no_document_is_refused(text: str) -> None:
    with pytest.raises(BadDocument):
        read_document(text)
