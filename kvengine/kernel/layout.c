/* The classes, parts, slots and names of layout.h, found. */

#include "layout.h"
#include <structmember.h>

#define DEFINE(name) PyTypeObject *name##_type;
CLASSES(DEFINE)
#undef DEFINE
#define DEFINE(name) PyObject *the_##name;
PARTS(DEFINE)
#undef DEFINE
#define DEFINE(type, name) Slot type##_##name;
SLOTS(DEFINE)
#undef DEFINE
#define DEFINE(name) PyObject *name_##name;
NAMES(DEFINE)
#undef DEFINE

static int keep(PyObject *parts, const char *name, PyObject **place)
{
    PyObject *found = PyDict_GetItemString(parts, name);
    if (!found) {
        PyErr_SetString(PyExc_KeyError, name);
        return -1;
    }
    Py_XSETREF(*place, Py_NewRef(found));
    return 0;
}

static int find(PyTypeObject *type, const char *name, Slot *slot)
{
    PyObject *member = PyObject_GetAttrString((PyObject *)type, name);
    int found = member && Py_IS_TYPE(member, &PyMemberDescr_Type) &&
                ((PyMemberDescrObject *)member)->d_member->type == T_OBJECT_EX;
    if (found)
        *slot = ((PyMemberDescrObject *)member)->d_member->offset;
    else
        PyErr_Format(PyExc_TypeError, "%R has no slot %s", type, name);
    Py_XDECREF(member);
    return found ? 0 : -1;
}

int find_layout(PyObject *parts)
{
#define KEEP(name)                                              \
    if (keep(parts, #name, (PyObject **)&name##_type) < 0)      \
        return -1;
    CLASSES(KEEP)
#undef KEEP
#define KEEP(name)                               \
    if (keep(parts, #name, &the_##name) < 0)     \
        return -1;
    PARTS(KEEP)
#undef KEEP
#define FIND(type, name)                                   \
    if (find(type##_type, #name, &type##_##name) < 0)      \
        return -1;
    SLOTS(FIND)
#undef FIND
#define INTERN(name)                                            \
    if (!(name_##name = PyUnicode_InternFromString(#name)))     \
        return -1;
    NAMES(INTERN)
#undef INTERN
    return 0;
}
