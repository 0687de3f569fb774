/* Calling and replacing Python methods. */

#include "methods.h"
#include <string.h>

PyObject *long_way(PyObject *method, PyObject *self, PyObject *const *args, Py_ssize_t count,
                   PyObject *keywords)
{
    PyObject *small[9], **all = small;
    Py_ssize_t total = count + (keywords ? PyTuple_GET_SIZE(keywords) : 0);
    if (total + 1 > 9 && !(all = PyMem_New(PyObject *, total + 1)))
        return PyErr_NoMemory();
    all[0] = self;
    memcpy(all + 1, args, (size_t)total * sizeof *all);
    PyObject *result = PyObject_Vectorcall(method, all, (size_t)count + 1, keywords);
    if (all != small)
        PyMem_Free(all);
    return result;
}

int replace_method(PyTypeObject *type, PyMethodDef *method, PyObject **kept)
{
    PyObject *found = PyObject_GetAttrString((PyObject *)type, method->ml_name);
    if (!found)
        return -1;
    if (!PyFunction_Check(found)) {
        PyErr_Format(PyExc_TypeError, "%R.%s is no Python method", type, method->ml_name);
        Py_DECREF(found);
        return -1;
    }
    Py_XSETREF(*kept, found);
    PyObject *doc = PyDict_GetItemString(the_signatures, method->ml_name);
    method->ml_doc = doc ? PyUnicode_AsUTF8(doc) : NULL; /* the kernel keeps the signatures */
    PyObject *descriptor = PyDescr_NewMethod(type, method);
    int failed = !descriptor;
    if (descriptor)
        failed = PyObject_SetAttrString((PyObject *)type, method->ml_name, descriptor) < 0;
    Py_XDECREF(descriptor);
    return failed ? -1 : 0;
}
