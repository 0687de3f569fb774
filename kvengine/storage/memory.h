/* Bytes that grow. Plain C, for code that runs without the interpreter lock. */
#ifndef KVENGINE_MEMORY_H
#define KVENGINE_MEMORY_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    uint8_t *at;
    size_t size, room;
} memory;

enum { MEMORY_KEPT = 1 << 22 }; /* bytes that are kept to be used again */

/* Make room for `more` bytes behind those that are there. Returns NULL if there is no memory. */
static inline uint8_t *memory_room(memory *bytes, size_t more)
{
    if (more > SIZE_MAX / 4 || bytes->size > SIZE_MAX / 4)
        return NULL;
    if (bytes->room - bytes->size < more || !bytes->at) {
        size_t room = bytes->room + bytes->room / 2;
        if (room < bytes->size + more)
            room = bytes->size + more;
        if (room < 256)
            room = 256;
        uint8_t *at = realloc(bytes->at, room);
        if (!at)
            return NULL;
        bytes->at = at;
        bytes->room = room;
    }
    return bytes->at + bytes->size;
}

/* Append bytes. Returns 0, or -1 if there is no memory. */
static inline int memory_add(memory *bytes, const void *from, size_t size)
{
    uint8_t *to = memory_room(bytes, size);
    if (!to)
        return -1;
    if (size)
        memcpy(to, from, size);
    bytes->size += size;
    return 0;
}

static inline void memory_free(memory *bytes)
{
    free(bytes->at);
    bytes->at = NULL;
    bytes->size = bytes->room = 0;
}

/* Forget the bytes. Room for many goes back, since few things are that large. */
static inline void memory_clear(memory *bytes)
{
    bytes->size = 0;
    if (bytes->room > MEMORY_KEPT)
        memory_free(bytes);
}

#endif
