"""The worker process as its parent sees it: started, listened to, killed."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import msgspec

from examples.flights.worker import STAMP, WorkerSettings

READ_SIZE = 4096 * STAMP.size
POLL_MILLISECONDS = 200

PAUSE = 0.01
"""Seconds in which reports gather: a parent that woke up for each would slow the worker down."""


class WorkerFailed(Exception):
    """A worker ended on its own before its work was done."""


class WorkerProcess:
    """A running worker. Leaving the ``with`` block kills it if it still runs."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._pipe, theirs = os.pipe()
        arguments = [msgspec.json.encode(settings).decode(), str(theirs)]
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "examples.flights.worker", *arguments],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs],
            )
        finally:
            os.close(theirs)

    @property
    def pid(self) -> int:
        return self._process.pid

    def stamps(self) -> Iterator[list[int]]:
        """Stamps of the commits that have returned, as they are reported, until the worker ends."""
        poll = select.poll()
        poll.register(self._pipe, select.POLLIN)
        while True:
            if poll.poll(POLL_MILLISECONDS):
                reports = os.read(self._pipe, READ_SIZE)
                if not reports:
                    return
                yield [stamp for (stamp,) in STAMP.iter_unpack(reports)]
                time.sleep(PAUSE)
            elif self._process.poll() is not None:
                return

    def kill(self) -> list[int]:
        """End the worker with SIGKILL, as a crash would; the stamps it had reported unread."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        return [stamp for stamps in self.stamps() for stamp in stamps]

    def finish(self) -> None:
        """Wait for a worker that has reported its last stamp; WorkerFailed if it failed."""
        status = self._process.wait()
        if status != 0:
            raise WorkerFailed(f"the worker (pid {self.pid}) ended with status {status}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._pipe)
