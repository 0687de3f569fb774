"""What ends while it is in use: a snapshot under a read, a sync under an interrupt, a commit."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import kvengine
from kvengine.fs.memory import MemoryFileSystem
from kvengine.storage import read
from kvengine.storage.commit import Committer
from kvengine.storage.wal.file import WalWriter


def opened(**options: Any) -> kvengine.Engine:
    return kvengine.open("/db", fs=MemoryFileSystem(), background="none", **options)


@pytest.mark.plain
@pytest.mark.parametrize("verb", ["get", "get_all", "load", "state_keys", "version"])
def test_a_snapshot_that_is_closed_under_a_read(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read of a snapshot has begun when another thread closes it, and commits follow.

    The commits let go of the state that the read was on its way to: it answered that there is no
    such entry. It is refused now, as any read of a closed snapshot.
    """
    with opened(durability="os") as db:
        db.set("s", "k", "n", b"1")
        snapshot = db.snapshot()
        name = "get" if verb == "get" else "collect"
        original = getattr(read, name)

        def late(*arguments: Any) -> Any:
            snapshot.close()
            for value in (b"2", b"3", b"4"):
                db.set("s", "k", "n", value)
            return original(*arguments)

        monkeypatch.setattr(read, name, late)
        arguments = ("s", "k", "n") if verb == "get" else ("s", "k")
        with pytest.raises(kvengine.DatabaseClosed):
            getattr(snapshot, verb)(*arguments)


@pytest.mark.plain
def test_an_interrupt_right_behind_a_failed_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sync fails, and an interrupt keeps the commit from saying so.

    The commit was still pending, so it was synced again on the way out: that may succeed although
    the first sync has lost pages. The file itself refuses now.
    """
    with pytest.raises(kvengine.WriteFailed):
        with opened(durability="sync") as db:
            db.set("s", "k", "n", b"1")
            wal = db._db.wal
            assert wal is not None
            calls: list[str] = []

            def fail() -> None:
                calls.append("datasync")
                raise OSError(errno.EIO, os.strerror(errno.EIO))

            sync_failed = Committer._sync_failed

            def interrupted(self: Committer, error: OSError) -> None:
                if not calls[1:] and not interrupts:
                    interrupts.append("once")
                    raise KeyboardInterrupt
                sync_failed(self, error)

            interrupts: list[str] = []
            with monkeypatch.context() as patch:
                patch.setattr(type(wal._file), "datasync", lambda _: fail())
                patch.setattr(Committer, "_sync_failed", interrupted)
                with pytest.raises((KeyboardInterrupt, kvengine.WriteFailed)):
                    db.set("s", "k", "n", b"2")
            assert calls == ["datasync"]
            db.set("s", "k", "n", b"3")


@pytest.mark.plain
def test_a_handler_that_is_refused_inside_a_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal handler calls a verb inside a commit, and lets the refusal go on into the commit.

    The refusal passed for the commit's own: its record was written, and nobody synced it or showed
    it before the next commit came.
    """
    with opened(durability="sync") as db:
        append = WalWriter.append
        once = [True]

        def handler(self: WalWriter, payload: bytes) -> int:
            end = append(self, payload)
            if once:
                once.clear()
                db.set("s", "other", "n", b"1")
            return end

        monkeypatch.setattr(WalWriter, "append", handler)
        with pytest.raises(kvengine.KVEngineError, match="inside a commit"):
            db.set("s", "k", "n", b"1")
        assert db.get("s", "k", "n") == b"1"
        assert not db._db.pending


LEFT_OPEN = """
import os, sys
from kvengine.fs.disk import DiskFileSystem

class Holder:
    pass

holder = Holder()
holder.itself = holder
holder.file = DiskFileSystem().create(sys.argv[1])
os.holder = holder  # a cycle that the interpreter frees after all names of modules are gone
"""


def test_a_file_that_is_left_open_until_the_interpreter_ends(tmp_path: Path) -> None:
    """An engine that was never closed was freed last of all, and its files said so.

    Compiled, a program ended with "Error in sys.excepthook" on its standard error: to close the
    file, `os` and `contextlib` were looked up, whose names were gone.
    """
    done = subprocess.run(
        [sys.executable, "-c", LEFT_OPEN, str(tmp_path / "file")],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
