"""The work of a job, without the interpreter lock: rewrite.py in C.

Each layer is a cursor, over the blocks of segments or over what was gathered of a memtable. Of each
object the rows are overlaid as bytes, and what retention leaves of them goes to the writer. Python
decides where that is not simple: rows that are damaged or not as commits write them, an expiry that
a newer segment may extend. Such an object takes the way of rewrite.py, and so does the first object
of each output.

Without the lock only memory of C is read and written, and bytes that a list keeps alive. Where the
lock is needed it is taken for one step (`with gil`). That must be rare: whoever asks for it waits
as long as another thread computes without a pause, 5 ms.
"""

import os

from kvengine.storage.compaction.job import Abandoned
from kvengine.storage.names import after
from kvengine.storage.range_tombstones import union
from kvengine.storage.fold import fold
from kvengine.storage.row import decode

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize
from cpython.bytes cimport PyBytes_GET_SIZE
from cpython.dict cimport PyDict_Next
from cpython.object cimport PyObject
from cpython.tuple cimport PyTuple_CheckExact, PyTuple_GET_ITEM, PyTuple_GET_SIZE
from libc.errno cimport EINTR, errno
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport qsort
from libc.string cimport memcpy

from kvengine.fs.disk cimport DiskFile
from kvengine.storage.checksum cimport block_sum, seed_of_place
from kvengine.storage.memtable cimport Memtable
from kvengine.storage.name_bytes cimport utf8_of
from kvengine.storage.overlay cimport (
    OVERLAY_DONE,
    OVERLAY_NO_MEMORY,
    OVERLAY_UNKNOWN,
    ROW_CLEARED,
    ROW_LARGE,
    memory,
    memory_add,
    memory_clear,
    memory_free,
    memory_room,
    overlay,
    overlay_add,
    overlay_add_chunk,
    overlay_add_head,
    overlay_begin,
    overlay_chunk,
    overlay_chunks_size,
    overlay_free,
    overlay_is_expired,
    overlay_retain,
    overlay_take_chunk,
)
from kvengine.storage.packed cimport (
    packed_equal,
    packed_load,
    packed_load_le32,
    packed_order,
    packed_text,
)
from kvengine.storage.read cimport Piece
from kvengine.storage.segment.filter cimport Filter, barrier_of, holds, xxh3
from kvengine.storage.segment.reader cimport LiveSegment
from kvengine.storage.segment.writer cimport SegmentWriter
from kvengine.storage.state cimport State

cdef extern from "<unistd.h>" nogil:
    ssize_t pread(int fd, void *to, size_t size, long long offset)

cdef extern from "<time.h>" nogil:
    struct timespec:
        long tv_sec
        long tv_nsec
    int CLOCK_MONOTONIC
    int clock_gettime(int clock, timespec *now)

cdef extern from * nogil:
    void __builtin_prefetch(const void *at)

cdef extern from "kvengine/storage/segment/block.h" nogil:
    ctypedef struct block_rows:
        const uint8_t *data
        size_t count

    packed_text block_part(const block_rows *block, size_t slot)
    packed_text block_name(const block_rows *block, size_t at)
    int block_open(block_rows *block, const uint8_t *data, size_t size)
    int block_is_sound(const block_rows *block)

cdef str _DISORDER = "objects are out of order"

cdef enum:
    _WINDOW = 256 * 1024  # bytes of blocks that are read at once
    _ALL_WINDOWS = 16 << 20
    _TRAILER = 6
    _ROWS = 1
    _CHUNK = 2
    _CHECK_EVERY = 64  # objects, until the clock is looked at,
    _CHECK_BEHIND = 8192  # and behind a row of more bytes
    _CHECK_NANOSECONDS = 50_000_000  # until `wanted` is asked
    _AHEAD = 8  # rows of a memtable that are fetched ahead
    _GATHERED = 4096  # names that are gathered before other threads may run

cdef struct Range:
    # What a range tombstone covers, and its stamp.
    packed_text start
    packed_text stop
    uint64_t stamp

cdef struct Gathered:
    # An object in a memtable: the rows number `first` to `last`.
    packed_text name
    uint64_t stamp
    size_t first, last

