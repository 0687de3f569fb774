# Types of format.py: the index, which every read of a segment begins with.

cdef class Index:
    cdef public list firsts
    cdef readonly object offsets, lengths
