# Types of names.py: what each verb does to its names.

cpdef str check_name(str what, object name)
cpdef bint are_ascii_names(object first, object second, object third=*) except -1
cpdef bytes encode_object(str service, str key)
