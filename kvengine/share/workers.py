"""Threads for what may take long in the owner's server. They start when they are needed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

_IDLE = 10.0
"""Seconds after which a thread that has nothing to do ends."""


class Workers:
    """Runs work in order of arrival, in up to a given number of threads.

    Not a `ThreadPoolExecutor`: at its end the interpreter would wait for the threads, however long
    a compaction takes.
    """

    def __init__(self, name: str, most: int) -> None:
        """``most``: how many threads may run at once."""
        self._name = name
        self._most = most
        self._work: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._waiting = 0
        """Threads that have nothing to do, less the work that no thread has taken yet."""
        self._threads: set[threading.Thread] = set()

    def submit(self, work: Callable[[], object]) -> None:
        """Run ``work`` in a thread; it must not raise.

        Raise RuntimeError if there is no thread and none can start: then nothing is done.
        """
        with self._lock:
            if self._waiting <= 0 and len(self._threads) < self._most:
                try:
                    thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                    thread.start()
                    self._threads.add(thread)
                    self._waiting += 1
                except RuntimeError:
                    if not self._threads:
                        raise
            self._waiting -= 1
            self._work.put(work)

    def _run(self) -> None:
        while True:
            try:
                work = self._work.get(timeout=_IDLE)
            except Empty:
                with self._lock:
                    if self._waiting > 0 or self._work.empty():
                        self._waiting -= 1
                        self._threads.discard(threading.current_thread())
                        return
                    continue
            if work is None:
                return
            work()
            del work
            with self._lock:
                self._waiting += 1

    def stop(self, seconds: float) -> None:
        """Let each thread end when its work is done; wait at most ``seconds`` for each."""
        threads = list(self._threads)
        for _ in threads:
            self._work.put(None)
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(seconds)