cdef struct Sorted:
    # An object of a memtable in its place; `head` is in front of its name as a number, so that most
    # comparisons need not look at the name.
    uint64_t head
    Gathered *found

cdef struct Place:
    # A block of rows in its file, and its first object.
    uint64_t offset
    uint32_t length
    packed_text first

cdef struct File:
    # A segment. Without a descriptor it is read with the interpreter lock.
    int descriptor
    uint64_t file_id, size
    size_t first, last  # its blocks, among the places

cdef struct Cursor:
    # Where the walk of a layer stands.
    size_t layer  # its number: 0 is the newest
    PyObject *owner  # the _Layer; followed with the interpreter lock only
    size_t window_size
    packed_text name
    memory covers  # of Range: the tombstones of newer layers
    size_t cover
    # A memtable: objects in order.
    memory gathered, rows, names, marks
    memory sorted  # of Sorted
    size_t mark, at
    # Segments: files, and the places of their blocks.
    memory files, places, last
    size_t file, place
    memory window, chunks
    uint64_t window_at
    block_rows block
    size_t row

cdef struct Newer:
    # The filter of a newer segment that extends some expiry.
    packed_text start
    packed_text stop
    const uint64_t *words
    uint64_t count


def rewrite(layers, policy, outputs, wanted):
    """Write the overlay of ``layers`` (newest first), and of each object what ``policy`` retains.

    ``wanted`` is asked now and then whether to go on. If it says no, `Abandoned` is raised.
    """
    _Rewrite(layers, policy, outputs, wanted).run()


