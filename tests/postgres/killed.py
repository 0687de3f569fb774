"""The command line, killed as it is about to write: `python -m tests.postgres.killed N WORDS`.

SIGKILL comes before the Nth batch of an import or a copy is committed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from kvengine.cli.__main__ import main
from kvengine.inspection.transfer.writer import Incoming, Writer

ROOT = Path(__file__).resolve().parents[2]


def run_killed(batch: int, *words: str) -> None:
    """Run the command line in a process of its own, and see it killed before the batch."""
    command = [sys.executable, "-m", "tests.postgres.killed", str(batch), *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr


def _kill_at(batch: int) -> None:
    commit, committed = Writer._commit, 0

    def counted(self: Writer, pending: list[Incoming]) -> None:
        nonlocal committed
        committed += 1
        if committed == batch:
            os.kill(os.getpid(), signal.SIGKILL)
        commit(self, pending)

    Writer._commit = counted  # type: ignore[method-assign]


if __name__ == "__main__":
    _kill_at(int(sys.argv.pop(1)))
    main()
