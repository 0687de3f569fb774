# What name_bytes.pyx gives other compiled modules.

cpdef bint are_ascii_names(object first, object second, object third=*) except -1
cpdef bytes encode_object(str service, str key)
cpdef Py_ssize_t last_up_to(list names, bytes name) except -2