cdef class _Layer:
    """One layer: its cursor, and the Python objects whose bytes the cursor leads to."""

    cdef Cursor cursor
    cdef list segments
    cdef list kept

    def __cinit__(self, size_t number, layer, tuple covers, size_t window):
        """``covers``: the range tombstones of newer layers. ``window``: bytes read at once."""
        self.cursor.layer, self.cursor.owner = number, <PyObject *>self
        self.cursor.window_size = window
        self.kept = []
        self.segments = list(layer.segments)
        self._add_ranges(&self.cursor.covers, covers)
        if layer.table is not None:
            self._add_ranges(&self.cursor.marks, layer.tombstones)
            self._gather(layer.table)
        for segment in self.segments:
            self._add_file(segment)

    def __dealloc__(self):
        cdef Cursor *cursor = &self.cursor
        memory_free(&cursor.covers)
        memory_free(&cursor.gathered)
        memory_free(&cursor.sorted)
        memory_free(&cursor.rows)
        memory_free(&cursor.names)
        memory_free(&cursor.marks)
        memory_free(&cursor.files)
        memory_free(&cursor.places)
        memory_free(&cursor.window)
        memory_free(&cursor.chunks)
        memory_free(&cursor.last)

    cdef int _add_ranges(self, memory *to, tuple tombstones) except -1:
        cdef Range found
        self.kept.append(tombstones)
        for start, stop, stamp in tombstones:
            found.start, found.stop, found.stamp = _text(start), _text(stop), stamp
            _grow(memory_add(to, &found, sizeof(Range)))
        return 0

    cdef int _gather(self, Memtable table) except -1:
        """Note the objects of a frozen memtable and where their rows lie, in the order of names.

        Other threads may run in between: nothing is borrowed from the dict over that.
        """
        cdef Cursor *cursor = &self.cursor
        cdef PyObject *name
        cdef PyObject *state
        cdef Py_ssize_t at = 0
        cdef size_t count = 0
        while PyDict_Next(table.states, &at, &name, &state):
            if name is not <PyObject *>None:
                self._add_state(<object>name, <State?><object>state)
            count += 1
            if count % _GATHERED == 0:
                with nogil:
                    pass
        with nogil:
            _place_names(cursor)
            _sort(cursor)
        return 0

    cdef int _add_state(self, name, State state) except -1:
        cdef Cursor *cursor = &self.cursor
        cdef Gathered found
        cdef packed_text row
        cdef State below = state
        if not PyTuple_CheckExact(name) or PyTuple_GET_SIZE(name) != 2:
            raise TypeError("an object is named by two str")
        found.stamp = state.stamp
        found.first = cursor.rows.size // sizeof(packed_text)
        self.kept.append(state)
        while below is not None:
            row = _text(below.row)
            _grow(memory_add(&cursor.rows, &row, sizeof(packed_text)))
            below = below.below
        found.last = cursor.rows.size // sizeof(packed_text)
        found.name.at = NULL  # the names still move
        found.name.size = _add_name(
            &cursor.names, <object>PyTuple_GET_ITEM(name, 0), <object>PyTuple_GET_ITEM(name, 1)
        )
        return _grow(memory_add(&cursor.gathered, &found, sizeof(Gathered)))

    cdef int _add_file(self, LiveSegment segment) except -1:
        """Note where the blocks of a segment lie."""
        cdef Cursor *cursor = &self.cursor
        cdef File file
        cdef Place place
        cdef Py_ssize_t at, count = segment.block_count
        cdef bytes first
        file.file_id, file.size = segment.file_id, segment.size
        file.descriptor = (<DiskFile>segment._file)._fd if type(segment._file) is DiskFile else -1
        file.first = cursor.places.size // sizeof(Place)
        file.last = file.first + count
        for at in range(count):
            first, (place.offset, place.length) = segment.block_handle(at)
            place.first = _text(first)
            self.kept.append(first)
            _grow(memory_add(&cursor.places, &place, sizeof(Place)))
            if at % _GATHERED == 0:
                with nogil:
                    pass
        return _grow(memory_add(&cursor.files, &file, sizeof(File)))

    cdef int _read(self, memory *to, uint64_t start, size_t size) except -1:
        """Read a part of the file at which the cursor stands, by the file itself."""
        cdef LiveSegment segment = self.segments[self.cursor.file]
        cdef bytes data = segment._file.pread(size, start)
        return _grow(memory_add(to, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data)))

    cdef int _mend(self) except -1:
        """Take a block from the reader, which says what is wrong with it unless it was read now."""
        cdef Cursor *cursor = &self.cursor
        cdef File *file = <File *>cursor.files.at + cursor.file
        cdef LiveSegment segment = self.segments[cursor.file]
        cdef bytes data
        found = segment.block(cursor.place - file.first)
        if found.names[0] <= PyBytes_FromStringAndSize(
            <const char *>cursor.last.at, cursor.last.size
        ):
            raise segment.damaged(found.names[0], ValueError(_DISORDER))
        try:
            found.rows
        except ValueError as error:
            raise segment.damaged(found.names[0], error) from None
        data = found.data
        cursor.window.size = 0
        _grow(memory_add(&cursor.window, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data)))
        cursor.window_at = (<Place *>cursor.places.at + cursor.place).offset
        if not _open_block(cursor):
            self._raise_damaged("block was read in two ways")
        return 0

    cdef int _raise_damaged(self, reason) except -1:
        """Raise CorruptionError for the block."""
        cdef Cursor *cursor = &self.cursor
        cdef LiveSegment segment = self.segments[cursor.file]
        raise segment.damaged(_bytes(block_name(&cursor.block, 0)), ValueError(reason))

    cdef Piece piece(self):
        """Return what the layer says of its object, for Python to decide."""
        cdef Cursor *cursor = &self.cursor
        cdef Gathered *found
        cdef packed_text *rows = <packed_text *>cursor.rows.at
        if cursor.gathered.size:
            found = (<Sorted *>cursor.sorted.at)[cursor.at - 1].found
            return Piece(fold([_bytes(rows[at]) for at in range(found.first, found.last)]))
        row = _bytes(block_part(&cursor.block, cursor.row))
        return Piece(row, self.segments[cursor.file], _bytes(cursor.name))


# --- walking, without the interpreter lock


