"""Bugs planted in what users see of a store: the contract that every back end passes finds each."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.planted.patched import Change, copy, must_find, run

pytestmark = [pytest.mark.planted, pytest.mark.timeout(300)]

CONTRACT = "tests/contract/test_embedded.py"

BUGS: dict[str, Change] = {
    "an update loses what came in between": Change(
        "objects/virtual_object.py",
        "expires_at=ends)\n            with attempt:\n"
        "                store.write(batch, expect={named: version})",
        "expires_at=ends)\n            with attempt:\n                store.write(batch)",
    ),
    "an awaited update loses it": Change(
        "aio/objects.py",
        "expect={named: version})\n                return value  # type",
        "expect={})\n                return value  # type",
    ),
    "a session that raises writes": Change(
        "objects/sessions/context.py",
        "if kind is None and session is not None:",
        "if session is not None:",
    ),
    "a session of a task that raises writes": Change(
        "aio/context.py",
        "if kind is None and self._session is not None:",
        "if self._session is not None:",
    ),
    "a workflow without state is not completed": Change(
        "objects/workflow.py", "if not self._retention and not", "if not"
    ),
    "a watch of one object is told of all": Change(
        "storage/feed.py", "low <= encode_object(service, key) < high", "low < high"
    ),
    "a name that is too long is read": Change(
        "storage/names.py", "if size > MAX_NAME:", "if size > 2 * MAX_NAME:"
    ),
}


def test_the_copy_itself_is_sound(tmp_path: Path) -> None:
    """Without a planted bug the contract passes, so that what fails below is the bug."""
    copy(tmp_path, [], ("contract",))
    status, output = run(tmp_path, CONTRACT)
    assert status == 0, output


@pytest.mark.parametrize("bug", BUGS)
def test_the_contract_finds(bug: str, tmp_path: Path) -> None:
    """Each of these makes a test of the contract fail."""
    must_find(
        tmp_path, [BUGS[bug]], r"assert|Error|Failed|Difference", CONTRACT, judges=("contract",)
    )
