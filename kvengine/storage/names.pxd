# Types of names.py: what each verb does to its names.

cpdef str check_name(str what, object name)
