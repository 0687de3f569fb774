/* pread that never waits for the disk, where the system has it. */
#ifndef KVENGINE_CALLS_H
#define KVENGINE_CALLS_H

#include <errno.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

/* Returns -1 with EAGAIN if the bytes are not in memory, or if that cannot be asked. */
static ssize_t kve_pread_cached(int fd, void *to, size_t length, off_t offset)
{
#if defined(__linux__) && defined(RWF_NOWAIT)
    struct iovec part = {to, length};
    ssize_t got = preadv2(fd, &part, 1, offset, RWF_NOWAIT);
    if (got >= 0 || (errno != EOPNOTSUPP && errno != ENOSYS && errno != EINVAL && errno != EINTR))
        return got;
#else
    (void)fd, (void)to, (void)length, (void)offset;
#endif
    errno = EAGAIN;
    return -1;
}

#endif
