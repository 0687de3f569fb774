"""The exact order of create, write, sync, rename, unlink and sync_dir of each operation.

The script is in order_of_calls.txt: a command behind ``>``, then every call
that it makes on the file system. What a power cut leaves depends on this order
alone, so a change of it is a change of the promises: read the operation's
docstring, and the crash tests, before changing the script.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import kvengine
from kvengine.fs.memory import MemoryFileSystem
from kvengine.storage.clock import ManualClock
from kvengine.storage.lifecycle.rotate import rotate

PLAIN = {"flush", "compact", "verify", "close"}
SCRIPT = Path(__file__).with_name("order_of_calls.txt")


class Runner:
    """A database in memory that commands act on; time stands still."""

    def __init__(self) -> None:
        self.trace: list[tuple[str, ...]] = []
        self.fs = MemoryFileSystem(trace=self.trace)
        self.db: kvengine.Engine | None = None
        self.commits = 0

    def run(self, command: str) -> list[str]:
        """Carry out a command; the calls it made, with the process id made anonymous."""
        self.trace.clear()
        commands: dict[str, Callable[[], object]] = {
            "open": self.open,
            "commit os": lambda: self.commit("os"),
            "commit sync": lambda: self.commit("sync"),
            "get": lambda: self.engine.get("s", "k1", "n"),
            "rotate": lambda: rotate(self.engine._db, self.engine._committer),
            "clear": lambda: self.engine.clear_service("s"),
            "checkpoint /backup/copy": lambda: self.engine.checkpoint("/backup/copy"),
            "checkpoint /copy": lambda: self.engine.checkpoint("/copy"),
        }
        if command in PLAIN:
            getattr(self.engine, command)()
        else:
            commands[command]()
        lines = [" ".join(call).replace(f"-{os.getpid()}", "-PID") for call in self.trace]
        return [re.sub(r"\.tmp-[0-9a-f]{16}", ".tmp-RANDOM", line) for line in lines]

    @property
    def engine(self) -> kvengine.Engine:
        assert self.db is not None
        return self.db

    def open(self) -> None:
        self.db = kvengine.open("/db", fs=self.fs, background="none", clock=ManualClock())

    def commit(self, durability: str) -> None:
        self.commits += 1
        batch = kvengine.Batch()
        batch.set("s", f"k{self.commits}", "n", b"1")
        self.engine.write(batch, durability=durability)


def played(script: str) -> str:
    """The script with what each command does now, and with its comments."""
    runner, out = Runner(), []
    for line in script.splitlines():
        if line.startswith("#") or not line.strip():
            out.append(line)
        elif line.startswith("> "):
            out += [line, *(f"  {call}" for call in runner.run(line[2:]))]
    return "\n".join(out) + "\n"


def test_each_operation_makes_its_calls_in_order() -> None:
    """To accept a change, after thought: write `played(...)` over the script."""
    script = SCRIPT.read_text()
    assert played(script).splitlines() == script.splitlines()
