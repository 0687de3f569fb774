# What encode.pyx gives other compiled modules.

from libc.stdint cimport uint32_t, uint64_t

cpdef bytes encode_record(
    uint64_t stamp,
    list changes,
    object tombstones,
    uint64_t now,
    uint32_t salt,
    uint32_t mark,
    uint64_t synced,
    uint64_t epoch=*,
    bytes token=*,
)
