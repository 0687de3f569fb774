"""What all tests share: they do not depend on how they were started."""

from __future__ import annotations

import signal

import hypothesis
import pytest

from kvengine import compiled

# No test asserts a time, and that includes how long one example takes.
hypothesis.settings.register_profile("kvengine", deadline=None)
hypothesis.settings.load_profile("kvengine")

# A shell that starts a command in the background lets it ignore interrupts, and so do all its
# children. Tests that send one, to themselves or to a command that they run, need it to arrive.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what looks into the hot modules where these are compiled; `make test-plain` runs it.

    Files with slow tests come first: one that came last would leave the other workers idle.
    """
    slow = {item.path for item in items if item.get_closest_marker("slow") is not None}
    items.sort(key=lambda item: item.path not in slow)
    if compiled.form == "compiled":
        for item in items:
            if item.get_closest_marker("plain") is not None:
                item.add_marker(pytest.mark.skip(reason="looks into the hot modules: runs plain"))
