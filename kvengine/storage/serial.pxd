# What serial.pyx gives other compiled modules.
from kvengine.storage.database cimport Database
from kvengine.storage.state cimport Commit
from kvengine.storage.tokens cimport Once


cdef class Serial:
    cdef readonly Database _db

    cdef Commit _log_alone(self, list changes, operations, expect, bint synced, Once once)
    cdef Commit _log(self, list changes, operations, expect, bint synced, Once once)
