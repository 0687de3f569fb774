# C types of the write verbs.
from kvengine.storage.commit cimport Committer
from kvengine.storage.reader cimport LiveReader


cdef class LiveWriter(LiveReader):
    cdef public Committer _committer
