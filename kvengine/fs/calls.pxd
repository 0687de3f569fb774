# What other compiled modules call in C.
cpdef Py_ssize_t write(int fd, data) except -1
cpdef bytes pread(int fd, Py_ssize_t length, long long offset)
