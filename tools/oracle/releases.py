"""The drivers of both releases, each one process that lives for the whole campaign."""

from __future__ import annotations

import json
import os
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
        # -I: else PYTHONPATH could lead 0.1.0 to this checkout, whose package has the same name.
        self._process = subprocess.Popen(
            [str(self.python), "-I", str(DRIVER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=DRIVER.parent,
        )
        self.version, self.home = json.loads(self._lines(b"")[0])

    def run(self, program: dict[str, Any]) -> list[str]:
        """Return the answers of a program; the last says so where the driver died or hung."""
        began = time.monotonic()
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(program).encode() + b"\n")
            self._process.stdin.flush()
            *answers, end = self._lines(END)
            self._count(json.loads(end)[1])
            return answers
        except (BrokenPipeError, EOFError, TimeoutError) as error:
            self.close()
            self._start()
            # Never equal to what the other release answers, should both drivers end so.
            return [json.dumps({"driver": type(error).__name__, "of": self.home})]
        finally:
            self.seconds += time.monotonic() - began

    def _count(self, met: dict[str, int]) -> None:
        for name, count in met.items():
            if name == "deepest_level":
                self.met[name] = max(self.met[name], count)
            else:
                self.met[name] += count

    def _lines(self, last: bytes) -> list[str]:
        """Read lines up to one that begins with ``last``; EOFError or TimeoutError without it."""
        assert self._process.stdout is not None
        until = time.monotonic() + SECONDS
        taken = bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while not (
                taken.endswith(b"\n") and taken.startswith(last, taken.rfind(b"\n", 0, -1) + 1)
            ):
                if not selector.select(max(until - time.monotonic(), 0)):
                    raise TimeoutError
                part = os.read(self._process.stdout.fileno(), 1 << 20)
                if not part:
                    raise EOFError
                taken += part
        return taken.decode().splitlines()

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
