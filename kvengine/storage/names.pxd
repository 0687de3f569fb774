# Types of names.py: what each verb does to its names.

cdef Py_ssize_t _LONGEST

cpdef str check_name(str what, object name)
