/* Checks of a sealed block of rows, as block.py has them, without the interpreter lock. */
#ifndef KVENGINE_BLOCK_H
#define KVENGINE_BLOCK_H

#include "kvengine/storage/packed.h"

enum { BLOCK_ARRAY = 5, BLOCK_LARGE = 32 };

/* A block whose slots were checked: bound n is where row n starts, or name n - count. */
typedef struct {
    const uint8_t *data, *slots;
    size_t count, end; /* end: where the names end */
} block_rows;

static inline size_t block_bound(const block_rows *block, size_t slot)
{
    return slot == 2 * block->count ? block->end : packed_load_le32(block->slots + 4 * slot);
}

static inline packed_text block_part(const block_rows *block, size_t slot)
{
    size_t low = block_bound(block, slot);
    packed_text part = {block->data + low, block_bound(block, slot + 1) - low};
    return part;
}

static inline packed_text block_name(const block_rows *block, size_t at)
{
    return block_part(block, block->count + at);
}

/* Rules 1 and 2 of a block: its slots. `size` is without the trailer. */
static inline int block_open(block_rows *block, const uint8_t *data, size_t size)
{
    if (size < BLOCK_ARRAY + 4)
        return 0;
    size_t end = size - 4, count = packed_load_le32(data + end);
    if (!count || count > end / 8 || end - 8 * count < BLOCK_ARRAY)
        return 0;
    if (data[0] != 0xdd || packed_load(data + 1, 4) != count)
        return 0;
    block->data = data;
    block->count = count;
    block->end = end - 8 * count;
    block->slots = data + block->end;
    size_t before = BLOCK_ARRAY;
    for (size_t slot = 0; slot < 2 * count; slot++) {
        size_t bound = block_bound(block, slot);
        if (bound < before || bound > block->end || (!slot && bound != BLOCK_ARRAY))
            return 0;
        before = bound;
    }
    return 1;
}

/* Whether bytes are an object as names.encode_object makes one. */
static inline int block_is_object(packed_text name)
{
    const uint8_t *end = name.at + name.size;
    packed_text part = name;
    for (;;) {
        const uint8_t *zero = part.at < end ? memchr(part.at, 0, (size_t)(end - part.at)) : NULL;
        if (!zero || end - zero < 2 || (zero[1] != 1 && zero[1] != 0xff))
            return 0;
        part.size = (size_t)(zero - part.at);
        if (!packed_is_utf8(part))
            return 0;
        part.at = zero + 2;
        if (zero[1] == 1) {
            part.size = (size_t)(end - part.at);
            return packed_is_utf8(part);
        }
    }
}

/* Rules 3 to 5 of a block: its rows begin as rows do, its objects are in order. */
static inline int block_is_sound(const block_rows *block)
{
    for (size_t at = 0; at < block->count; at++) {
        packed_text row = block_part(block, at), name = block_name(block, at);
        if (row.size <= 12 || row.at[0] < 0x94 || row.at[0] > 0x97 || row.at[2] != 0xcf)
            return 0;
        if (row.at[11] != 0xc0 && (row.at[11] != 0xcf || row.size <= 20))
            return 0;
        if (row.at[1] & BLOCK_LARGE && block->count > 1)
            return 0;
        if (!block_is_object(name))
            return 0;
        if (at && packed_order(block_name(block, at - 1), name) >= 0)
            return 0;
    }
    return 1;
}

#endif
