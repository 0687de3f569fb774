/* Rows laid over each other, and what retention leaves of them: row.py, retention.py and packed.py
   for flushes and compactions, in C. It runs without the interpreter lock.

   Only rows as commits write them are taken, those in chunks included. Any other is
   OVERLAY_UNKNOWN, and left to Python: so both forms write the same bytes. */
#ifndef KVENGINE_OVERLAY_H
#define KVENGINE_OVERLAY_H

#include "kvengine/storage/memory.h"
#include "kvengine/storage/packed.h"

enum { /* flags of a row, as in decoded.py */
    ROW_CLEARED = 1,
    ROW_EXPIRES = 2,
    ROW_EXTENDS = 4,
    ROW_ENTRY_TTLS = 8,
    ROW_TOMBSTONES = 16,
    ROW_LARGE = 32,
    ROW_KNOWN = 31, /* those of a row that is not the head of a large one */
    ROW_INHERITED = ROW_CLEARED | ROW_EXTENDS | ROW_ENTRY_TTLS | ROW_TOMBSTONES,
    ROW_BARRIER = ROW_CLEARED | ROW_EXPIRES | ROW_EXTENDS,
    ROW_TABLE_ENTRIES = 32
};

enum { OVERLAY_NO_MEMORY = -1, OVERLAY_DONE, OVERLAY_UNKNOWN, OVERLAY_NOTHING };

typedef struct {
    packed_text key;
    packed_entry what;
} overlay_entry;

/* One object: the rows that were added, newest first, and then what is left of them. */
typedef struct {
    size_t rows;
    int flags, expires, completed;
    uint64_t version, expires_at, completed_at;
    memory entries, spare, runs; /* of overlay_entry; of size_t: where the entries of a row begin */
    packed_text bytes;           /* the row as it is written */
    memory made;                 /* behind `bytes`, unless those are a row that was added */
    int in_order;                /* whether the only row has its entries in order */
} overlay;

static inline overlay_entry *overlay_entries(overlay *of)
{
    return (overlay_entry *)of->entries.at;
}

static inline size_t overlay_count(overlay *of) { return of->entries.size / sizeof(overlay_entry); }

static inline void overlay_begin(overlay *of)
{
    of->rows = of->bytes.size = 0;
    of->flags = 0;
    memory_clear(&of->entries);
    memory_clear(&of->spare);
    memory_clear(&of->runs);
    memory_clear(&of->made);
}

static inline void overlay_free(overlay *of)
{
    memory_free(&of->entries);
    memory_free(&of->spare);
    memory_free(&of->runs);
    memory_free(&of->made);
}

static inline int overlay_compare(const void *one, const void *other)
{
    return packed_order(((const overlay_entry *)one)->key, ((const overlay_entry *)other)->key);
}

/* Take in the entries of a row: sound ones, each state key once. */
static inline const uint8_t *
overlay_take_entries(overlay *of, const uint8_t *at, const uint8_t *end, packed_row *row)
{
    size_t first = overlay_count(of);
    int in_order = 1, kinds = 0;
    for (uint32_t taken = 0; taken < row->count; taken++) {
        overlay_entry *entry = (overlay_entry *)memory_room(&of->entries, sizeof *entry);
        if (!entry)
            return NULL;
        at = packed_take_entry(packed_take_str(at, end, &entry->key), end, &entry->what);
        if (!at || !packed_is_utf8(entry->key))
            return NULL;
        if (entry->what.kind == PACKED_EXPIRING && entry->what.expires_at >> 63)
            return NULL;
        kinds |= entry->what.kind == PACKED_EXPIRING ? ROW_ENTRY_TTLS
            : entry->what.kind == PACKED_TOMBSTONE ? ROW_TOMBSTONES : 0;
        if (taken && packed_order(entry[-1].key, entry->key) >= 0)
            in_order = 0;
        of->entries.size += sizeof *entry;
    }
    if (kinds & ~row->flags)
        return NULL;
    if (!in_order) {
        overlay_entry *entries = overlay_entries(of) + first;
        qsort(entries, row->count, sizeof *entries, overlay_compare);
        for (size_t next = 1; next < row->count; next++)
            if (packed_equal(entries[next - 1].key, entries[next].key))
                return NULL;
    }
    of->in_order = in_order;
    return at;
}

