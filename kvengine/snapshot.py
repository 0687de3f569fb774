"""Snapshots: every read verb, as of one moment."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from types import TracebackType
from typing import Self

from kvengine.closing import NotAwaited
from kvengine.storage.moment import Moment
from kvengine.storage.reader import MomentReader


class Snapshot(MomentReader, NotAwaited):
    """Every read verb, as of one moment; `now` is fixed too. A context manager.

    Costs nothing to take and stops no writer; the files it names live until it
    is closed. One that is never closed warns (ResourceWarning) when collected.
    """

    def __init__(self, moment: Moment, closed: Callable[[], None]) -> None:
        """``closed`` is called once, when the snapshot is closed."""
        self._closed = closed
        super().__init__(moment)  # last: from now on it is the caller's to close

    @property
    def stamp(self) -> int:
        """Return the stamp of the last commit that the snapshot sees."""
        return self._fixed_moment.stamp

    def close(self) -> None:
        """Let go of what the snapshot holds. May be called again."""
        if self._fixed_moment.close():
            self._closed()

    def __enter__(self) -> Self:
        self._fixed_moment.check_open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        moment = getattr(self, "_fixed_moment", None)
        if moment is not None and moment.token:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)
