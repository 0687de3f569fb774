/* Rows laid over each other, and what retention leaves of them: row.py, retention.py and packed.py
   for flushes and compactions, in C. It runs without the interpreter lock.

   Only rows as commits write them are taken, those of up to a chunk. Of any other `overlay_add`
   says OVERLAY_UNKNOWN, and Python decides: so both forms leave the same bytes. */
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
    ROW_KNOWN = 31,
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

static inline overlay_entry *overlay_entries(overlay *of) { return (overlay_entry *)of->entries.at; }

static inline size_t overlay_count(overlay *of) { return of->entries.size / sizeof(overlay_entry); }

static inline void overlay_begin(overlay *of)
{
    of->rows = of->entries.size = of->runs.size = 0;
    of->flags = 0;
}

static inline void overlay_free(overlay *of)
{
    memory_free(&of->entries);
    memory_free(&of->spare);
    memory_free(&of->runs);
    memory_free(&of->made);
}

static int overlay_compare(const void *one, const void *other)
{
    return packed_order(((const overlay_entry *)one)->key, ((const overlay_entry *)other)->key);
}

/* Take in the entries of a row: sound ones, each state key once. */
static const uint8_t *
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

/* Add the next older row of the object. None is added behind one that is cleared. */
static int overlay_add(overlay *of, packed_text bytes)
{
    const uint8_t *end = bytes.at + bytes.size;
    packed_row row = {0};
    const uint8_t *at = packed_take_head(bytes.at, end, &row);
    if (!at || row.flags & ~ROW_KNOWN || row.form == 0x96)
        return OVERLAY_UNKNOWN;
    if (row.expires != ((row.flags & ROW_EXPIRES) != 0) || (row.expires && row.expires_at >> 63))
        return OVERLAY_UNKNOWN;
    if (row.version >> 63 || !(row.version >> 32))
        return OVERLAY_UNKNOWN;
    size_t run = overlay_count(of);
    if (memory_add(&of->runs, &run, sizeof run))
        return OVERLAY_NO_MEMORY;
    at = overlay_take_entries(of, at, end, &row);
    if (!packed_take_tail(at, end, &row) || (row.completed && row.completed_at >> 63))
        return OVERLAY_UNKNOWN;
    if (!of->rows++) {
        of->flags = row.flags;
        of->version = row.version;
        of->expires = row.expires;
        of->expires_at = row.expires_at;
        of->completed = row.completed;
        of->completed_at = row.completed_at;
        of->bytes = bytes;
    } else
        of->flags |= row.flags & ROW_INHERITED;
    return OVERLAY_DONE;
}

/* Merge two runs of entries; where both have a state key, the first wins. */
static overlay_entry *
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
static int overlay_fold(overlay *of)
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
static int overlay_write(overlay *of, memory *out, const overlay_entry *entries, size_t count)
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

static int overlay_make(overlay *of)
{
    of->made.size = 0;
    if (overlay_write(of, &of->made, overlay_entries(of), overlay_count(of)))
        return OVERLAY_NO_MEMORY;
    of->bytes.at = of->made.at;
    of->bytes.size = of->made.size;
    return OVERLAY_DONE;
}

/* Let expired entries become tombstones, and drop tombstones where they hide nothing. */
static void overlay_drop(overlay *of, uint64_t horizon, int hides_nothing)
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

/* Leave of the rows what `retention.retain` leaves of their overlay, encoded in `bytes`;
   OVERLAY_NOTHING if that is nothing. */
static int overlay_retain(overlay *of, uint64_t horizon, int extended, int bottom)
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
