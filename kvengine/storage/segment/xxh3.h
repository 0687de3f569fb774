/* XXH3, 64 bits, with a seed, of up to 240 bytes: what a filter needs of nearly every name. The
   algorithm is Yann Collet's (xxHash); longer input is left to the xxhash package. A test compares
   all lengths with that package. */
#ifndef KVENGINE_XXH3_H
#define KVENGINE_XXH3_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { XXH3_MOST = 240 };

static const uint8_t xxh3_secret[192] = {
    0xb8, 0xfe, 0x6c, 0x39, 0x23, 0xa4, 0x4b, 0xbe, 0x7c, 0x01, 0x81, 0x2c, 0xf7, 0x21, 0xad, 0x1c,
    0xde, 0xd4, 0x6d, 0xe9, 0x83, 0x90, 0x97, 0xdb, 0x72, 0x40, 0xa4, 0xa4, 0xb7, 0xb3, 0x67, 0x1f,
    0xcb, 0x79, 0xe6, 0x4e, 0xcc, 0xc0, 0xe5, 0x78, 0x82, 0x5a, 0xd0, 0x7d, 0xcc, 0xff, 0x72, 0x21,
    0xb8, 0x08, 0x46, 0x74, 0xf7, 0x43, 0x24, 0x8e, 0xe0, 0x35, 0x90, 0xe6, 0x81, 0x3a, 0x26, 0x4c,
    0x3c, 0x28, 0x52, 0xbb, 0x91, 0xc3, 0x00, 0xcb, 0x88, 0xd0, 0x65, 0x8b, 0x1b, 0x53, 0x2e, 0xa3,
    0x71, 0x64, 0x48, 0x97, 0xa2, 0x0d, 0xf9, 0x4e, 0x38, 0x19, 0xef, 0x46, 0xa9, 0xde, 0xac, 0xd8,
    0xa8, 0xfa, 0x76, 0x3f, 0xe3, 0x9c, 0x34, 0x3f, 0xf9, 0xdc, 0xbb, 0xc7, 0xc7, 0x0b, 0x4f, 0x1d,
    0x8a, 0x51, 0xe0, 0x4b, 0xcd, 0xb4, 0x59, 0x31, 0xc8, 0x9f, 0x7e, 0xc9, 0xd9, 0x78, 0x73, 0x64,
    0xea, 0xc5, 0xac, 0x83, 0x34, 0xd3, 0xeb, 0xc3, 0xc5, 0x81, 0xa0, 0xff, 0xfa, 0x13, 0x63, 0xeb,
    0x17, 0x0d, 0xdd, 0x51, 0xb7, 0xf0, 0xda, 0x49, 0xd3, 0x16, 0x55, 0x26, 0x29, 0xd4, 0x68, 0x9e,
    0x2b, 0x16, 0xbe, 0x58, 0x7d, 0x47, 0xa1, 0xfc, 0x8f, 0xf8, 0xb8, 0xd1, 0x7a, 0xd0, 0x31, 0xce,
    0x45, 0xcb, 0x3a, 0x8f, 0x95, 0x16, 0x04, 0x28, 0xaf, 0xd7, 0xfb, 0xca, 0xbb, 0x4b, 0x40, 0x7e,
};

