"""Counting what sessions read from the engine."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

import kvengine
from kvengine.snapshot import Snapshot

VERBS = ("get", "get_many", "get_all", "load", "state_keys")


class Held:
    """A held object whose read verbs are counted."""

    def __init__(self, held: Any, counted: Callable[..., Callable[..., Any]]) -> None:
        self._held = held
        for verb in VERBS:
            method = getattr(held, verb)
            call = counted(verb, lambda _self, *args, method=method, **kw: method(*args, **kw))
            setattr(self, verb, partial(call, self))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._held, name)


class Reads:
    """Counts the read verbs that reach the engine, or what it holds for a session."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, db: kvengine.Engine) -> None:
        self.calls: list[str] = []
        for kind in (kvengine.Engine, Snapshot):
            for verb in VERBS:
                monkeypatch.setattr(kind, verb, self._counted(verb, getattr(kind, verb)))
        hold: Any = db._host.hold
        db._host.hold = lambda name: Held(hold(name), self._counted)  # type: ignore[assignment]

    def _counted(self, verb: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if kwargs.get("max_bytes") == 0:  # version and expiry alone
                return original(*args, **kwargs)
            self.calls.append(f"{verb} {args[3]}" if verb == "get" else verb)
            return original(*args, **kwargs)

        return call
