/* Methods put in the place of Python ones, which they keep for every case but the usual. */

#ifndef KVENGINE_METHODS_H
#define KVENGINE_METHODS_H

#include "layout.h"

enum { MAX_NAME = 65536 }; /* names.py */

#define FAST(function) (PyCFunction)(void (*)(void))(function)

static inline int is_plain(PyObject *name)
{
    return PyUnicode_CheckExact(name) && PyUnicode_IS_COMPACT_ASCII(name) &&
           PyUnicode_GET_LENGTH(name) <= MAX_NAME;
}

/* The Python method, with the arguments as they came. */
PyObject *long_way(PyObject *method, PyObject *self, PyObject *const *args, Py_ssize_t count,
                   PyObject *keywords);

/* Put a method in the place of a Python one, which is `kept`, with its documentation. */
int replace_method(PyTypeObject *type, PyMethodDef *method, PyObject **kept);

#endif
