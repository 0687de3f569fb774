# C types of the write path.
import cython

from kvengine.storage.batch cimport Batch
from kvengine.storage.database cimport Commit, Database
from kvengine.storage.held cimport HeldObject
from kvengine.storage.memo cimport Memo
from kvengine.storage.memtable cimport Memtable
from kvengine.storage.name_bytes cimport are_ascii_names, encode_object
from kvengine.storage.packed cimport pack, pack_entries
from kvengine.storage.resolved cimport Resolved
from kvengine.storage.snapshots cimport Snapshots
from kvengine.storage.wal.encode cimport encode_record
from kvengine.storage.wal.file cimport WalWriter


cdef class Committer:
    cdef readonly Database _db
    cdef public object _maintain
    cdef object _pressure, _durability
    cdef readonly Commit _begun
    cdef long long _max_value, _max_commit, _memtable_size

    cdef _check(self, batch, expect)

    cpdef commit_operations(self, operations, expect=*, durability=*)
    cpdef clear_all(self, service, key)
    cpdef expire(self, operation)

    @cython.locals(db=Database, me="unsigned long long", commit=Commit, memtable=Memtable)
    cdef Commit _do_all_steps(self, dict assignments, operations, expect, durability)

    @cython.locals(memtable=Memtable)
    cdef _follow(self, Commit commit)

    @cython.locals(
        db=Database, wal=WalWriter, active=Memtable, now="long long", stamp="long long",
        name=tuple, entries=dict, objects=list, row=bytes, record=tuple, piece=bytes, size="long long",
        states=dict, commit=Commit,
    )
    cdef Commit _log(self, dict assignments, operations, expect, durability)

    @cython.locals(name=tuple)
    cdef bint _may_one_expire(self, dict assignments) except -1

    @cython.locals(db=Database, memo=Memo, held=HeldObject, known=Resolved, version="long long", actual="long long")
    cdef _check_expected(self, expect, long long now)

    @cython.locals(db=Database)
    cdef _accept(self, Commit commit, long long end)

    @cython.locals(db=Database, commit=Commit)
    cpdef finish_interrupted(self)

    @cython.locals(
        db=Database, memo=Memo, touched=list, name=tuple, row=bytes, snapshots=Snapshots,
        before=Resolved, entries=dict,
    )
    cdef _publish(self, Commit commit)

    @cython.locals(db=Database)
    cpdef sync(self, Commit commit=*)

    @cython.locals(db=Database, wal=WalWriter)
    cdef _lead(self)

    @cython.locals(db=Database, first=Commit)
    cpdef publish_synced(self, WalWriter wal)


cdef long long _after(long long stamp) except -1


@cython.locals(found=dict, entries=dict)
cdef dict _assignments_of(operations)
