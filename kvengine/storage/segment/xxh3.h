/* XXH3, 64 bits, seeded (Yann Collet, 2019): the digest of filter items, as FORMAT.md says.

   The plain form calls the package xxhash for it; tests/twins compares the two for all lengths. */
#ifndef KVENGINE_XXH3_H
#define KVENGINE_XXH3_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define XXH3_32_1 0x9E3779B1u
#define XXH3_32_2 0x85EBCA77u
#define XXH3_32_3 0xC2B2AE3Du
#define XXH3_64_1 0x9E3779B185EBCA87u
#define XXH3_64_2 0xC2B2AE3D27D4EB4Fu
#define XXH3_64_3 0x165667B19E3779F9u
#define XXH3_64_4 0x85EBCA77C2B2AE63u
#define XXH3_64_5 0x27D4EB2F165667C5u

enum {
    XXH3_SECRET = 192, /* bytes of the secret */
    XXH3_STRIPE = 64,  /* bytes that one step takes in */
    XXH3_BLOCK = 1024  /* bytes between two scrambles: a stripe for each 8 bytes of usable secret */
};

/* The constant secret, as little endian words. */
static const uint64_t xxh3_secret[XXH3_SECRET / 8] = {
    0xbe4ba423396cfeb8u, 0x1cad21f72c81017cu, 0xdb979083e96dd4deu, 0x1f67b3b7a4a44072u,
    0x78e5c0cc4ee679cbu, 0x2172ffcc7dd05a82u, 0x8e2443f7744608b8u, 0x4c263a81e69035e0u,
    0xcb00c391bb52283cu, 0xa32e531b8b65d088u, 0x4ef90da297486471u, 0xd8acdea946ef1938u,
    0x3f349ce33f76faa8u, 0x1d4f0bc7c7bbdcf9u, 0x3159b4cd4be0518au, 0x647378d9c97e9fc8u,
    0xc3ebd33483acc5eau, 0xeb6313faffa081c5u, 0x49daf0b751dd0d17u, 0x9e68d429265516d3u,
    0xfca1477d58be162bu, 0xce31d07ad1b8f88fu, 0x280416958f3acb45u, 0x7e404bbbcafbd7afu,
};

static inline uint64_t xxh3_swap64(uint64_t word) { return __builtin_bswap64(word); }

