"""Leaving a shared directory.

A client whose owner had been killed took 30 seconds to close: another thread of it was looking for
the next owner, and close() waited until that gave up.
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import kvengine
from tests.share.campaign import OWNER, kill, start


def test_a_client_without_an_owner_closes_at_once(tmp_path: Path) -> None:
    """It waits for nobody, and a verb that another thread is in says that it is closed."""
    owner = start(OWNER, str(tmp_path / "db"), "os")
    db = kvengine.connect(tmp_path / "db", timeout=60)
    raised: list[BaseException] = []

    def ask() -> None:
        try:
            db.get("s", "k", "n")
        except kvengine.KVEngineError as error:
            raised.append(error)

    kill(owner)
    thread = threading.Thread(target=ask)
    thread.start()
    time.sleep(0.1)
    closing = threading.Thread(target=db.close)
    closing.start()
    closing.join(10)
    thread.join(10)
    assert not (closing.is_alive() or thread.is_alive())
    assert [type(error) for error in raised] == [kvengine.DatabaseClosed]
    with pytest.raises(kvengine.DatabaseClosed):
        db.get("s", "k", "n")
    db.close()


@pytest.mark.parametrize("opening", [partial(kvengine.open, share=True), kvengine.connect])
def test_a_store_that_is_forgotten_is_closed(tmp_path: Path, opening: Callable[..., Any]) -> None:
    """With a warning. Else its process owned the directory, or had its objects, until it ended."""
    path = tmp_path / "db"
    with ExitStack() as owned:
        if opening is kvengine.connect:
            owned.enter_context(kvengine.open(path))
        db = opening(path)
        handle = db.object("s", "k")
        handle.set("n", 1)
        del db
        gc.collect()
        assert handle.get("n") == 1, "what was made of it keeps it"
        del handle  # the store, its host and its sessions refer to each other
        with pytest.warns(ResourceWarning, match="a store of .* was forgotten"):
            gc.collect()
    kvengine.open(path).close()
