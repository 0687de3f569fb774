/* Runs what is in C headers alone over pseudo-random bytes, and prints what came out (test_headers.py). */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>

#include "kvengine/fs/calls.h"
#include "kvengine/fs/pieces.h"
#include "kvengine/storage/crc32c.h"
#include "kvengine/storage/memory.h"
#include "kvengine/storage/overlay.h"
#include "kvengine/storage/packed.h"
#include "kvengine/storage/segment/block.h"
#include "kvengine/storage/segment/xxh3.h"

enum { SIZE = 300000, SPARE = 64 };

static uint64_t dice = 88172645463325252u, sum;

static uint64_t roll(void)
{
    dice ^= dice << 13;
    dice ^= dice >> 7;
    return dice ^= dice << 17;
}

static void note(uint64_t number) { sum = sum * 31 + number; }

int main(void)
{
    int wrong = 0;
    uint8_t *data = malloc(SIZE + SPARE), stored[12];
    crc32c_setup();
    for (size_t at = 0; at < SIZE + SPARE; at++)
        data[at] = (uint8_t)roll();
    /* Checksums and digests: every length, at every offset from a word. */
    for (size_t size = 0; size < SIZE; size += size < 2000 ? 1 : 9973)
        for (size_t at = 0; at < 8; at++) {
            uint32_t found = crc32c_sum((uint32_t)size, data + at, size);
            wrong += found != crc32c_by_table((uint32_t)size, data + at, size);
            note(found);
            note(xxh3(data + at, size, size * 7919));
        }
    /* Decoders, at any offset. */
    for (int turn = 0; turn < 100000; turn++) {
        size_t at = roll() % (SIZE - 600), size = roll() % 600;
        const uint8_t *end = data + at + size, *next;
        packed_entry entry;
        packed_text text, name = {data + at, size % 9}, other = {data + at + 3, size % 7};
        block_rows rows;
        uint64_t number;
        data[at] = (uint8_t)(0x90 + roll() % 8);
        next = packed_take_entry(data + at, end, &entry);
        note(next ? (uint64_t)(next - data) : 7);
        next = packed_take_uint(data + at, end, &number);
        note(next ? number : 7);
        next = packed_take_str(data + at, end, &text);
        note(next ? text.size : 7);
        note((uint64_t)packed_is_utf8(name));
        note(packed_order(name, other) < 0);
        note((uint64_t)block_open(&rows, data + at, size));
    }
    packed_store_le32(packed_store(stored, 0x0123456789abcdefu, 8), 0xdeadbeef);
    for (size_t at = 0; at < sizeof stored; at++)
        note(stored[at]);
    printf("%016llx\n", (unsigned long long)sum);
    return wrong != 0;
}