static inline uint64_t xxh3_load64(const uint8_t *from) {
    uint64_t word;
    memcpy(&word, from, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = xxh3_swap64(word);
#endif
    return word;
}

static inline uint32_t xxh3_load32(const uint8_t *from) {
    uint32_t word;
    memcpy(&word, from, 4);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap32(word);
#endif
    return word;
}

/* A word of the secret at any byte of it. */
static inline uint64_t xxh3_key(size_t at) {
    size_t word = at / 8, bits = at % 8 * 8;
    if (bits == 0) return xxh3_secret[word];
    return xxh3_secret[word] >> bits | xxh3_secret[word + 1] << (64 - bits);
}

static inline uint64_t xxh3_fold(uint64_t one, uint64_t other) {
    unsigned __int128 product = (unsigned __int128)one * other;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t xxh3_rotate(uint64_t word, int by) { return word << by | word >> (64 - by); }

static inline uint64_t xxh3_avalanche(uint64_t hash) {
    hash = (hash ^ hash >> 37) * 0x165667919E3779F9u;
    return hash ^ hash >> 32;
}

static inline uint64_t xxh3_avalanche_64(uint64_t hash) {
    hash = (hash ^ hash >> 33) * XXH3_64_2;
    hash = (hash ^ hash >> 29) * XXH3_64_3;
    return hash ^ hash >> 32;
}

/* 16 bytes, mixed with 16 bytes of the secret. */
static inline uint64_t xxh3_mix(const uint8_t *data, size_t key, uint64_t seed) {
    return xxh3_fold(xxh3_load64(data) ^ (xxh3_key(key) + seed),
                     xxh3_load64(data + 8) ^ (xxh3_key(key + 8) - seed));
}

static inline uint64_t xxh3_to_16(const uint8_t *data, size_t size, uint64_t seed) {
    if (size > 8) {
        uint64_t low = xxh3_load64(data) ^ ((xxh3_key(24) ^ xxh3_key(32)) + seed);
        uint64_t high = xxh3_load64(data + size - 8) ^ ((xxh3_key(40) ^ xxh3_key(48)) - seed);
        return xxh3_avalanche(size + xxh3_swap64(low) + high + xxh3_fold(low, high));
    }
    if (size >= 4) {
        uint64_t mixed = seed ^ (uint64_t)__builtin_bswap32((uint32_t)seed) << 32;
        uint64_t word = xxh3_load32(data + size - 4) + ((uint64_t)xxh3_load32(data) << 32);
        uint64_t hash = word ^ ((xxh3_key(8) ^ xxh3_key(16)) - mixed);
        hash ^= xxh3_rotate(hash, 49) ^ xxh3_rotate(hash, 24);
        hash *= 0x9FB21C651E98DF25u;
        hash ^= (hash >> 35) + size;
        hash *= 0x9FB21C651E98DF25u;
        return hash ^ hash >> 28;
    }
    if (size > 0) {
        uint32_t word = (uint32_t)data[0] << 16 | (uint32_t)data[size >> 1] << 24 |
                        (uint32_t)data[size - 1] | (uint32_t)size << 8;
        uint64_t key = (uint32_t)xxh3_key(0) ^ (uint32_t)(xxh3_key(0) >> 32);
        return xxh3_avalanche_64(word ^ (key + seed));
    }
    return xxh3_avalanche_64(seed ^ xxh3_key(56) ^ xxh3_key(64));
}

static inline uint64_t xxh3_to_240(const uint8_t *data, size_t size, uint64_t seed) {
    uint64_t hash = size * XXH3_64_1;
    if (size <= 128) {
        size_t pairs = (size - 1) / 32; /* from both ends towards the middle */
        for (size_t i = pairs + 1; i-- > 0;) {
            hash += xxh3_mix(data + 16 * i, 32 * i, seed);
            hash += xxh3_mix(data + size - 16 * (i + 1), 32 * i + 16, seed);
        }
        return xxh3_avalanche(hash);
    }
    size_t rounds = size / 16;
    for (size_t i = 0; i < 8; i++) hash += xxh3_mix(data + 16 * i, 16 * i, seed);
    hash = xxh3_avalanche(hash);
    for (size_t i = 8; i < rounds; i++) hash += xxh3_mix(data + 16 * i, 16 * (i - 8) + 3, seed);
    hash += xxh3_mix(data + size - 16, 136 - 17, seed);
    return xxh3_avalanche(hash);
}

static inline uint64_t xxh3_seeded(size_t at, uint64_t seed) {
    /* The secret of a long input: its words plus and minus the seed, by turns. */
    size_t word = at / 8, bits = at % 8 * 8;
    uint64_t low = word % 2 ? xxh3_secret[word] - seed : xxh3_secret[word] + seed;
    if (bits == 0) return low;
    uint64_t high = word % 2 ? xxh3_secret[word + 1] + seed : xxh3_secret[word + 1] - seed;
    return low >> bits | high << (64 - bits);
}

static inline void xxh3_take_in(uint64_t *lanes, const uint8_t *data, size_t key, uint64_t seed) {
    for (size_t i = 0; i < 8; i++) {
        uint64_t word = xxh3_load64(data + 8 * i);
        uint64_t keyed = word ^ xxh3_seeded(key + 8 * i, seed);
        lanes[i ^ 1] += word;
        lanes[i] += (keyed & 0xFFFFFFFFu) * (keyed >> 32);
    }
}

static uint64_t xxh3_long(const uint8_t *data, size_t size, uint64_t seed) {
    uint64_t lanes[8] = {XXH3_32_3, XXH3_64_1, XXH3_64_2, XXH3_64_3,
                         XXH3_64_4, XXH3_32_2, XXH3_64_5, XXH3_32_1};
    size_t blocks = (size - 1) / XXH3_BLOCK;
    for (size_t block = 0; block < blocks; block++) {
        for (size_t n = 0; n < XXH3_BLOCK / XXH3_STRIPE; n++)
            xxh3_take_in(lanes, data + block * XXH3_BLOCK + n * XXH3_STRIPE, 8 * n, seed);
        for (size_t i = 0; i < 8; i++) {
            uint64_t lane = lanes[i] ^ lanes[i] >> 47;
            lanes[i] = (lane ^ xxh3_seeded(XXH3_SECRET - XXH3_STRIPE + 8 * i, seed)) * XXH3_32_1;
        }
    }
    size_t stripes = (size - 1 - blocks * XXH3_BLOCK) / XXH3_STRIPE;
    for (size_t n = 0; n < stripes; n++)
        xxh3_take_in(lanes, data + blocks * XXH3_BLOCK + n * XXH3_STRIPE, 8 * n, seed);
    xxh3_take_in(lanes, data + size - XXH3_STRIPE, XXH3_SECRET - XXH3_STRIPE - 7, seed);
    uint64_t hash = size * XXH3_64_1;
    for (size_t i = 0; i < 4; i++)
        hash += xxh3_fold(lanes[2 * i] ^ xxh3_seeded(11 + 16 * i, seed),
                          lanes[2 * i + 1] ^ xxh3_seeded(11 + 16 * i + 8, seed));
    return xxh3_avalanche(hash);
}

/* The digest of `size` bytes. */
static inline uint64_t xxh3(const uint8_t *data, size_t size, uint64_t seed) {
    if (size <= 16) return xxh3_to_16(data, size, seed);
    if (size <= 240) return xxh3_to_240(data, size, seed);
    return xxh3_long(data, size, seed);
}

#endif
