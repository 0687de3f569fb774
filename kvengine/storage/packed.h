/* MessagePack, the part of it that rows and commits use. Plain C: no allocation, no Python.

   A `take` function reads one thing that starts at `at` and ends at or before `end`, and returns
   what follows it; NULL if there is no such thing, or if `at` is NULL. So takes can follow each
   other, and one look at the end says whether all of them succeeded. A `put` function writes one
   thing and returns what follows it; a `size` function says how many bytes that takes. */
#ifndef KVENGINE_PACKED_H
#define KVENGINE_PACKED_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    const uint8_t *at;
    size_t size;
} packed_text;

enum { PACKED_TOMBSTONE, PACKED_VALUE, PACKED_EXPIRING };

typedef struct {
    int kind; /* one of the three above */
    packed_text value;
    uint64_t expires_at; /* of PACKED_EXPIRING */
} packed_entry;

static inline uint64_t packed_load(const uint8_t *at, int width)
{
    uint64_t number = 0;
    for (int byte = 0; byte < width; byte++)
        number = number << 8 | at[byte];
    return number;
}

static inline uint32_t packed_load_le32(const uint8_t *at)
{
    return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static inline uint8_t *packed_store(uint8_t *to, uint64_t number, int width)
{
    for (int byte = width - 1; byte >= 0; byte--) {
        to[byte] = (uint8_t)number;
        number >>= 8;
    }
    return to + width;
}

static inline void packed_store_le32(uint8_t *to, uint32_t number)
{
    for (int byte = 0; byte < 4; byte++)
        to[byte] = (uint8_t)(number >> 8 * byte);
}

/* Let the processor fetch bytes at once that are about to be read one after the other. */
static inline void packed_fetch(const uint8_t *at, const uint8_t *end)
{
#if defined(__GNUC__)
    for (int line = 0; line < 32 && at < end; line++, at += 64)
        __builtin_prefetch(at);
#else
    (void)at, (void)end;
#endif
}

/* --- reading */

static inline const uint8_t *
packed_take_uint(const uint8_t *at, const uint8_t *end, uint64_t *number)
{
    if (!at || at >= end)
        return NULL;
    if (*at < 0x80) {
        *number = *at;
        return at + 1;
    }
    if (*at < 0xcc || *at > 0xcf)
        return NULL;
    int width = 1 << (*at - 0xcc);
    if (end - at <= width)
        return NULL;
    *number = packed_load(at + 1, width);
    return at + 1 + width;
}

static inline const uint8_t *
packed_take_sized(const uint8_t *at, const uint8_t *end, int width, packed_text *text)
{
    if (end - at < width)
        return NULL;
    text->size = (size_t)packed_load(at, width);
    text->at = at + width;
    return (size_t)(end - text->at) < text->size ? NULL : text->at + text->size;
}

static inline const uint8_t *
packed_take_str(const uint8_t *at, const uint8_t *end, packed_text *text)
{
    if (!at || at >= end)
        return NULL;
    uint8_t kind = *at++;
    if ((kind & 0xe0) == 0xa0) {
        text->at = at;
        text->size = kind & 31;
        return (size_t)(end - at) < text->size ? NULL : at + text->size;
    }
    if (kind < 0xd9 || kind > 0xdb)
        return NULL;
    return packed_take_sized(at, end, 1 << (kind - 0xd9), text);
}

static inline const uint8_t *
packed_take_bin(const uint8_t *at, const uint8_t *end, packed_text *text)
{
    if (!at || at >= end)
        return NULL;
    uint8_t kind = *at++;
    if (kind < 0xc4 || kind > 0xc6)
        return NULL;
    return packed_take_sized(at, end, 1 << (kind - 0xc4), text);
}

/* An entry: bin, nil, or [uint, bin]. */
static inline const uint8_t *
packed_take_entry(const uint8_t *at, const uint8_t *end, packed_entry *entry)
{
    if (!at || at >= end)
        return NULL;
    if (*at == 0xc0) {
        entry->kind = PACKED_TOMBSTONE;
        return at + 1;
    }
    if (*at == 0x92) {
        entry->kind = PACKED_EXPIRING;
        at = packed_take_uint(at + 1, end, &entry->expires_at);
        return packed_take_bin(at, end, &entry->value);
    }
    entry->kind = PACKED_VALUE;
    return packed_take_bin(at, end, &entry->value);
}

/* How many items follow: in the low bits of `fix`, or behind `wide` or the kind after it. */
static inline const uint8_t *
packed_take_count(const uint8_t *at, const uint8_t *end, uint8_t fix, uint8_t wide, uint32_t *count)
{
    if (!at || at >= end)
        return NULL;
    if ((*at & 0xf0) == fix) {
        *count = *at & 15;
        return at + 1;
    }
    int width = *at == wide ? 2 : *at == wide + 1 ? 4 : 0;
    if (!width || end - at <= width)
        return NULL;
    *count = (uint32_t)packed_load(at + 1, width);
    return at + 1 + width;
}

static inline const uint8_t *
packed_take_map(const uint8_t *at, const uint8_t *end, uint32_t *count)
{
    return packed_take_count(at, end, 0x80, 0xde, count);
}

static inline const uint8_t *
packed_take_array(const uint8_t *at, const uint8_t *end, uint32_t *count)
{
    return packed_take_count(at, end, 0x90, 0xdc, count);
}

static inline int packed_order(packed_text a, packed_text b)
{
    size_t shorter = a.size < b.size ? a.size : b.size;
    int order = shorter ? memcmp(a.at, b.at, shorter) : 0;
    return order ? order : (a.size > b.size) - (a.size < b.size);
}

static inline int packed_equal(packed_text a, packed_text b)
{
    return a.size == b.size && (a.size == 0 || !memcmp(a.at, b.at, a.size));
}

/* Up to eight bytes as a number. Calls of memcpy and memcmp with a size that the compiler does not
   know cost more than what they do for state keys. */
static inline uint64_t packed_word(const uint8_t *at, size_t size)
{
    uint64_t word = 0;
    if (size >= 8)
        memcpy(&word, at, 8);
    else if (size >= 4) {
        uint32_t low, high;
        memcpy(&low, at, 4);
        memcpy(&high, at + size - 4, 4);
        word = low | (uint64_t)high << 32;
    } else if (size)
        word = at[0] | (uint64_t)at[size / 2] << 8 | (uint64_t)at[size - 1] << 16;
    return word;
}

static inline int packed_same(const uint8_t *a, const uint8_t *b, size_t size)
{
    for (; size > 8; a += 8, b += 8, size -= 8)
        if (packed_word(a, 8) != packed_word(b, 8))
            return 0;
    return packed_word(a, size) == packed_word(b, size);
}

/* A hash for a small table of texts, by its highest bits: all bytes reach those. An enemy can make
   texts collide, which costs no more than having no table. */
static inline uint64_t packed_spread(packed_text text)
{
    uint64_t mixed = text.size;
    const uint8_t *at = text.at;
    size_t size = text.size;
    for (; size > 8; at += 8, size -= 8)
        mixed = (mixed ^ packed_word(at, 8)) * 0x9E3779B97F4A7C15u;
    return (mixed ^ packed_word(at, size)) * 0x9E3779B97F4A7C15u;
}

static inline int packed_is_ascii(packed_text text)
{
    uint64_t high = 0, word;
    const uint8_t *at = text.at, *end = at + text.size;
    for (; end - at >= 8; at += 8) {
        memcpy(&word, at, 8);
        high |= word;
    }
    uint8_t rest = 0;
    while (at < end)
        rest |= *at++;
    return !(high & 0x8080808080808080u) && rest < 0x80;
}

/* Whether the bytes are UTF-8 as Python has it: shortest forms, no surrogates. */
static inline int packed_is_utf8(packed_text text)
{
    if (packed_is_ascii(text))
        return 1;
    const uint8_t *at = text.at, *end = at + text.size;
    while (at < end) {
        uint8_t lead = *at++;
        if (lead < 0x80)
            continue;
        int more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
        if (lead < 0xc2 || lead > 0xf4 || end - at < more)
            return 0;
        uint8_t least = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
        uint8_t most = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
        if (*at < least || *at > most)
            return 0;
        for (int byte = 1; byte < more; byte++)
            if ((at[byte] & 0xc0) != 0x80)
                return 0;
        at += more;
    }
    return 1;
}

/* --- rows */

typedef struct {
    uint8_t form;  /* the first byte: 0x94 to 0x97 */
    uint8_t flags;
    int expires;   /* whether it states an expiry */
    int completed; /* whether it states when it was completed */
    uint64_t version, expires_at, completed_at;
    uint32_t count; /* of entries */
    packed_text table; /* of form 0x97 */
} packed_row;

/* What stands before the entries of a row: numbers of fixed width, and how many entries follow. */
static inline const uint8_t *
packed_take_head(const uint8_t *at, const uint8_t *end, packed_row *row)
{
    if (end - at < 13 || at[0] < 0x94 || at[0] > 0x97 || at[1] > 0x7f || at[2] != 0xcf)
        return NULL;
    row->form = at[0];
    row->flags = at[1];
    row->version = packed_load(at + 3, 8);
    row->expires = at[11] == 0xcf;
    if (!row->expires)
        return at[11] == 0xc0 ? packed_take_map(at + 12, end, &row->count) : NULL;
    if (end - at < 21)
        return NULL;
    row->expires_at = packed_load(at + 12, 8);
    return packed_take_map(at + 20, end, &row->count);
}

/* What stands behind the entries of a row that is not the head of a large one. It must be the end
   of the row: NULL if anything follows. */
static inline const uint8_t *
packed_take_tail(const uint8_t *at, const uint8_t *end, packed_row *row)
{
    if (!at)
        return NULL;
    row->completed = 0;
    row->table.size = 0;
    if (row->form != 0x94) {
        if (at < end && *at == 0xc0)
            at++;
        else {
            at = packed_take_uint(at, end, &row->completed_at);
            row->completed = 1;
        }
    }
    if (row->form == 0x96)
        return NULL;
    if (row->form == 0x97) {
        if (!at || at >= end || *at++ != 0xc0)
            return NULL;
        at = packed_take_bin(at, end, &row->table);
    }
    return at == end ? at : NULL;
}

/* --- writing */

static inline size_t packed_size_of_str(size_t size)
{
    return size + (size < 32 ? 1 : size < 256 ? 2 : size < 65536 ? 3 : 5);
}

static inline size_t packed_size_of_bin(size_t size)
{
    return size + (size < 256 ? 2 : size < 65536 ? 3 : 5);
}

static inline size_t packed_size_of_map(size_t count)
{
    return count < 16 ? 1 : count < 65536 ? 3 : 5;
}

/* Integers: the bits of an int64_t if negative, of a uint64_t if not. */
static inline size_t packed_size_of_int(uint64_t bits, int negative)
{
    if (negative) {
        int64_t number = (int64_t)bits;
        return number >= -32 ? 1 : number >= -128 ? 2 : number >= -32768 ? 3
            : number >= -2147483648LL ? 5 : 9;
    }
    return bits < 128 ? 1 : bits < 256 ? 2 : bits < 65536 ? 3 : bits < 4294967296 ? 5 : 9;
}

static inline uint8_t *packed_put_sized(uint8_t *to, uint8_t kind, uint64_t size, int width)
{
    *to = kind;
    return packed_store(to + 1, size, width);
}

static inline uint8_t *packed_put_int(uint8_t *to, uint64_t bits, int negative)
{
    switch (packed_size_of_int(bits, negative)) {
    case 1: *to = (uint8_t)bits; return to + 1;
    case 2: return packed_put_sized(to, negative ? 0xd0 : 0xcc, bits, 1);
    case 3: return packed_put_sized(to, negative ? 0xd1 : 0xcd, bits, 2);
    case 5: return packed_put_sized(to, negative ? 0xd2 : 0xce, bits, 4);
    default: return packed_put_sized(to, negative ? 0xd3 : 0xcf, bits, 8);
    }
}

static inline uint8_t *packed_put_bytes(uint8_t *to, const void *bytes, size_t size)
{
    memcpy(to, bytes, size);
    return to + size;
}

static inline uint8_t *packed_put_str(uint8_t *to, const char *text, size_t size)
{
    if (size < 32)
        *to++ = 0xa0 | (uint8_t)size;
    else if (size < 256)
        to = packed_put_sized(to, 0xd9, size, 1);
    else if (size < 65536)
        to = packed_put_sized(to, 0xda, size, 2);
    else
        to = packed_put_sized(to, 0xdb, size, 4);
    return packed_put_bytes(to, text, size);
}

static inline uint8_t *packed_put_bin_head(uint8_t *to, size_t size)
{
    if (size < 256)
        return packed_put_sized(to, 0xc4, size, 1);
    return size < 65536 ? packed_put_sized(to, 0xc5, size, 2) : packed_put_sized(to, 0xc6, size, 4);
}

static inline uint8_t *packed_put_bin(uint8_t *to, const char *bytes, size_t size)
{
    return packed_put_bytes(packed_put_bin_head(to, size), bytes, size);
}

static inline uint8_t *packed_put_map(uint8_t *to, size_t count)
{
    if (count < 16) {
        *to = 0x80 | (uint8_t)count;
        return to + 1;
    }
    return count < 65536 ? packed_put_sized(to, 0xde, count, 2)
                         : packed_put_sized(to, 0xdf, count, 4);
}

static inline uint8_t *packed_put_array(uint8_t *to, size_t count)
{
    if (count < 16) {
        *to = 0x90 | (uint8_t)count;
        return to + 1;
    }
    return count < 65536 ? packed_put_sized(to, 0xdc, count, 2)
                         : packed_put_sized(to, 0xdd, count, 4);
}

#endif