cdef bint _advance(Cursor *cursor) except -1 nogil:
    """Go to the next object of a layer. Return whether there is one."""
    cdef Sorted *due = <Sorted *>cursor.sorted.at + cursor.at
    cdef Sorted *end = <Sorted *>(cursor.sorted.at + cursor.sorted.size)
    cdef packed_text *rows = <packed_text *>cursor.rows.at
    cdef Gathered *found
    while due < end:
        # In the order of names, what is due soon lies anywhere: the processor is to fetch it. What
        # leads there must have been fetched before. (GCC drops a function that does only this.)
        if end - due > 3 * _AHEAD:
            __builtin_prefetch(due[3 * _AHEAD].found)
            __builtin_prefetch(due[2 * _AHEAD].found.name.at)
            __builtin_prefetch(rows + due[2 * _AHEAD].found.first)
            __builtin_prefetch(rows[due[_AHEAD].found.first].at)
            __builtin_prefetch(rows[due[_AHEAD].found.first].at + 64)
        found = due.found
        due += 1
        cursor.at += 1
        if found.stamp >= _covering(&cursor.marks, &cursor.mark, found.name):
            cursor.name = found.name
            return True
    cursor.row += 1
    if cursor.row >= cursor.block.count and not _next_block(cursor):
        return False
    cursor.name = block_name(&cursor.block, cursor.row)
    return True


cdef bint _next_block(Cursor *cursor) except -1 nogil:
    """Read and check the next block of rows. Return whether there is one."""
    cdef size_t files = cursor.files.size // sizeof(File)
    cdef packed_text last
    while cursor.file < files and cursor.place == (<File *>cursor.files.at + cursor.file).last:
        cursor.file += 1
        cursor.window.size = 0
    if cursor.file == files:
        return False
    if cursor.block.count:
        last = block_name(&cursor.block, cursor.block.count - 1)
        cursor.last.size = 0
        _grow(memory_add(&cursor.last, last.at, last.size))
    if not _is_in_window(cursor):
        _read_window(cursor)
    if not _open_block(cursor):
        with gil:
            (<_Layer>cursor.owner)._mend()
    last.at, last.size = cursor.last.at, cursor.last.size
    if last.size and packed_order(last, block_name(&cursor.block, 0)) >= 0:
        with gil:
            (<_Layer>cursor.owner)._raise_damaged(_DISORDER)
    cursor.place += 1
    cursor.row = 0
    return True


cdef bint _is_in_window(Cursor *cursor) noexcept nogil:
    cdef Place *place = <Place *>cursor.places.at + cursor.place
    if place.offset < cursor.window_at:
        return False
    if place.offset - cursor.window_at > cursor.window.size:
        return False
    return place.length <= cursor.window.size - (place.offset - cursor.window_at)


cdef int _read_window(Cursor *cursor) except -1 nogil:
    """Read the block and those that follow it directly, as far as the window goes.

    Where the file ends too early the window is too short, and `_mend` says what is wrong.
    """
    cdef File *file = <File *>cursor.files.at + cursor.file
    cdef Place *place = <Place *>cursor.places.at + cursor.place
    cdef Place *end = <Place *>cursor.places.at + file.last
    cdef uint64_t start = place.offset, stop = place.offset + place.length
    cursor.window.size = 0
    cursor.window_at = start
    if place.length > file.size or start > file.size - place.length:
        return 0  # the block lies outside its file
    place += 1
    while place < end and place.offset == stop:
        if stop + place.length - start > cursor.window_size:
            break
        stop += place.length
        place += 1
    return _read(cursor, &cursor.window, start, min(stop, file.size) - start)


cdef int _read(Cursor *cursor, memory *to, uint64_t start, size_t size) except -1 nogil:
    """Read a part of the file at which a cursor stands; less where the file ends."""
    cdef File *file = <File *>cursor.files.at + cursor.file
    cdef ssize_t got = 1
    cdef int code
    memory_clear(to)
    if memory_room(to, size) is NULL:
        _grow(-1)
    if file.descriptor < 0:
        with gil:
            (<_Layer>cursor.owner)._read(to, start, size)
        return 0
    while got and to.size < size:
        got = pread(file.descriptor, to.at + to.size, size - to.size, start + to.size)
        if got > 0:
            to.size += got
        elif got < 0:
            code = errno
            if code != EINTR:
                with gil:
                    raise OSError(code, os.strerror(code))
    return 0


