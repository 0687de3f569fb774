/* The slots of Python classes, found by name; methods put in the place of Python ones. */

#include "kernel.h"
#include <structmember.h>

int take_parts(PyObject *parts, const Given *given, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        PyObject *one = PyDict_GetItemString(parts, given[i].key);
        if (!one) {
            PyErr_SetString(PyExc_KeyError, given[i].key);
            return -1;
        }
        Py_XSETREF(*given[i].place, Py_NewRef(one));
    }
    return 0;
}

int find_slots(const Wanted *wanted, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        PyObject *type = (PyObject *)*wanted[i].type;
        PyObject *member = PyObject_GetAttrString(type, wanted[i].name);
        int found = member && Py_IS_TYPE(member, &PyMemberDescr_Type) &&
                    ((PyMemberDescrObject *)member)->d_member->type == T_OBJECT_EX;
        if (found)
            *wanted[i].slot = ((PyMemberDescrObject *)member)->d_member->offset;
        else
            PyErr_Format(PyExc_TypeError, "%R has no slot %s", type, wanted[i].name);
        Py_XDECREF(member);
        if (!found)
            return -1;
    }
    return 0;
}

int replace_method(PyObject *type, PyMethodDef *method, PyObject **kept, PyObject *signatures)
{
    PyObject *found = PyObject_GetAttrString(type, method->ml_name);
    if (!found)
        return -1;
    if (!PyFunction_Check(found)) {
        PyErr_Format(PyExc_TypeError, "%R.%s is no Python method", type, method->ml_name);
        Py_DECREF(found);
        return -1;
    }
    Py_XSETREF(*kept, found);
    PyObject *doc = PyDict_GetItemString(signatures, method->ml_name);
    method->ml_doc = doc ? PyUnicode_AsUTF8(Py_NewRef(doc)) : NULL; /* lives as long as the class */
    PyObject *descriptor = PyDescr_NewMethod((PyTypeObject *)type, method);
    int failed = !descriptor || PyObject_SetAttrString(type, method->ml_name, descriptor) < 0;
    Py_XDECREF(descriptor);
    return failed ? -1 : 0;
}
