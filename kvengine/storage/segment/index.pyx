"""The index of a segment: index.py in C, which describes it."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdlib cimport free, realloc
from libc.string cimport memcmp, memcpy

from kvengine.storage.packed cimport packed_load, packed_load_le32, packed_order, packed_store_le32

cdef enum:
    _SLOT = 16
    _COUNT = 4


cdef class Index:
    """Blocks of rows in order: the first encoded object of each, and where it lies.

    ``_heads``: of each first object the eight bytes that follow the ``_shared`` ones that all begin
    with, as a number. Numbers are in the order of the objects; where two are equal, the names tell.
    """

    def __dealloc__(self):
        free(self._names)
        free(self._slots)
        free(self._heads)

    def __len__(self):
        return self._count

    def __sizeof__(self):
        """Return the bytes of memory that it takes in all."""
        slots = self._room * (sizeof(Slot) + sizeof(uint64_t))
        return object.__sizeof__(self) + self._names_room + slots

    cpdef add(self, bytes first, uint64_t offset, uint32_t length):
        """Append the next block."""
        if first is None:
            raise TypeError("an object must be bytes")
        cdef size_t size = PyBytes_GET_SIZE(first)
        self._make_room(1, size)
        memcpy(self._names + self._names_size, PyBytes_AS_STRING(first), size)
        self._slots[self._count].start = <uint32_t>self._names_size
        self._slots[self._count].offset = offset
        self._slots[self._count].length = length
        self._names_size += size
        self._count += 1
        self._searchable = False

    cdef int _make_room(self, Py_ssize_t more, size_t bytes_more) except -1:
        cdef Py_ssize_t room
        cdef size_t size
        cdef void *made
        if self._names_size + bytes_more > 0xFFFFFFFF:
            raise OverflowError("the objects of an index are longer than 4 GiB")
        if self._names == NULL or self._names_size + bytes_more > self._names_room:
            size = 2 * self._names_room + bytes_more + 16
            made = realloc(self._names, size)
            if made == NULL:
                raise MemoryError
            self._names, self._names_room = <uint8_t *>made, size
        if self._count + more > self._room:
            room = 2 * self._room + more
            made = realloc(self._slots, room * sizeof(Slot))
            if made == NULL:
                raise MemoryError
            self._slots = <Slot *>made
            made = realloc(self._heads, room * sizeof(uint64_t))
            if made == NULL:
                raise MemoryError
            self._heads = <uint64_t *>made
            self._room = room
        return 0

    cdef packed_text _name(self, Py_ssize_t at) noexcept:
        cdef packed_text name
        cdef size_t end = self._slots[at + 1].start if at + 1 < self._count else self._names_size
        name.at = self._names + self._slots[at].start
        name.size = end - self._slots[at].start
        return name

    cdef void _make_heads(self) noexcept:
        cdef packed_text name, other
        cdef Py_ssize_t at
        cdef size_t shared
        name = self._name(0)
        for at in range(1, self._count):
            other = self._name(at)
            shared = 0
            while shared < name.size and shared < other.size and name.at[shared] == other.at[shared]:
                shared += 1
            name.size = shared
        self._shared = name.size
        for at in range(self._count):
            name = self._name(at)
            self._heads[at] = _head(name.at + self._shared, name.size - self._shared)
        self._searchable = True

    cpdef Py_ssize_t find(self, bytes name) except -2:
        """Return the number of the one block that may hold an object, -1 if none may."""
        if name is None:
            raise TypeError("an object must be bytes")
        cdef packed_text wanted
        cdef uint64_t head
        cdef size_t shared
        cdef int order
        cdef Py_ssize_t low = 0, high = self._count, middle
        if high == 0:
            return -1
        if not self._searchable:
            self._make_heads()
        wanted.at = <const uint8_t *>PyBytes_AS_STRING(name)
        wanted.size = PyBytes_GET_SIZE(name)
        shared = self._shared
        order = memcmp(wanted.at, self._names, min(shared, wanted.size))
        if order == 0 and wanted.size < shared:
            order = -1
        if order:
            return -1 if order < 0 else high - 1
        head = _head(wanted.at + shared, wanted.size - shared)
        while low < high:  # the first of all blocks whose head is greater
            middle = (low + high) // 2
            if self._heads[middle] > head:
                high = middle
            else:
                low = middle + 1
        if low and self._heads[low - 1] == head and packed_order(self._name(low - 1), wanted) > 0:
            high, low = low, 0
            while low < high:  # of blocks with one head the names tell
                middle = (low + high) // 2
                if packed_order(self._name(middle), wanted) > 0:
                    high = middle
                else:
                    low = middle + 1
        return low - 1

    cpdef Py_ssize_t before(self, bytes stop) except -2:
        """Return the number of the last block that begins below an object, -1 if none does."""
        cdef Py_ssize_t at = self.find(stop)
        if at >= 0 and self.first(at) == stop:
            return at - 1
        return at

    cdef int _check(self, Py_ssize_t at) except -1:
        if not 0 <= at < self._count:
            raise IndexError(f"there is no block number {at}")
        return 0

    cpdef bytes first(self, Py_ssize_t at):
        """Return the first object of block number ``at``."""
        self._check(at)
        cdef packed_text name = self._name(at)
        return PyBytes_FromStringAndSize(<const char *>name.at, name.size)

    cpdef uint64_t offset(self, Py_ssize_t at) except? 0:
        """Return where block number ``at`` lies in the file."""
        self._check(at)
        return self._slots[at].offset

    cpdef uint32_t length(self, Py_ssize_t at) except? 0:
        """Return the bytes of block number ``at``, trailer included."""
        self._check(at)
        return self._slots[at].length

    @property
    def firsts(self):
        """The first object of each block."""
        return [self.first(at) for at in range(self._count)]

    @property
    def offsets(self):
        """Where each block lies in the file."""
        return [self._slots[at].offset for at in range(self._count)]

    @property
    def lengths(self):
        """The bytes of each block, trailer included."""
        return [self._slots[at].length for at in range(self._count)]


cdef inline uint64_t _head(const uint8_t *at, size_t size) noexcept:
    """Return the first eight bytes as a number, as if zeros followed."""
    if size >= 8:
        return packed_load(at, 8)
    return packed_load(at, <int>size) << 8 * (8 - size) if size else 0


def encode_index(Index index not None):
    """Return the body of an index."""
    cdef Py_ssize_t at, count = index._count
    cdef size_t size = index._names_size
    cdef bytes body = PyBytes_FromStringAndSize(NULL, size + _SLOT * count + _COUNT)
    cdef uint8_t *to = <uint8_t *>PyBytes_AS_STRING(body)
    if size:
        memcpy(to, index._names, size)
    to += size
    for at in range(count):
        packed_store_le32(to, index._slots[at].start)
        packed_store_le32(to + 4, <uint32_t>index._slots[at].offset)
        packed_store_le32(to + 8, <uint32_t>(index._slots[at].offset >> 32))
        packed_store_le32(to + 12, index._slots[at].length)
        to += _SLOT
    packed_store_le32(to, <uint32_t>count)
    return body


def decode_index(body):
    """Return the index that these bytes are; ValueError if they are none (the rules: index.py)."""
    cdef Py_buffer view
    PyObject_GetBuffer(body, &view, PyBUF_SIMPLE)
    try:
        return _decoded(<const uint8_t *>view.buf, view.len)
    finally:
        PyBuffer_Release(&view)


cdef Index _decoded(const uint8_t *body, Py_ssize_t size):
    cdef Index index = Index()
    cdef Py_ssize_t at, count, table = size - _COUNT, end
    cdef const uint8_t *slot
    cdef uint64_t offset, edge = 0
    cdef uint32_t start, length, before = 0
    if table < 0:
        raise ValueError("index is cut short")
    count = packed_load_le32(body + table)
    end = table - _SLOT * count
    if end < 0:
        raise ValueError("index is shorter than its slots")
    if count == 0:
        if end:
            raise ValueError("index slots are out of order")
        return index
    index._make_room(count, end)
    memcpy(index._names, body, end)
    index._names_size = end
    index._count = count
    for at in range(count):
        slot = body + end + _SLOT * at
        start = packed_load_le32(slot)
        offset = packed_load_le32(slot + 4) | <uint64_t>packed_load_le32(slot + 8) << 32
        length = packed_load_le32(slot + 12)
        if offset < edge or length == 0 or offset > <uint64_t>0x7FFFFFFFFFFFFFFF:
            raise ValueError("index names blocks that overlap")
        edge = offset + length
        if start < before or start > end or (at == 0 and start != 0):
            raise ValueError("index slots are out of order")
        before = start
        index._slots[at].start, index._slots[at].offset = start, offset
        index._slots[at].length = length
    for at in range(1, count):
        if packed_order(index._name(at - 1), index._name(at)) >= 0:
            raise ValueError("index is out of order")
    return index
