# What checksum.pyx gives other compiled modules: sums over plain memory, with or without the lock.

from libc.stdint cimport uint32_t, uint64_t, uint8_t

cdef uint32_t crc32c(uint32_t seed, const uint8_t *at, size_t size) noexcept nogil
cdef uint32_t seed_of_place(uint64_t file_id, uint64_t offset) noexcept nogil
cdef uint32_t block_sum(const uint8_t *body, size_t size, int kind, int codec, uint32_t seed) noexcept nogil
cpdef int check_block(bytes data, int kind, uint64_t file_id, uint64_t offset) except -1
cdef int check_sealed(const uint8_t *data, size_t size, int kind, uint32_t seed) except -1
