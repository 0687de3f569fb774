"""The parent's side of the helper process (worker.py)."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from kvengine.errors import CorruptionError, KVEngineError
from kvengine.storage.compaction.job import Job, Output, decode_reply, encode_job
from kvengine.storage.compaction.worker import read_frame, write_frame

if TYPE_CHECKING:
    import subprocess

_PACKAGE_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class HelperDied(KVEngineError):
    """The helper process ended before it answered; the job may be tried again."""


class Helper:
    """A helper process, started by the first job and again after it died."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._closing = False
        self._lock = threading.Lock()

    @property
    def pid(self) -> int | None:
        """The process running now, None where there is none."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def run(self, job: Job) -> list[Output]:
        """Run a job to its end. HelperDied, CorruptionError, or OSError for what it met."""
        process = self._running()
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            write_frame(process.stdin, encode_job(job))
            frame = read_frame(process.stdout)
        except (OSError, ValueError):
            frame = None
        if frame is None:
            self._reap(process)
            raise HelperDied(f"helper process {process.pid} ended before it answered")
        try:
            reply = decode_reply(frame)
        except msgspec.MsgspecError as error:
            raise HelperDied(f"helper answered nonsense: {error}") from None
        if reply.corrupt is not None:
            raise CorruptionError(*reply.corrupt, reply.error)
        if reply.error:
            raise OSError(reply.error)
        return reply.outputs

    def close(self) -> None:
        """End the process, in the midst of a job too. `run` in another thread raises."""
        with self._lock:
            self._closing = True
            process = self._process
        if process is not None:
            process.kill()
            self._reap(process)

    def abandon(self) -> None:
        """In a forked child: let go of the parent's pipes, harming nothing."""
        process, self._process = self._process, None
        if process is not None:
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    os.close(pipe.fileno())
            process.returncode = 0

    def _running(self) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._closing:
                raise HelperDied("the database is closing")
            if self._process is not None and self._process.poll() is not None:
                _close_pipes(self._process)
                self._process = None
            if self._process is None:
                self._process = _start()
            return self._process

    def _reap(self, process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.wait()
        _close_pipes(process)
        with self._lock:
            if self._process is process:
                self._process = None


def _close_pipes(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        with suppress(OSError):
            if pipe is not None:
                pipe.close()


def _start() -> subprocess.Popen[bytes]:
    """Start the helper with this interpreter and this package, in a process group of its own."""
    import subprocess  # its import is slow, and many short programs never need a helper

    environment = dict(os.environ)
    path = [_PACKAGE_ROOT, environment.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(part for part in path if part)
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "kvengine.storage.compaction.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        process_group=0,
    )
