# What fold.pyx gives other compiled modules.

cpdef bytes fold(object rows)