/* Take the front of a row, whose entries become a new run. */
static inline const uint8_t *
overlay_take_front(overlay *of, packed_text bytes, packed_row *row, int known)
{
    const uint8_t *at = packed_take_head(bytes.at, bytes.at + bytes.size, row);
    if (!at || row->flags & ~known)
        return NULL;
    if (row->expires != ((row->flags & ROW_EXPIRES) != 0))
        return NULL;
    if (row->expires && row->expires_at >> 63)
        return NULL;
    if (row->version >> 63 || !(row->version >> 32))
        return NULL;
    size_t run = overlay_count(of);
    return memory_add(&of->runs, &run, sizeof run) ? NULL : at;
}

/* Note the fields of a row: those of the newest count, and flags that it inherits. */
static inline void overlay_take_fields(overlay *of, const packed_row *row)
{
    if (of->rows++) {
        of->flags |= row->flags & ROW_INHERITED;
        return;
    }
    of->flags = row->flags;
    of->version = row->version;
    of->expires = row->expires;
    of->expires_at = row->expires_at;
    of->completed = row->completed;
    of->completed_at = row->completed_at;
}

/* Add the next older row of the object. None is added behind one that is cleared. */
static inline int overlay_add(overlay *of, packed_text bytes)
{
    const uint8_t *end = bytes.at + bytes.size;
    packed_row row = {0};
    const uint8_t *at = overlay_take_front(of, bytes, &row, ROW_KNOWN);
    at = at ? overlay_take_entries(of, at, end, &row) : NULL;
    if (!packed_take_tail(at, end, &row) || (row.completed && row.completed_at >> 63))
        return OVERLAY_UNKNOWN;
    overlay_take_fields(of, &row);
    of->bytes = bytes;
    return OVERLAY_DONE;
}

/* --- rows in chunks: a head, and rows that have parts of its entries */

typedef struct {
    packed_text first; /* state key */
    uint64_t offset, length, entries;
} overlay_chunk;

/* Add the head of a large row, the next older row of the object. Returns where it states its
   chunks; how many, in `count`. */
static inline const uint8_t *overlay_add_head(overlay *of, packed_text bytes, uint32_t *count)
{
    const uint8_t *end = bytes.at + bytes.size;
    packed_row row = {0};
    const uint8_t *at = overlay_take_front(of, bytes, &row, ROW_KNOWN | ROW_LARGE);
    if (!at || !(row.flags & ROW_LARGE) || row.form != 0x96 || row.count || at >= end)
        return NULL;
    if (*at == 0xc0)
        at++;
    else {
        row.completed = 1;
        at = packed_take_uint(at, end, &row.completed_at);
        if (!at || row.completed_at >> 63 || at >= end)
            return NULL;
    }
    if (at >= end)
        return NULL;
    int width = *at == 0xdc ? 2 : *at == 0xdd ? 4 : 0;
    if (end - at <= width || (!width && (*at & 0xf0) != 0x90))
        return NULL;
    *count = width ? (uint32_t)packed_load(at + 1, width) : *at & 15;
    row.flags &= ~ROW_LARGE;
    overlay_take_fields(of, &row);
    of->in_order = 0; /* the row is not there in one piece */
    return at + 1 + width;
}

static inline const uint8_t *
overlay_take_chunk(const uint8_t *at, const uint8_t *end, overlay_chunk *chunk)
{
    if (!at || at >= end || *at != 0x94)
        return NULL;
    at = packed_take_str(at + 1, end, &chunk->first);
    at = packed_take_uint(at, end, &chunk->offset);
    at = packed_take_uint(at, end, &chunk->length);
    return packed_take_uint(at, end, &chunk->entries);
}

