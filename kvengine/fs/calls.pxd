# What other compiled modules call in C.
cpdef Py_ssize_t write(int fd, data) except -1
cpdef drop(int fd)
cpdef extend(int fd, long long end)
cpdef bytes part(const unsigned char[::1] data, Py_ssize_t start, Py_ssize_t length)
cpdef bytes pread(int fd, Py_ssize_t length, long long offset)
