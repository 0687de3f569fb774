"""One commit at a time: serial.py in C, which says why."""

from kvengine.storage.machine cimport Lock


cdef class Serial:
    """What logs the commits of one database, one at a time."""

    cdef Commit _log_alone(self, list changes, operations, expect, bint synced, Once once):
        """Do `_log` under the commit lock."""
        cdef Lock lock = self._db.commit_lock
        lock.take()
        try:
            return self._log(changes, operations, expect, synced, once)
        finally:
            lock.give()

    cdef Commit _log(self, list changes, operations, expect, bint synced, Once once):
        raise NotImplementedError