/* How many bytes the chunks of a head take, which follow each other; 0 if they do not. */
static inline uint64_t overlay_chunks_size(const uint8_t *at, const uint8_t *end, uint32_t count)
{
    uint64_t size = 0;
    packed_text before = {0};
    overlay_chunk chunk;
    for (uint32_t taken = 0; taken < count; taken++) {
        at = overlay_take_chunk(at, end, &chunk);
        if (!at || chunk.offset != size || chunk.length >> 32 || chunk.length <= 6)
            return 0;
        if (!packed_is_utf8(chunk.first) || (taken && packed_order(before, chunk.first) >= 0))
            return 0;
        before = chunk.first;
        size += chunk.length;
    }
    return at == end ? size : 0;
}

/* Add the next part of the entries of the large row that was added last. */
static inline int overlay_add_chunk(overlay *of, packed_text bytes)
{
    const uint8_t *end = bytes.at + bytes.size;
    size_t first = overlay_count(of);
    int is_first = first == ((size_t *)of->runs.at)[of->rows - 1];
    packed_row row = {0};
    const uint8_t *at = packed_take_head(bytes.at, end, &row);
    if (!at || row.expires || row.flags & ~(ROW_ENTRY_TTLS | ROW_TOMBSTONES) & 0xff)
        return OVERLAY_UNKNOWN;
    if (row.flags & ~of->flags)
        return OVERLAY_UNKNOWN;
    at = overlay_take_entries(of, at, end, &row);
    if (!packed_take_tail(at, end, &row) || row.completed || !of->in_order)
        return OVERLAY_UNKNOWN;
    of->in_order = 0;
    overlay_entry *entries = overlay_entries(of);
    if (!is_first && row.count && packed_order(entries[first - 1].key, entries[first].key) >= 0)
        return OVERLAY_UNKNOWN;
    return OVERLAY_DONE;
}

/* Merge two runs of entries; where both have a state key, the first wins. */
static inline overlay_entry *
overlay_merge(overlay_entry *to, const overlay_entry *newer, const overlay_entry *newer_end,
              const overlay_entry *older, const overlay_entry *older_end)
{
    while (newer < newer_end && older < older_end) {
        int order = packed_order(newer->key, older->key);
        *to++ = order > 0 ? *older : *newer;
        newer += order <= 0;
        older += order >= 0;
    }
    while (newer < newer_end)
        *to++ = *newer++;
    while (older < older_end)
        *to++ = *older++;
    return to;
}

/* Merge the runs of all rows into one: neighbours by pairs, until one is left. */
static inline int overlay_fold(overlay *of)
{
    size_t *runs = (size_t *)of->runs.at, left = of->rows;
    of->spare.size = 0;
    if (left > 1 && !memory_room(&of->spare, of->entries.size))
        return OVERLAY_NO_MEMORY;
    while (left > 1) {
        overlay_entry *from = overlay_entries(of), *start = (overlay_entry *)of->spare.at;
        overlay_entry *end = from + overlay_count(of), *to = start;
        size_t made = 0;
        for (size_t run = 0; run < left; run += 2) {
            overlay_entry *middle = run + 1 < left ? from + runs[run + 1] : end;
            overlay_entry *stop = run + 2 < left ? from + runs[run + 2] : end;
            overlay_entry *begun = to;
            to = overlay_merge(to, from + runs[run], middle, middle, stop);
            runs[made++] = (size_t)(begun - start);
        }
        memory swapped = of->entries;
        of->entries = of->spare;
        of->spare = swapped;
        of->entries.size = (size_t)(to - start) * sizeof *to;
        left = made;
    }
    return OVERLAY_DONE;
}

static inline size_t overlay_size_of(const overlay_entry *entry)
{
    size_t size = packed_size_of_str(entry->key.size);
    if (entry->what.kind == PACKED_TOMBSTONE)
        return size + 1;
    if (entry->what.kind == PACKED_EXPIRING)
        size += 1 + packed_size_of_int(entry->what.expires_at, 0);
    return size + packed_size_of_bin(entry->what.value.size);
}

