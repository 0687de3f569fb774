# Workflows are compiled for their fields, which they have from virtual_object.pxd.
from kvengine.objects.virtual_object cimport VirtualObject


cdef class Workflow(VirtualObject):
    pass
