# MessagePack in C (packed.h), and what packed.pyx gives other compiled modules.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef extern from "kvengine/storage/packed.h" nogil:
    enum:
        PACKED_TOMBSTONE
        PACKED_VALUE
        PACKED_EXPIRING

    ctypedef struct packed_text:
        const uint8_t *at
        size_t size

    ctypedef struct packed_entry:
        int kind
        packed_text value
        uint64_t expires_at

    ctypedef struct packed_row:
        uint8_t form
        uint8_t flags
        bint expires
        bint completed
        uint64_t version
        uint64_t expires_at
        uint64_t completed_at
        uint32_t count
        packed_text table

    uint64_t packed_load(const uint8_t *at, int width) noexcept
    uint32_t packed_load_le32(const uint8_t *at) noexcept
    void packed_store_le32(uint8_t *to, uint32_t number) noexcept
    uint8_t *packed_put_sized(uint8_t *to, uint8_t kind, uint64_t size, int width) noexcept
    const uint8_t *packed_take_uint(const uint8_t *at, const uint8_t *end, uint64_t *number) noexcept
    const uint8_t *packed_take_str(const uint8_t *at, const uint8_t *end, packed_text *text) noexcept
    const uint8_t *packed_take_bin(const uint8_t *at, const uint8_t *end, packed_text *text) noexcept
    const uint8_t *packed_take_entry(
        const uint8_t *at, const uint8_t *end, packed_entry *entry) noexcept
    const uint8_t *packed_take_map(const uint8_t *at, const uint8_t *end, uint32_t *count) noexcept
    const uint8_t *packed_take_array(
        const uint8_t *at, const uint8_t *end, uint32_t *count) noexcept
    const uint8_t *packed_take_head(const uint8_t *at, const uint8_t *end, packed_row *row) noexcept
    const uint8_t *packed_take_tail(const uint8_t *at, const uint8_t *end, packed_row *row) noexcept
    void packed_fetch(const uint8_t *at, const uint8_t *end) noexcept
    int packed_order(packed_text a, packed_text b) noexcept
    bint packed_equal(packed_text a, packed_text b) noexcept
    bint packed_is_ascii(packed_text text) noexcept
    bint packed_same(const uint8_t *a, const uint8_t *b, size_t size) noexcept
    uint64_t packed_spread(packed_text text) noexcept
    bint packed_is_utf8(packed_text text) noexcept
    size_t packed_size_of_str(size_t size) noexcept
    size_t packed_size_of_bin(size_t size) noexcept
    size_t packed_size_of_map(size_t count) noexcept
    size_t packed_size_of_int(uint64_t bits, bint negative) noexcept
    uint8_t *packed_put_int(uint8_t *to, uint64_t bits, bint negative) noexcept
    uint8_t *packed_put_bytes(uint8_t *to, const void *bytes, size_t size) noexcept
    uint8_t *packed_put_str(uint8_t *to, const char *text, size_t size) noexcept
    uint8_t *packed_put_bin_head(uint8_t *to, size_t size) noexcept
    uint8_t *packed_put_bin(uint8_t *to, const char *bytes, size_t size) noexcept
    uint8_t *packed_put_map(uint8_t *to, size_t count) noexcept
    uint8_t *packed_put_array(uint8_t *to, size_t count) noexcept
    uint8_t *packed_store(uint8_t *to, uint64_t number, int width) noexcept

cdef str text_of(packed_text text)
cdef bint has_head(const uint8_t *data, Py_ssize_t size) noexcept nogil
cpdef bytes pack_entries(uint64_t version, object entries)
cpdef bytes pack(int flags, object version, object expires_at, object entries, object completed_at=*)
cpdef object decode(object data)
cpdef object find(bytes data, str state_key)
cdef bytes packed_value(const uint8_t *at, const uint8_t *end, str state_key)
cdef dict packed_values(const uint8_t *at, const uint8_t *end, bint *ordered)
cpdef dict values_of(bytes data)
cpdef int check_prefix(bytes data, Py_ssize_t start, Py_ssize_t stop) except -1
cpdef object version_of(bytes data)
cpdef object expires_at_of(bytes data)
cpdef Py_ssize_t entry_count(bytes data) except -1