static inline uint8_t *overlay_put_entry(uint8_t *to, const overlay_entry *entry)
{
    to = packed_put_str(to, (const char *)entry->key.at, entry->key.size);
    if (entry->what.kind == PACKED_TOMBSTONE) {
        *to = 0xc0;
        return to + 1;
    }
    if (entry->what.kind == PACKED_EXPIRING) {
        *to = 0x92;
        to = packed_put_int(to + 1, entry->what.expires_at, 0);
    }
    return packed_put_bin(to, (const char *)entry->what.value.at, entry->what.value.size);
}

static inline uint8_t *overlay_put_completed(uint8_t *to, overlay *of)
{
    if (of->completed)
        return packed_put_int(to, of->completed_at, 0);
    *to = 0xc0;
    return to + 1;
}

/* Write a row of these entries, as `packed.pack` does, behind what is in `out`. */
static inline int
overlay_write(overlay *of, memory *out, const overlay_entry *entries, size_t count)
{
    int tabled = count > ROW_TABLE_ENTRIES, completed = of->completed;
    size_t size = (of->expires ? 20 : 12) + packed_size_of_map(count);
    for (size_t next = 0; next < count; next++)
        size += overlay_size_of(entries + next);
    if (tabled || completed)
        size += completed ? packed_size_of_int(of->completed_at, 0) : 1;
    if (tabled)
        size += 1 + packed_size_of_bin(4 * count);
    uint8_t *start = memory_room(out, size), *to = start;
    if (!to)
        return OVERLAY_NO_MEMORY;
    out->size += size;
    *to++ = tabled ? 0x97 : completed ? 0x95 : 0x94;
    *to++ = (uint8_t)of->flags;
    *to++ = 0xcf;
    to = packed_store(to, of->version, 8);
    *to++ = of->expires ? 0xcf : 0xc0;
    if (of->expires)
        to = packed_store(to, of->expires_at, 8);
    to = packed_put_map(to, count);
    uint8_t *table = start + size - 4 * count;
    for (size_t next = 0; next < count; next++) {
        if (tabled)
            packed_store_le32(table + 4 * next, (uint32_t)(to - start));
        to = overlay_put_entry(to, entries + next);
    }
    if (tabled || completed)
        to = overlay_put_completed(to, of);
    if (tabled) {
        *to++ = 0xc0;
        packed_put_bin_head(to, 4 * count);
    }
    return OVERLAY_DONE;
}

static inline int overlay_make(overlay *of)
{
    of->made.size = 0;
    if (overlay_write(of, &of->made, overlay_entries(of), overlay_count(of)))
        return OVERLAY_NO_MEMORY;
    of->bytes.at = of->made.at;
    of->bytes.size = of->made.size;
    return OVERLAY_DONE;
}

/* Let expired entries become tombstones, and drop tombstones where they hide nothing. */
static inline void overlay_drop(overlay *of, uint64_t horizon, int hides_nothing)
{
    overlay_entry *entry = overlay_entries(of), *end = entry + overlay_count(of), *to = entry;
    int kinds = 0;
    for (; entry < end; entry++) {
        if (entry->what.kind == PACKED_EXPIRING && entry->what.expires_at <= horizon)
            entry->what.kind = PACKED_TOMBSTONE;
        if (entry->what.kind == PACKED_TOMBSTONE && hides_nothing)
            continue;
        kinds |= entry->what.kind == PACKED_EXPIRING ? ROW_ENTRY_TTLS
            : entry->what.kind == PACKED_TOMBSTONE ? ROW_TOMBSTONES : 0;
        *to++ = *entry;
    }
    of->entries.size = (size_t)(to - overlay_entries(of)) * sizeof *to;
    of->flags = (of->flags & ROW_BARRIER) | kinds;
}

static inline int overlay_is_expired(const overlay *of, uint64_t horizon)
{
    return of->expires && of->expires_at <= horizon;
}

