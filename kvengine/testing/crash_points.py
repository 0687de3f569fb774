"""Every moment at which a crash may hit a piece of a program, from one run of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Self

from kvengine.engine import Engine
from kvengine.errors import KVEngineError
from kvengine.fs.memory import MemoryFileSystem


class _Tape(list[tuple[str, ...]]):
    """A trace that takes a copy of the file system whenever something in it has changed."""

    def __init__(self, fs: MemoryFileSystem) -> None:
        self._fs = fs
        self.copies = [fs.copy()]

    def append(self, call: tuple[str, ...], /) -> None:
        super().append(call)
        self.copies.append(self._fs.copy())


class CrashPoints:
    """The moments of a block, and the databases that a crash at each would leave.

    `MemoryDatabase.crash_points` makes it. The block itself runs undisturbed. `len` tells how many
    moments there were: before the block, and after each change of the disk and each sync.
    """

    def __init__(
        self,
        fs: MemoryFileSystem,
        opened: Callable[[MemoryFileSystem], Engine],
        seeds: int | None,
    ) -> None:
        """``seeds``: how many images of each power cut to make at random; None for kill -9."""
        self._fs, self._opened, self._seeds = fs, opened, seeds
        self._copies: list[MemoryFileSystem] = []

    def __enter__(self) -> Self:
        if self._fs.trace is not None:
            raise KVEngineError("the crash points of another block are being noted: end it first")
        self._tape = self._fs.trace = _Tape(self._fs)
        return self

    def __exit__(self, *_: object) -> None:
        self._fs.trace = None
        self._copies += self._tape.copies

    def __len__(self) -> int:
        return len(self._copies)

    def __iter__(self) -> Iterator[Engine]:
        """Yield each database, in the order of the moments. The next step closes it."""
        if not self._copies:
            raise KVEngineError(
                "no crash point was noted: run what may crash in a `with` block of this first"
            )
        for number, copy in enumerate(self._copies):
            for image in self._images(number, copy):
                with self._opened(image) as db:
                    yield db

    def _images(self, number: int, copy: MemoryFileSystem) -> Iterator[MemoryFileSystem]:
        if self._seeds is None:
            yield copy.copy()
            return
        yield copy.crash(None)
        for seed in range(self._seeds):
            yield copy.crash(Random(f"{number} {seed}"))