cdef bint _is_sealed(File *file, uint64_t offset, packed_text body, int kind) noexcept nogil:
    """Return whether the trailer behind a body seals it to its place as a block of a kind."""
    cdef const uint8_t *trailer = body.at + body.size
    cdef uint32_t seed = seed_of_place(file.file_id, offset)
    if trailer[0] != kind or trailer[1] != 0:
        return False
    return packed_load_le32(trailer + 2) == block_sum(body.at, body.size, kind, 0, seed)


cdef bint _open_block(Cursor *cursor) noexcept nogil:
    """Return whether the block in the window is sound: its seal, and all rules of blocks."""
    cdef File *file = <File *>cursor.files.at + cursor.file
    cdef Place *place = <Place *>cursor.places.at + cursor.place
    cdef packed_text body
    cursor.block.count = 0
    if not _is_in_window(cursor) or place.length < _TRAILER:
        return False
    body.at = cursor.window.at + (place.offset - cursor.window_at)
    body.size = place.length - _TRAILER
    if not _is_sealed(file, place.offset, body, _ROWS):
        return False
    return block_open(&cursor.block, body.at, body.size) and block_is_sound(&cursor.block)


cdef uint64_t _covering(memory *ranges, size_t *at, packed_text name) noexcept nogil:
    """Return the stamp of the range over an object, 0 for none.

    ``at``: how many ranges lie below the objects that were asked for, which come in order.
    """
    cdef Range *found = <Range *>ranges.at + at[0]
    cdef Range *end = <Range *>(ranges.at + ranges.size)
    while found < end and packed_order(found.stop, name) <= 0:
        found += 1
        at[0] += 1
    return found.stamp if found < end and packed_order(found.start, name) <= 0 else 0


