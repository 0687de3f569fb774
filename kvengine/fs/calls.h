/* pread that never waits for the disk, where the system has it, and a clock that costs nothing. */
#ifndef KVENGINE_CALLS_H
#define KVENGINE_CALLS_H

#include <errno.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
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

/* Milliseconds since some instant, a few of them late; leaves errno alone. */
static long long kve_milliseconds(void)
{
#ifdef CLOCK_MONOTONIC_COARSE
    const clockid_t clock = CLOCK_MONOTONIC_COARSE;
#else
    const clockid_t clock = CLOCK_MONOTONIC;
#endif
    int before = errno;
    struct timespec now = {0, 0};
    clock_gettime(clock, &now);
    errno = before;
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

#endif