/* --- writing rows in chunks, as chunks.cut cuts them */

static inline uint64_t overlay_characters(packed_text text)
{
    uint64_t count = 0;
    for (size_t at = 0; at < text.size; at++)
        count += (text.at[at] & 0xc0) != 0x80;
    return count;
}

/* Write the chunk that begins with entry number `from`. Returns how many entries it has, 0 if there
   is no memory. */
static inline size_t overlay_write_chunk(overlay *of, memory *out, size_t from, size_t chunk_size)
{
    const overlay_entry *entries = overlay_entries(of);
    size_t count = overlay_count(of), to = from;
    uint64_t weight = 0;
    overlay part = *of;
    part.flags = part.expires = part.completed = 0;
    do {
        const overlay_entry *entry = entries + to++;
        weight += overlay_characters(entry->key) + 8;
        if (entry->what.kind == PACKED_TOMBSTONE)
            part.flags |= ROW_TOMBSTONES;
        else
            weight += entry->what.value.size;
        if (entry->what.kind == PACKED_EXPIRING)
            part.flags |= ROW_ENTRY_TTLS;
    } while (to < count && weight < chunk_size);
    return overlay_write(&part, out, entries + from, to - from) ? 0 : to - from;
}

/* Write the head of a row, but for its list of so many chunks. */
static inline int overlay_write_head(overlay *of, memory *out, size_t chunks)
{
    uint8_t *start = memory_room(out, 40), *to = start;
    if (!to)
        return OVERLAY_NO_MEMORY;
    *to++ = 0x96;
    *to++ = (uint8_t)(of->flags | ROW_LARGE);
    *to++ = 0xcf;
    to = packed_store(to, of->version, 8);
    *to++ = of->expires ? 0xcf : 0xc0;
    if (of->expires)
        to = packed_store(to, of->expires_at, 8);
    to = overlay_put_completed(packed_put_map(to, 0), of);
    out->size += (size_t)(packed_put_array(to, chunks) - start);
    return OVERLAY_DONE;
}

/* Add a chunk to the list of a head. */
static inline int overlay_list_chunk(memory *out, const overlay_chunk *chunk)
{
    uint8_t *to = memory_room(out, chunk->first.size + 40);
    if (!to)
        return OVERLAY_NO_MEMORY;
    uint8_t *start = to;
    *to++ = 0x94;
    to = packed_put_str(to, (const char *)chunk->first.at, chunk->first.size);
    to = packed_put_int(to, chunk->offset, 0);
    to = packed_put_int(to, chunk->length, 0);
    out->size += (size_t)(packed_put_int(to, chunk->entries, 0) - start);
    return OVERLAY_DONE;
}

/* --- retention

   Leave of the rows what `retention.retain` leaves of their overlay, encoded in `bytes`;
   OVERLAY_NOTHING if that is nothing. */
static inline int overlay_retain(overlay *of, uint64_t horizon, int extended, int bottom)
{
    if (overlay_is_expired(of, horizon) && !extended) {
        if (bottom)
            return OVERLAY_NOTHING;
        of->flags = ROW_CLEARED | (of->flags & ROW_EXTENDS);
        of->expires = of->completed = 0;
        of->entries.size = 0;
        return overlay_make(of);
    }
    if (overlay_fold(of))
        return OVERLAY_NO_MEMORY;
    int cleared = of->flags & ROW_CLEARED;
    if (!(of->flags & ~ROW_CLEARED) && overlay_count(of) && !(bottom && cleared)) {
        if (of->rows == 1 && of->in_order)
            return OVERLAY_DONE;
        return overlay_make(of);
    }
    overlay_drop(of, horizon, bottom || cleared);
    if (bottom && !overlay_count(of) && !of->expires)
        return OVERLAY_NOTHING;
    if (bottom)
        of->flags &= ~(ROW_CLEARED | ROW_EXTENDS);
    return overlay_make(of);
}

#endif
