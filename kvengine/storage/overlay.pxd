# What overlay.h and memory.h give compiled modules: rows laid over each other, bytes that grow.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from kvengine.storage.packed cimport packed_entry, packed_text


cdef extern from "kvengine/storage/memory.h" nogil:
    ctypedef struct memory:
        uint8_t *at
        size_t size
        size_t room

    uint8_t *memory_room(memory *bytes, size_t more)
    int memory_add(memory *bytes, const void *data, size_t size)
    void memory_free(memory *bytes)
    void memory_clear(memory *bytes)


cdef extern from "kvengine/storage/overlay.h" nogil:
    enum:
        ROW_CLEARED
        ROW_EXPIRES
        ROW_EXTENDS
        ROW_ENTRY_TTLS
        ROW_LARGE
        ROW_BARRIER
        OVERLAY_NO_MEMORY
        OVERLAY_DONE
        OVERLAY_UNKNOWN
        OVERLAY_NOTHING

    ctypedef struct overlay_entry:
        packed_text key
        packed_entry what

    ctypedef struct overlay:
        size_t rows
        int flags
        int expires
        uint64_t version
        uint64_t expires_at
        packed_text bytes

    ctypedef struct overlay_chunk:
        packed_text first
        uint64_t offset
        uint64_t length
        uint64_t entries

    overlay_entry *overlay_entries(overlay *of)
    size_t overlay_count(overlay *of)
    void overlay_begin(overlay *of)
    void overlay_free(overlay *of)
    int overlay_add(overlay *of, packed_text bytes)
    const uint8_t *overlay_add_head(overlay *of, packed_text bytes, uint32_t *count)
    int overlay_add_chunk(overlay *of, packed_text bytes)
    const uint8_t *overlay_take_chunk(const uint8_t *at, const uint8_t *end, overlay_chunk *chunk)
    uint64_t overlay_chunks_size(const uint8_t *at, const uint8_t *end, uint32_t count)
    uint64_t overlay_characters(packed_text text)
    size_t overlay_write_chunk(overlay *of, memory *out, size_t first, size_t chunk_size)
    int overlay_write_head(overlay *of, memory *out, size_t chunks)
    int overlay_list_chunk(memory *out, const overlay_chunk *chunk)
    int overlay_is_expired(const overlay *of, uint64_t horizon)
    int overlay_retain(overlay *of, uint64_t horizon, int extended, int bottom)
