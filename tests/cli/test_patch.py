"""JSON Patch by RFC 6902 and nothing beside it: the library is more lenient than the standard."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from kvengine.cli.commands.kv_patch import patched
from kvengine.cli.exits import USAGE, Exit

TARGET = {"list": [1, 2, 3], "a/b": 1, "m~n": 2, "deep": {"01": [{"x": 1}]}}


def patch(*operations: Any) -> Any:
    return patched(msgspec.json.encode(operations).decode(), TARGET)


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "replace", "path": "/list/+1", "value": 9},
        {"op": "replace", "path": "/list/ 1", "value": 9},
        {"op": "replace", "path": "/list/1_0", "value": 9},
        {"op": "replace", "path": "/list/01", "value": 9},
        {"op": "replace", "path": "/list/-1", "value": 9},
        {"op": "replace", "path": "/list/\u0661", "value": 9},
        {"op": "add", "path": "/list/4", "value": 9},
        {"op": "add", "path": "/list/99999999999999999999", "value": 9},
        {"op": "add", "path": "/m~2n", "value": 9},
        {"op": "add", "path": "/m~", "value": 9},
        {"op": "add", "path": "list", "value": 9},
        {"op": "add", "path": 1, "value": 9},
        {"op": "add", "path": "/new"},
        {"op": "addne", "path": "/new", "value": 9},
        {"op": "addap", "path": "/list/9", "value": 9},
        {"op": "move", "from": "/list/+1", "path": "/new"},
        {"op": "copy", "from": "/deep/01/00", "path": "/new"},
        {"op": "test", "path": "/list/+0", "value": 1},
        {"op": "test", "path": "/list/0", "value": True},
        {"op": "remove", "path": "/list/-"},
        {"path": "/list", "value": 1},
        "add",
        None,
    ],
)
def test_what_the_standard_does_not_know_is_refused(operation: Any) -> None:
    with pytest.raises(Exit) as ended:
        patch({"op": "test", "path": "/a~1b", "value": 1}, operation)
    assert ended.value.code == USAGE


def test_what_it_knows_is_done() -> None:
    made = patch(
        {"op": "test", "path": "/a~1b", "value": 1},
        {"op": "test", "path": "/m~0n", "value": 2},
        {"op": "add", "path": "/list/-", "value": 4},
        {"op": "add", "path": "/list/0", "value": 0},
        {"op": "replace", "path": "/deep/01/0/x", "value": {"+1": 2}},
        {"op": "copy", "from": "/list/3", "path": "/+1"},
        {"op": "move", "from": "/deep/01/0/x", "path": "/moved"},
        {"op": "remove", "path": "/a~1b"},
    )
    assert made == {
        "list": [0, 1, 2, 3, 4],
        "m~n": 2,
        "deep": {"01": [{}]},
        "+1": 3,
        "moved": {"+1": 2},
    }