cdef class _Rewrite:
    """The walk through all layers at once."""

    cdef object policy, outputs, wanted
    cdef list layers, kept
    cdef Cursor **heap  # the layer with the least object first, of those the newest
    cdef Cursor **taken  # the layers that have the object, newest first
    cdef Cursor **pieces  # those of them that show through
    cdef size_t live, found, shown
    cdef overlay row
    cdef SegmentWriter writer
    cdef bint can_write
    cdef uint64_t horizon, seed, segment_size
    cdef memory beneath, extended, apart  # of Range
    cdef size_t beneath_at, extended_at, apart_at
    cdef memory newer  # of Newer
    cdef memory pointers
    cdef timespec asked

    def __cinit__(self, list layers, policy, outputs, wanted):
        cdef size_t window = max(1, min(_WINDOW, _ALL_WINDOWS // max(1, len(layers))))
        cdef size_t size = len(layers) * sizeof(void *)
        covers = ()
        self.policy, self.outputs, self.wanted = policy, outputs, wanted
        self.layers, self.kept = [], []
        job = policy.job
        self.horizon, self.seed, self.segment_size = job.horizon, job.seed, job.segment_size
        for name in sorted(job.extended):
            self._add_range(&self.extended, name, after(name))
        for name in outputs.apart:
            self._add_range(&self.apart, name, after(name))
        for start, stop in policy.beneath:
            self._add_range(&self.beneath, start, stop)
        for segment in job.newer:
            self._add_newer(segment)
        for number, layer in enumerate(layers):
            self.layers.append(_Layer(number, layer, covers, window))
            covers = union(layer.tombstones, covers)
        if memory_room(&self.pointers, 3 * size) is NULL:
            raise MemoryError
        self.heap = <Cursor **>self.pointers.at
        self.taken = <Cursor **>(self.pointers.at + size)
        self.pieces = <Cursor **>(self.pointers.at + 2 * size)

    def __dealloc__(self):
        overlay_free(&self.row)
        memory_free(&self.beneath)
        memory_free(&self.extended)
        memory_free(&self.apart)
        memory_free(&self.newer)
        memory_free(&self.pointers)

    cdef int _add_range(self, memory *to, bytes start, bytes stop) except -1:
        cdef Range found
        found.start, found.stop, found.stamp = _text(start), _text(stop), 1
        self.kept.append((start, stop))
        return _grow(memory_add(to, &found, sizeof(Range)))

    cdef int _add_newer(self, LiveSegment segment) except -1:
        cdef Newer found
        cdef Filter items = segment._filter
        found.start, found.stop = _text(segment.start), _text(segment.stop)
        found.words, found.count = &items._view[0], items._view.shape[0]
        self.kept.append(items)
        return _grow(memory_add(&self.newer, &found, sizeof(Newer)))

    def run(self):
        """Walk all layers to their ends."""
        cdef _Layer layer
        if self.layers and not self.wanted():
            raise Abandoned
        clock_gettime(CLOCK_MONOTONIC, &self.asked)
        for layer in self.layers:
            if _advance(&layer.cursor):
                _push(self.heap, self.live, &layer.cursor)
                self.live += 1
        with nogil:
            self._walk()

    cdef int _walk(self) except -1 nogil:
        cdef size_t count = 0, at
        while self.live:
            count += 1
            if count % _CHECK_EVERY == 0 or self.row.bytes.size > _CHECK_BEHIND:
                self._ask()
            self.found = 0
            while self.live and (
                self.found == 0 or packed_equal(self.heap[0].name, self.taken[0].name)
            ):
                self.taken[self.found] = self.heap[0]
                self.found = self.found + 1
                self.live = self.live - 1
                _pop(self.heap, self.live)
            self._rewrite()
            for at in range(self.found):
                if _advance(self.taken[at]):
                    _push(self.heap, self.live, self.taken[at])
                    self.live = self.live + 1
        return 0

    cdef int _ask(self) except -1 nogil:
        """Ask now and then whether to go on."""
        cdef timespec now
        clock_gettime(CLOCK_MONOTONIC, &now)
        if (now.tv_sec - self.asked.tv_sec) * 1_000_000_000 + (
            now.tv_nsec - self.asked.tv_nsec
        ) > _CHECK_NANOSECONDS:
            self.asked = now
            with gil:
                if not self.wanted():
                    raise Abandoned
        return 0

    cdef int _rewrite(self) except -1 nogil:
        """Write what is left of the object of the layers that were taken."""
        cdef packed_text name = self.taken[0].name
        cdef bint bottom, extended = False
        cdef int found = self._lay()
        if self.shown == 0:
            return 0  # newer tombstones cover all of it
        if found == OVERLAY_DONE and overlay_is_expired(&self.row, self.horizon):
            extended = _covering(&self.extended, &self.extended_at, name) != 0
            if not extended and self._may_be_extended(name):
                found = OVERLAY_UNKNOWN
        if found == OVERLAY_DONE:
            bottom = _covering(&self.beneath, &self.beneath_at, name) == 0
            found = overlay_retain(&self.row, self.horizon, extended, bottom)
        if found == OVERLAY_NO_MEMORY:
            _grow(-1)
        if found == OVERLAY_DONE:
            if self._fits(name):
                return self.writer.put(name, &self.row)
            with gil:
                self._add()
        elif found == OVERLAY_UNKNOWN:
            with gil:
                self._hand_over()
        return 0

    cdef int _lay(self) except -2 nogil:
        """Lay the rows of the object over each other, and note the layers that show through."""
        cdef packed_text name = self.taken[0].name
        cdef packed_text row
        cdef packed_text *rows
        cdef Cursor *cursor
        cdef Gathered *gathered
        cdef size_t layer, at, count
        cdef int found = OVERLAY_DONE
        self.shown = 0
        overlay_begin(&self.row)
        for layer in range(self.found):
            cursor = self.taken[layer]
            if _covering(&cursor.covers, &cursor.cover, name):
                continue
            self.pieces[self.shown] = cursor
            self.shown = self.shown + 1
            if cursor.gathered.size:
                gathered = (<Sorted *>cursor.sorted.at)[cursor.at - 1].found
                rows = <packed_text *>cursor.rows.at + gathered.first
                count = gathered.last - gathered.first
            else:
                row = block_part(&cursor.block, cursor.row)
                rows, count = &row, 1
            for at in range(count):
                if found == OVERLAY_DONE:
                    if rows[at].size > 1 and rows[at].at[1] & ROW_LARGE and cursor.files.size:
                        found = self._lay_large(cursor, rows[at])
                    else:
                        found = overlay_add(&self.row, rows[at])
                if rows[at].size > 1 and rows[at].at[1] & ROW_CLEARED:
                    return found
        return found

    cdef int _lay_large(self, Cursor *cursor, packed_text head) except -2 nogil:
        """Lay a row in chunks under those before it. The chunks follow the block of the head."""
        cdef const uint8_t *end = head.at + head.size
        cdef Place *place = <Place *>cursor.places.at + cursor.place - 1
        cdef File *file = <File *>cursor.files.at + cursor.file
        cdef uint64_t base = place.offset + place.length, edge = file.size
        cdef uint64_t size
        cdef uint32_t count = 0, taken
        cdef const uint8_t *at = overlay_add_head(&self.row, head, &count)
        cdef overlay_chunk chunk
        cdef packed_text body
        chunk.offset = chunk.length = 0
        if at is NULL or not packed_equal(place.first, cursor.name):
            return OVERLAY_UNKNOWN
        if cursor.place < file.last:
            edge = place[1].offset
        size = overlay_chunks_size(at, end, count)
        if size == 0 or base > edge or size > edge - base:
            return OVERLAY_UNKNOWN
        _read(cursor, &cursor.chunks, base, size)
        if cursor.chunks.size != size:
            return OVERLAY_UNKNOWN
        for taken in range(count):
            at = overlay_take_chunk(at, end, &chunk)
            body.at, body.size = cursor.chunks.at + chunk.offset, chunk.length - _TRAILER
            if not _is_sealed(file, base + chunk.offset, body, _CHUNK):
                return OVERLAY_UNKNOWN
            if overlay_add_chunk(&self.row, body):
                return OVERLAY_UNKNOWN
        return OVERLAY_DONE

    cdef bint _may_be_extended(self, packed_text name) noexcept nogil:
        """Return whether the filter of a newer segment says that it may extend the expiry."""
        cdef Newer *newer = <Newer *>self.newer.at
        cdef Newer *end = <Newer *>(self.newer.at + self.newer.size)
        cdef uint64_t barrier = barrier_of(xxh3(name.at, name.size, self.seed))
        while newer < end:
            if packed_order(newer.start, name) <= 0 and packed_order(name, newer.stop) < 0:
                if holds(newer.words, newer.count, barrier):
                    return True
            newer += 1
        return False

    cdef bint _fits(self, packed_text name) noexcept nogil:
        """Return whether the object belongs into the output that is being written, as it is."""
        cdef Range *apart = <Range *>self.apart.at + self.apart_at
        if not self.can_write:
            return False
        if self.apart_at < self.apart.size // sizeof(Range) and packed_order(apart.start, name) < 0:
            return False
        if self.segment_size == 0:
            return True
        return self.row.bytes.size < self.segment_size and self.writer.written() < self.segment_size

    # --- with the interpreter lock

    cdef int _add(self) except -1:
        """Let Python add what is left of the object: it may end an output and begin the next."""
        encoded = _bytes(self.row.bytes)
        self.outputs.add(_bytes(self.taken[0].name), decode(encoded), encoded)
        return self._follow()

    cdef int _hand_over(self) except -1:
        """Let Python decide what is left of the object."""
        name = _bytes(self.taken[0].name)
        pieces = [(<_Layer>self.pieces[at].owner).piece() for at in range(self.shown)]
        row, encoded = self.policy.retained(name, pieces)
        if row is not None:
            self.outputs.add(name, row, encoded)
        return self._follow()

    cdef int _follow(self) except -1:
        """Note which output is being written."""
        self.writer = self.outputs.writer
        self.can_write = self.writer is not None
        self.apart_at = self.apart.size // sizeof(Range) - len(self.outputs.apart)
        return 0


# --- the heap


cdef bint _before(Cursor *one, Cursor *other) noexcept nogil:
    cdef int order = packed_order(one.name, other.name)
    return order < 0 or (order == 0 and one.layer < other.layer)


cdef void _push(Cursor **heap, size_t live, Cursor *cursor) noexcept nogil:
    """Add a cursor to a heap of ``live`` ones."""
    cdef size_t at = live
    while at and _before(cursor, heap[(at - 1) // 2]):
        heap[at] = heap[(at - 1) // 2]
        at = (at - 1) // 2
    heap[at] = cursor


cdef void _pop(Cursor **heap, size_t live) noexcept nogil:
    """Take the first out of a heap; ``live`` are left."""
    cdef Cursor *cursor = heap[live]
    cdef size_t at = 0, child = 1
    while child < live:
        if child + 1 < live and _before(heap[child + 1], heap[child]):
            child += 1
        if not _before(heap[child], cursor):
            break
        heap[at] = heap[child]
        at, child = child, 2 * child + 1
    heap[at] = cursor


# --- names and bytes


cdef packed_text _text(bytes data) except *:
    """Return where bytes lie. The caller keeps them."""
    cdef packed_text text
    if data is None:
        raise TypeError("a row or a name must be bytes")
    text.at = <const uint8_t *>PyBytes_AS_STRING(data)
    text.size = PyBytes_GET_SIZE(data)
    return text


cdef bytes _bytes(packed_text text):
    return PyBytes_FromStringAndSize(<const char *>text.at, text.size)


cdef inline int _grow(int failed) except -1 nogil:
    """Raise MemoryError if there was no memory to append something."""
    if failed:
        with gil:
            raise MemoryError
    return 0


cdef Py_ssize_t _add_name(memory *to, str service, str key) except -1:
    """Append an object as `encode_object` encodes it, and return its length."""
    cdef Py_ssize_t size, key_size, at
    cdef const char *text
    cdef uint8_t *end
    cdef uint8_t *start
    if service is None or key is None:
        raise TypeError("an object is named by two str")
    text = utf8_of(service, &size)
    utf8_of(key, &key_size)
    start = end = memory_room(to, 2 * size + 2 + key_size)
    if start is NULL:
        raise MemoryError
    for at in range(size):
        end[0] = text[at]
        end += 1
        if text[at] == 0:
            end[0] = 0xFF
            end += 1
    end[0], end[1] = 0, 1
    memcpy(end + 2, utf8_of(key, &key_size), key_size)
    size = end + 2 + key_size - start
    to.size += size
    return size


cdef void _place_names(Cursor *cursor) noexcept nogil:
    """Note where the names of gathered objects lie, now that they move no more."""
    cdef Gathered *found = <Gathered *>cursor.gathered.at
    cdef size_t at, offset = 0
    for at in range(cursor.gathered.size // sizeof(Gathered)):
        found[at].name.at = cursor.names.at + offset
        offset += found[at].name.size


cdef int _sort(Cursor *cursor) except -1 nogil:
    """Put gathered objects in order."""
    cdef Gathered *found = <Gathered *>cursor.gathered.at
    cdef size_t count = cursor.gathered.size // sizeof(Gathered), at, shared = 0
    cdef Sorted *ordered = <Sorted *>memory_room(&cursor.sorted, count * sizeof(Sorted))
    if ordered is NULL:
        _grow(-1)
    if count:
        shared = found[0].name.size
    for at in range(count):
        shared = _shared(found[0].name, found[at].name, shared)
    for at in range(count):
        ordered[at].found = found + at
        ordered[at].head = _head(found[at].name, shared)
    cursor.sorted.size = count * sizeof(Sorted)
    qsort(ordered, count, sizeof(Sorted), _by_name)
    return 0


cdef size_t _shared(packed_text one, packed_text other, size_t most) noexcept nogil:
    """Return with how many of the same bytes two names begin, ``most`` at most."""
    cdef size_t at = 0
    while at < most and at < other.size and one.at[at] == other.at[at]:
        at += 1
    return at


cdef uint64_t _head(packed_text name, size_t shared) noexcept nogil:
    """Return the eight bytes behind the shared ones as a number, as if zeros followed."""
    cdef size_t size = min(<size_t>8, name.size - shared)
    return packed_load(name.at + shared, size) << 8 * (8 - size) if size else 0


cdef int _by_name(const void *one, const void *other) noexcept nogil:
    cdef const Sorted *first = <const Sorted *>one
    cdef const Sorted *second = <const Sorted *>other
    if first.head != second.head:
        return -1 if first.head < second.head else 1
    return packed_order(first.found.name, second.found.name)
