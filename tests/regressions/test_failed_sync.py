"""A sync that has failed: nobody may try it again, least of all to prove the log with it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress

import pytest

import kvengine
from kvengine import WriteFailed
from tests.regressions.disks import HookedDisk


def fail_a_sync(db: kvengine.Engine, disk: HookedDisk) -> None:
    """Let the sync of a commit fail, once."""

    def hook(operation: str, path: str) -> None:
        if operation == "datasync":
            disk.hook = None
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    disk.hook = hook
    with pytest.raises(WriteFailed):
        db.set("s", "k", "n", b"lost")
    assert disk.hook is None


class Gate:
    """Stands in for a lock and lets something happen just before it is taken."""

    def __init__(self, lock: object, meanwhile: Callable[[], None]) -> None:
        self._lock = lock
        self._meanwhile: Callable[[], None] | None = meanwhile

    def __enter__(self) -> None:
        if self._meanwhile is not None:
            happen, self._meanwhile = self._meanwhile, None
            happen()
        self._lock.__enter__()  # type: ignore[attr-defined]

    def __exit__(self, *error: object) -> None:
        self._lock.__exit__(*error)  # type: ignore[attr-defined]

    def _is_owned(self) -> bool:
        return False


@pytest.mark.plain
@pytest.mark.parametrize("end", ["rotation", "close"])
def test_a_log_whose_sync_failed_is_not_sealed(end: str) -> None:
    """A rotation, or a close, has found all well and waits for the locks of the log. The sync of
    a commit fails meanwhile. Then the log was sealed all the same: its second sync succeeded, and
    the next header or the manifest said that it was proven up to its end. With the pages that the
    first sync had lost, no later open accepted the log, nor what had been acknowledged before.
    """
    disk = HookedDisk()
    db = kvengine.open("db", fs=disk, background="none", durability="sync")
    db.set("s", "k", "n", b"kept")
    synced: list[str] = []

    def meanwhile() -> None:
        fail_a_sync(db, disk)
        disk.hook = lambda operation, path: (
            synced.append(operation) if path.endswith(".wal") and "sync" in operation else None
        )

    if end == "rotation":
        sync = db._committer.sync

        def sync_first() -> None:
            del db._committer.sync
            sync()
            meanwhile()

        db._committer.sync = sync_first  # type: ignore[method-assign, assignment]
        with pytest.raises(WriteFailed):
            db.flush()
    else:
        db._db.install_lock = Gate(db._db.install_lock, meanwhile)  # type: ignore[assignment]
        with suppress(OSError):
            db.close()
    assert synced == []
    assert disk.hook is not None, "no sync has failed"
    disk.hook = None
    db.close()
    with kvengine.open("db", fs=disk, background="none") as again:
        assert again.get("s", "k", "n") in (b"kept", b"lost")
