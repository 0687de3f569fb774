/* The commonest verbs of a session: `Session.get` and `SessionVerbs.set` (sessions/session.py). */

#include "methods.h"

static PyObject *long_get, *long_set;

/* --- Session.get(name, default=None) */

static PyObject *get(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords)
{
    PyObject *state = SLOT(self, Session, _working);
    if (count < 1 || count > 2 || keywords || !is_plain(args[0]) || !is_a(state, Working_type) ||
        !is_a(SLOT(state, Working, changes), &PyDict_Type) ||
        !is_a(SLOT(state, Working, base), &PyDict_Type) ||
        !is_a(SLOT(self, Session, _codec), Codec_type) ||
        SLOT(self, Session, _state) != Py_None)
        goto otherwise;
    PyObject *data = PyDict_GetItemWithError(SLOT(state, Working, changes), args[0]);
    if (!data && !PyErr_Occurred())
        data = PyDict_GetItemWithError(SLOT(state, Working, base), args[0]);
    if (!data) {
        if (PyErr_Occurred())
            return NULL;
        if (SLOT(state, Working, complete) != Py_True)
            goto otherwise;
        return Py_NewRef(count == 2 ? args[1] : Py_None);
    }
    if (data == Py_None)
        goto otherwise;
    PyTypeObject *kind = Py_TYPE(SLOT(SLOT(self, Session, _codec), Codec, serde));
    if (kind == BytesSerde_type)
        return Py_NewRef(data);
    if (kind == JSONSerde_type) {
        Py_INCREF(data);
        PyObject *value = PyObject_CallOneArg(the_decode, data);
        Py_DECREF(data);
        if (value || !PyErr_ExceptionMatches(PyExc_Exception))
            return value;
        PyErr_Clear(); /* the long way says which entry it is */
    }
otherwise:
    return long_way(long_get, self, args, count, keywords);
}

/* --- SessionVerbs.set(name, value) */

/* The value as it is stored; NULL without an exception: the long way knows. */
static PyObject *encoded(PyObject *serde, PyObject *value)
{
    if (is_a(serde, BytesSerde_type))
        return PyBytes_CheckExact(value) ? Py_NewRef(value) : NULL;
    if (!is_a(serde, JSONSerde_type) || !(PyUnicode_CheckExact(value) || PyLong_CheckExact(value) ||
                                      PyBool_Check(value) || value == Py_None))
        return NULL;
    PyObject *data = PyObject_CallOneArg(the_encode, value);
    if (!data && PyErr_ExceptionMatches(PyExc_Exception))
        PyErr_Clear();
    return data;
}

static PyObject *set(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords)
{
    PyObject *state = SLOT(self, Session, _working), *home = SLOT(self, Session, _host);
    if (count != 2 || keywords || !is_plain(args[0]) || !is_a(state, Working_type) ||
        SLOT(self, Session, _settings) != the_usual || SLOT(state, Working, ttls) != Py_None ||
        SLOT(self, Session, _state) != Py_None ||
        !is_a(SLOT(state, Working, changes), &PyDict_Type) ||
        !is_a(home, Host_type) || !is_a(SLOT(self, Session, _codec), Codec_type))
        goto otherwise;
    PyObject *data = encoded(SLOT(SLOT(self, Session, _codec), Codec, serde), args[1]);
    if (!data) {
        if (PyErr_Occurred())
            return NULL;
        goto otherwise;
    }
    Py_ssize_t limit = PyLong_AsSsize_t(SLOT(home, Host, max_value_size));
    if (PyBytes_GET_SIZE(data) > limit) {
        Py_DECREF(data);
        if (PyErr_Occurred())
            PyErr_Clear();
        goto otherwise;
    }
    int failed = PyDict_SetItem(SLOT(state, Working, changes), args[0], data);
    Py_DECREF(data);
    if (failed)
        return NULL;
    Py_RETURN_NONE;
otherwise:
    return long_way(long_set, self, args, count, keywords);
}

/* --- install */

static PyMethodDef GET = {"get", FAST(get), METH_FASTCALL | METH_KEYWORDS, NULL};
static PyMethodDef SET = {"set", FAST(set), METH_FASTCALL | METH_KEYWORDS, NULL};

int session_install(void)
{
    if (replace_method(Session_type, &GET, &long_get) < 0)
        return -1;
    return replace_method(SessionVerbs_type, &SET, &long_set);
}
