# C types of the state of an open database. `view`, `wal` and files are of many classes.
from kvengine.storage.clock cimport EngineClock
from kvengine.storage.memo cimport Memo
from kvengine.storage.memtable cimport Memtable
from kvengine.storage.machine cimport Lock
from kvengine.storage.snapshots cimport Snapshots
from kvengine.storage.wal.file cimport WalWriter
from kvengine.storage.walk cimport DeadSpans


cdef class Counters:
    cdef public long long commits, syncs, wal_bytes, flushes, flushed_bytes, compactions
    cdef public long long compacted_bytes, dropped_segments, stalls, background_errors
    cdef public double stall_seconds
    cdef public str last_background_error


cdef class Database:
    cdef public object fs, directory, options, catalog, view, frames, manifest, lock
    cdef public object install_lock, failed, owner, tokens
    cdef public Lock commit_lock, sync_lock
    # Readonly is what a commit uses after it was logged: nobody can set it to None.
    cdef readonly EngineClock clock
    cdef readonly Memo memo
    cdef readonly Snapshots snapshots
    cdef readonly Counters counters
    cdef readonly list pending, running
    cdef readonly dict unpublished
    cdef public WalWriter wal
    cdef readonly DeadSpans spans
    cdef public set obsolete
    cdef public tuple recovery, life, feeds
    cdef public str stalled, live_access
    cdef public long long last_stamp, published
    cdef public bint gone

    cpdef refuse_nested(self)
    cpdef fail(self, error)
    cpdef check_writable(self)
