/* CRC-32C (Castagnoli) of plain memory. By the instruction of SSE4.2 or ARMv8 if the processor that
   runs has it, which is asked once; else by tables. Included by one module (checksum.pyx), whose C
   function the others call, so that the tables exist once. */
#ifndef KVENGINE_CRC32C_H
#define KVENGINE_CRC32C_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#define CRC32C_INSTRUCTION 1
#include <nmmintrin.h>
#define CRC32C_TARGET __attribute__((target("sse4.2")))
#define CRC32C_WORD(crc, word) ((uint32_t)_mm_crc32_u64((crc), (word)))
#define CRC32C_BYTE(crc, byte) _mm_crc32_u8((crc), (byte))
#elif defined(__aarch64__) && !defined(__AARCH64EB__)
#define CRC32C_INSTRUCTION 1
#if defined(__linux__)
#include <sys/auxv.h>
#endif
#if defined(__clang__)
#define CRC32C_TARGET __attribute__((target("crc")))
#else
#define CRC32C_TARGET __attribute__((target("+crc")))
#endif
/* Not arm_acle.h: it declares these only if the whole file is compiled for them. */
#define CRC32C_WORD(crc, word) __builtin_aarch64_crc32cx((crc), (word))
#define CRC32C_BYTE(crc, byte) __builtin_aarch64_crc32cb((crc), (byte))
#if defined(__clang__)
#undef CRC32C_WORD
#undef CRC32C_BYTE
#define CRC32C_WORD(crc, word) __builtin_arm_crc32cd((crc), (word))
#define CRC32C_BYTE(crc, byte) __builtin_arm_crc32cb((crc), (byte))
#endif
#endif

/* A CRC can be computed in pieces: it is moved over n zero bytes by tables made for that n. */
enum { CRC32C_LONG = 4096, CRC32C_SHORT = 256 };

static uint32_t crc32c_tables[8][256]; /* [k]: a byte, then k zero bytes */
static uint32_t crc32c_over_long[4][256], crc32c_over_short[4][256];
static int crc32c_has_instruction;

static uint32_t crc32c_zeros(uint32_t crc, size_t count)
{
    while (count--)
        crc = crc32c_tables[0][crc & 0xff] ^ (crc >> 8);
    return crc;
}

/* Fill the tables and look at the processor. Before any sum, by one thread. */
static void crc32c_setup(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? (crc >> 1) ^ 0x82f63b78u : crc >> 1;
        crc32c_tables[0][byte] = crc;
    }
    for (uint32_t byte = 0; byte < 256; byte++) {
        for (int k = 1; k < 8; k++)
            crc32c_tables[k][byte] = crc32c_zeros(crc32c_tables[k - 1][byte], 1);
        for (int place = 0; place < 4; place++) {
            crc32c_over_long[place][byte] = crc32c_zeros(byte << 8 * place, CRC32C_LONG);
            crc32c_over_short[place][byte] = crc32c_zeros(byte << 8 * place, CRC32C_SHORT);
        }
    }
#if defined(__x86_64__)
    crc32c_has_instruction = __builtin_cpu_supports("sse4.2") != 0;
#elif defined(__aarch64__) && defined(__APPLE__)
    crc32c_has_instruction = 1; /* each of its processors has it */
#elif defined(CRC32C_INSTRUCTION) && defined(__linux__)
    crc32c_has_instruction = (getauxval(AT_HWCAP) & (1 << 7)) != 0; /* HWCAP_CRC32 */
#endif
}

/* Eight bytes at a time; the bytes are put together one by one, so their order is the machine's. */
static uint32_t crc32c_by_table(uint32_t seed, const uint8_t *at, size_t size)
{
    uint32_t crc = ~seed;
    for (; size >= 8; at += 8, size -= 8) {
        crc ^= at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
        crc = crc32c_tables[7][crc & 0xff] ^ crc32c_tables[6][crc >> 8 & 0xff]
            ^ crc32c_tables[5][crc >> 16 & 0xff] ^ crc32c_tables[4][crc >> 24]
            ^ crc32c_tables[3][at[4]] ^ crc32c_tables[2][at[5]]
            ^ crc32c_tables[1][at[6]] ^ crc32c_tables[0][at[7]];
    }
    while (size--)
        crc = crc32c_tables[0][(crc ^ *at++) & 0xff] ^ (crc >> 8);
    return ~crc;
}

#if defined(CRC32C_INSTRUCTION)
static inline uint64_t crc32c_load(const uint8_t *at)
{
    uint64_t word;
    memcpy(&word, at, 8);
    return word;
}

static inline uint32_t crc32c_over(uint32_t tables[4][256], uint32_t crc)
{
    return tables[0][crc & 0xff] ^ tables[1][crc >> 8 & 0xff] ^ tables[2][crc >> 16 & 0xff]
        ^ tables[3][crc >> 24];
}

/* The instruction takes three cycles and one can begin in each, so three streams run side by side
   and are joined. */
CRC32C_TARGET static const uint8_t *
crc32c_streams(uint32_t *crc, const uint8_t *at, size_t *size, size_t step, uint32_t over[4][256])
{
    uint32_t first = *crc;
    for (; *size >= 3 * step; at += 3 * step, *size -= 3 * step) {
        uint32_t second = 0, third = 0;
        for (const uint8_t *word = at, *end = at + step; word < end; word += 8) {
            first = CRC32C_WORD(first, crc32c_load(word));
            second = CRC32C_WORD(second, crc32c_load(word + step));
            third = CRC32C_WORD(third, crc32c_load(word + 2 * step));
        }
        first = crc32c_over(over, first) ^ second;
        first = crc32c_over(over, first) ^ third;
    }
    *crc = first;
    return at;
}

CRC32C_TARGET static uint32_t
crc32c_by_instruction(uint32_t seed, const uint8_t *at, size_t size)
{
    uint32_t crc = ~seed;
    at = crc32c_streams(&crc, at, &size, CRC32C_LONG, crc32c_over_long);
    at = crc32c_streams(&crc, at, &size, CRC32C_SHORT, crc32c_over_short);
    for (; size >= 8; at += 8, size -= 8)
        crc = CRC32C_WORD(crc, crc32c_load(at));
    while (size--)
        crc = CRC32C_BYTE(crc, *at++);
    return ~crc;
}
#endif

/* Return the CRC of `size` bytes that follow bytes whose CRC is `seed` (0: nothing before). */
static inline uint32_t crc32c_sum(uint32_t seed, const uint8_t *at, size_t size)
{
#if defined(CRC32C_INSTRUCTION)
    if (crc32c_has_instruction)
        return crc32c_by_instruction(seed, at, size);
#endif
    return crc32c_by_table(seed, at, size);
}

#endif
