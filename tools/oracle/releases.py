"""The drivers of both releases, each one process that lives for the whole campaign."""

from __future__ import annotations

import json
import selectors
import subprocess
import time
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Any, Self

DRIVER = Path(__file__).with_name("driver.py")
END = b'["end of program"'
SECONDS = 120.0
"""How long a program may take before its driver counts as hung."""


class Release:
    """The driver under one Python. A program goes in, its answers come out, a line each."""

    def __init__(self, python: Path) -> None:
        self.python = python
        self.seconds = 0.0
        self.met: Counter[str] = Counter()
        self._start()

    def _start(self) -> None:
        # -P: else the checkout would be on the path of 0.1.0, whose package has the same name.
        self._process = subprocess.Popen(
            [str(self.python), "-P", str(DRIVER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=DRIVER.parent,
        )
        self.version, self.home = json.loads(self._lines(1)[0])

    def run(self, program: dict[str, Any]) -> list[str]:
        """Return the answers of a program; the last says so where the driver died or hung."""
        began = time.monotonic()
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(program).encode() + b"\n")
            self._process.stdin.flush()
            *answers, end = self._lines(None)
            self._count(json.loads(end)[1])
            return answers
        except (BrokenPipeError, EOFError, TimeoutError) as error:
            self.close()
            self._start()
            return [json.dumps({"driver": type(error).__name__})]
        finally:
            self.seconds += time.monotonic() - began

    def _count(self, met: dict[str, int]) -> None:
        for name, count in met.items():
            if name == "deepest_level":
                self.met[name] = max(self.met[name], count)
            else:
                self.met[name] += count

    def _lines(self, count: int | None) -> list[str]:
        """Read ``count`` lines, or all up to the end of a program."""
        assert self._process.stdout is not None
        until = time.monotonic() + SECONDS
        taken: list[bytes] = []
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while not self._complete(taken, count):
                if not selector.select(until - time.monotonic()):
                    raise TimeoutError
                part = self._process.stdout.read1(1 << 20)
                if not part:
                    raise EOFError
                taken.append(part)
        return b"".join(taken).decode().splitlines()

    @staticmethod
    def _complete(taken: list[bytes], count: int | None) -> bool:
        last = b"".join(taken[-2:])
        if not last.endswith(b"\n"):
            return False
        return bool(count) or last[:-1].rpartition(b"\n")[2].startswith(END)

    def close(self) -> None:
        """End the driver."""
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
