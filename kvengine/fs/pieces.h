/* System calls for a new file that is written and synced piece by piece. Linux only: elsewhere the
   file is written by its Python object, and these say ENOSYS. */
#ifndef KVENGINE_PIECES_H
#define KVENGINE_PIECES_H

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* Reserve space and let the file be as long as that: a sync of a piece in it changes no size, so it
   does not commit the journal of the file system. */
static inline int kve_reserve(int fd, off_t offset, off_t size)
{
#if defined(__linux__)
    return fallocate(fd, 0, offset, size);
#else
    (void)fd, (void)offset, (void)size;
    errno = ENOSYS;
    return -1;
#endif
}

static inline int kve_datasync(int fd)
{
#if defined(__linux__)
    return fdatasync(fd);
#else
    (void)fd;
    errno = ENOSYS;
    return -1;
#endif
}

#endif
