"""States: state.py in C, which describes them."""

cimport cython


@cython.trashcan(True)  # a chain may be longer than the stack of C is deep
cdef class State:
    """What a memtable says of an object as of one commit."""

    def __init__(self, long long stamp, tuple rows not None, int fresh, State prev):
        self.stamp = stamp
        self.rows = rows
        self.fresh = fresh
        self.prev = prev


@cython.trashcan(True)
cdef class TombstoneState(State):
    """All range tombstones of the memtable as of one commit."""

    def __init__(self, tuple found not None, long long stamp, State prev):
        State.__init__(self, stamp, (), 0, prev)
        self.tombstones = found
