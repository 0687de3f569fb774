# C types of the write path.
import cython

from kvengine.storage.batch cimport Batch, batch_of
from kvengine.storage.database cimport Database
from kvengine.storage.held cimport HeldObject
from kvengine.storage.memo cimport Memo
from kvengine.storage.memtable cimport Memtable, states_of
from kvengine.storage.name_bytes cimport are_ascii_names, encode_object
from kvengine.storage.packed cimport pack, pack_entries
from kvengine.storage.resolved cimport Resolved
from kvengine.storage.serial cimport Serial
from kvengine.storage.snapshots cimport Snapshots
from kvengine.storage.tokens cimport Once, Tokens
from kvengine.storage.state cimport Change, Commit, TombstoneState, change_of, new_commit
from kvengine.storage.version cimport View
from kvengine.storage.wal.encode cimport encode_record
from kvengine.storage.wal.file cimport WalWriter


cdef class Committer(Serial):
    cdef public object _maintain
    cdef object _pressure
    cdef bint _synced
    cdef readonly Commit _begun
    cdef long long _max_value, _max_record, _memtable_size, _least

    @cython.locals(content=Batch)
    cdef Batch _check(self, batch, expect)

    @cython.locals(db=Database)
    cpdef Batch batch(self)
    cpdef commit_operations(self, operations)
    @cython.locals(synced=bint)
    cpdef long long commit_entries(self, tuple name, dict entries, version, durability, held) except -1
    cpdef set(self, service, key, state_key, value, ttl=*, expires_at=*)
    cpdef clear(self, service, key, state_key)
    cpdef clear_all(self, service, key)
    cpdef write(self, batch, expect=*, durability=*)
    cpdef write_once(self, batch, expect, durability, token, since)
    @cython.locals(content=Batch, commit=Commit, changes=list, synced=bint)
    cdef bint _write(self, batch, expect, durability, Once once) except -1
    @cython.locals(db=Database, wal=WalWriter, synced=bint)
    cpdef confirm(self, stamp, durability=*)
    cpdef expire(self, operation)

    @cython.locals(commit=Commit)
    cdef long long _commit(
        self, list changes, operations, expect, bint synced
    ) except -1

    @cython.locals(db=Database, commit=Commit, memtable=Memtable)
    cdef Commit _do_all_steps(
        self, list changes, operations, expect, bint synced, Once once=*, bint wait=*
    )

    @cython.locals(memtable=Memtable)
    cdef _follow(self, Commit commit)

    @cython.locals(
        db=Database, wal=WalWriter, active=Memtable, now="long long", stamp="long long",
        view=View, change=Change, one=Change, record=bytes,
        marks=TombstoneState, commit=Commit, epoch="long long", token=bytes,
    )
    cdef Commit _log(self, list changes, operations, expect, bint synced, Once once)

    @cython.locals(tokens=Tokens)
    cdef _check_once(self, Once once)

    @cython.locals(db=Database, memo=Memo, held=HeldObject, known=Resolved, version="long long", actual="long long")
    cdef _check_expected(self, expect, long long now)

    @cython.locals(db=Database)
    cdef _accept(self, Commit commit, long long end)

    @cython.locals(db=Database, commit=Commit)
    cpdef finish_interrupted(self)

    @cython.locals(
        db=Database, memo=Memo, touched=bint, change=Change, snapshots=Snapshots, memtable=Memtable,
    )
    cdef _publish(self, Commit commit)

    @cython.locals(memo=Memo, change=Change, before=Resolved, entries=dict, values=dict)
    cdef _change_memo(self, Commit commit)

    @cython.locals(db=Database)
    cpdef sync(self, Commit commit=*)

    @cython.locals(db=Database, wal=WalWriter)
    cdef _lead(self)

    @cython.locals(db=Database, first=Commit)
    cpdef publish_synced(self, WalWriter wal)


@cython.locals(change=Change)
cdef bint _may_expire(View view, list changes) except -1
@cython.locals(changes=list)
cdef list _changes_of(Batch batch)
cdef long long _after(long long stamp) except -1

