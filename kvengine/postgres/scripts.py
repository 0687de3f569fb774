"""Scripts: what a verb asks of the server, apart from how it is asked.

A script is a generator that yields statements, is sent the rows of each, and returns the answer of
its verb. Who runs it may block or await: so each verb is written once (the idea of sans-io).
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, NamedTuple, Protocol, TypeVar

from kvengine.postgres.clock import Bounds

T = TypeVar("T")


class Statement(NamedTuple):
    """SQL with ``%s`` for each of the values."""

    text: str
    values: tuple[Any, ...]


Rows = list[tuple[Any, ...]]

Script = Generator[Statement, Rows, T]


class Time(Protocol):
    """The time that a verb counts by: `clock.ServerClock`, or `clock.Moment`."""

    def bounds(self) -> Bounds: ...

    def saw(self, now: int, sent: int) -> None: ...