static inline uint32_t xxh3_load32(const uint8_t *at)
{
    return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static inline uint64_t xxh3_load64(const uint8_t *at)
{
    return xxh3_load32(at) | (uint64_t)xxh3_load32(at + 4) << 32;
}

static inline uint64_t xxh3_rotated(uint64_t word, int bits)
{
    return word << bits | word >> (64 - bits);
}

/* The two halves of the product, folded. */
static inline uint64_t xxh3_product(uint64_t a, uint64_t b)
{
#if defined(__SIZEOF_INT128__)
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
#else
    uint64_t low = (a & 0xffffffff) * (b & 0xffffffff), high = (a >> 32) * (b >> 32);
    uint64_t one = (a >> 32) * (b & 0xffffffff), other = (a & 0xffffffff) * (b >> 32);
    uint64_t cross = (low >> 32) + (one & 0xffffffff) + other;
    high += (one >> 32) + (cross >> 32);
    return (cross << 32 | (low & 0xffffffff)) ^ high;
#endif
}

static inline uint64_t xxh3_spread(uint64_t hash)
{
    hash = (hash ^ hash >> 37) * 0x165667919e3779f9u;
    return hash ^ hash >> 32;
}

static inline uint64_t xxh3_spread_short(uint64_t hash)
{
    hash = (hash ^ hash >> 33) * 0xc2b2ae3d27d4eb4fu;
    hash = (hash ^ hash >> 29) * 0x165667b19e3779f9u;
    return hash ^ hash >> 32;
}

static inline uint64_t xxh3_mixed(const uint8_t *at, int secret, uint64_t seed)
{
    return xxh3_product(xxh3_load64(at) ^ (xxh3_load64(xxh3_secret + secret) + seed),
                        xxh3_load64(at + 8) ^ (xxh3_load64(xxh3_secret + secret + 8) - seed));
}

static inline uint64_t xxh3_of_16(const uint8_t *at, size_t size, uint64_t seed)
{
    const uint8_t *secret = xxh3_secret;
    if (size > 8) {
        uint64_t low = xxh3_load64(secret + 24) ^ xxh3_load64(secret + 32);
        uint64_t high = xxh3_load64(secret + 40) ^ xxh3_load64(secret + 48);
        low = xxh3_load64(at) ^ (low + seed);
        high = xxh3_load64(at + size - 8) ^ (high - seed);
        return xxh3_spread(size + __builtin_bswap64(low) + high + xxh3_product(low, high));
    }
    if (size >= 4) {
        seed ^= (uint64_t)__builtin_bswap32((uint32_t)seed) << 32;
        uint64_t flip = (xxh3_load64(secret + 8) ^ xxh3_load64(secret + 16)) - seed;
        uint64_t hash = xxh3_load32(at + size - 4) + ((uint64_t)xxh3_load32(at) << 32);
        hash ^= flip;
        hash ^= xxh3_rotated(hash, 49) ^ xxh3_rotated(hash, 24);
        hash *= 0x9fb21c651e98df25u;
        hash = (hash ^ ((hash >> 35) + size)) * 0x9fb21c651e98df25u;
        return hash ^ hash >> 28;
    }
    if (size) {
        uint32_t all = (uint32_t)at[0] << 16 | (uint32_t)at[size >> 1] << 24 | at[size - 1]
            | (uint32_t)size << 8;
        uint64_t flip = (uint64_t)(xxh3_load32(secret) ^ xxh3_load32(secret + 4)) + seed;
        return xxh3_spread_short(all ^ flip);
    }
    return xxh3_spread_short(seed ^ xxh3_load64(secret + 56) ^ xxh3_load64(secret + 64));
}

/* The digest of `size` bytes, at most XXH3_MOST. */
static inline uint64_t xxh3_of_short(const uint8_t *at, size_t size, uint64_t seed)
{
    if (size <= 16)
        return xxh3_of_16(at, size, seed);
    uint64_t hash = size * 0x9e3779b185ebca87u;
    if (size <= 128) {
        for (int pair = (int)(size - 1) / 32; pair >= 0; pair--) {
            hash += xxh3_mixed(at + 16 * pair, 32 * pair, seed);
            hash += xxh3_mixed(at + size - 16 * (pair + 1), 32 * pair + 16, seed);
        }
        return xxh3_spread(hash);
    }
    int round = 0;
    for (; round < 8; round++)
        hash += xxh3_mixed(at + 16 * round, 16 * round, seed);
    hash = xxh3_spread(hash);
    for (; round < (int)size / 16; round++)
        hash += xxh3_mixed(at + 16 * round, 16 * (round - 8) + 3, seed);
    hash += xxh3_mixed(at + size - 16, 136 - 17, seed);
    return xxh3_spread(hash);
}

#endif
