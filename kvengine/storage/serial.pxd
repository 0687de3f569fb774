# What serial.pyx gives other compiled modules.
from kvengine.storage.database cimport Commit, Database


cdef class Serial:
    cdef readonly Database _db

    cdef Commit _log_alone(self, list changes, operations, expect, durability)
    cdef Commit _log(self, list changes, operations, expect, durability)
