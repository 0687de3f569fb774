"""Raises an exception at the n-th point at which CPython could deliver a signal."""

from __future__ import annotations

import dis
import gc
import sys
from collections.abc import Callable
from functools import cache
from pathlib import PurePath
from types import CodeType, FrameType
from typing import Any

CHECKED = ("CALL", "JUMP_BACKWARD", "POP_JUMP_BACKWARD")
"""Beginnings of the names of instructions behind which the interpreter looks for signals."""

ATOMIC = ("memory.py", "memory_file.py", "inodes.py", "tree.py", "faulty.py")
"""Files of kvengine/fs that stand in for system calls, which are done or not done."""

_GENERATOR = 0x20
"""Flag of a generator's code: entered again and again, and by `close` without a check."""


@cache
def _spared(path: str) -> bool:
    where = PurePath(path)
    if where.name == "_weakrefset.py":
        return True  # callbacks of the collector: what they raise goes nowhere
    return where.parent.name == "fs" and where.name in ATOMIC


@cache
def _operations(code: CodeType) -> dict[int, str]:
    return {one.offset: one.opname for one in dis.get_instructions(code)}


@cache
def _handler(code: CodeType, offset: int) -> int | None:
    """Where an exception at ``offset`` is handled within the function."""
    for entry in dis._parse_exception_table(code):  # type: ignore[attr-defined]
        if entry.start <= offset < entry.end:
            return int(entry.target)
    return None


class Tripwire:
    """Runs a function and raises ``error`` at its n-th point, in this thread, once.

    Points are those of a pending signal: the start of a function (RESUME), and
    the instruction behind a CALL or a jump backward. An exception there belongs
    to the instruction before; where the two lie in different handlers (the last
    call of a block) the point is left out, for a trace function cannot hit it.
    Stand-ins for system calls are spared. ``tripped`` says where it was raised,
    None where the function has fewer points; ``passed`` how many there were.
    """

    def __init__(self, n: int, error: type[BaseException]) -> None:
        self._n = n
        self._error = error
        self.passed = 0
        self._finalizers: set[FrameType | None] = set()
        self._last: dict[FrameType, tuple[int, str]] = {}
        self.tripped: str | None = None

    def run(self, work: Callable[[], object]) -> None:
        before = sys.gettrace()
        collects = gc.isenabled()  # not where this runs inside of another one
        gc.disable()  # what finalizers raise goes nowhere
        sys.settrace(self._call)
        try:
            work()
        finally:
            sys.settrace(before)
            if collects:
                gc.enable()
            self._last.clear()
            self._finalizers.clear()

    def _call(self, frame: FrameType, event: str, arg: Any) -> Any:
        path = frame.f_code.co_filename
        if self.tripped or path == __file__ or "/tests/" in path or _spared(path):
            return None
        if frame.f_code.co_name == "__del__" or frame.f_back in self._finalizers:
            self._finalizers.add(frame)
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        if not frame.f_code.co_flags & _GENERATOR:
            self._point(frame)
        return self._opcode

    def _opcode(self, frame: FrameType, event: str, arg: Any) -> Any:
        if self.tripped or event != "opcode":
            return self._opcode
        at = frame.f_lasti
        code = frame.f_code
        before = self._last.get(frame)
        self._last[frame] = at, _operations(code).get(at, "")
        resumed = code.co_flags & _GENERATOR and before is not None and before[1] == "RESUME"
        checked = before is not None and (resumed or before[1].startswith(CHECKED))
        if checked and _handler(code, before[0]) == _handler(code, at):
            self._point(frame)
        return self._opcode

    def _point(self, frame: FrameType) -> None:
        self.passed += 1
        if self.passed == self._n:
            code = frame.f_code
            self.tripped = f"{code.co_filename}:{frame.f_lineno} in {code.co_qualname}"
            raise self._error(f"at {self.tripped}")
