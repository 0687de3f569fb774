/* Handles: `ObjectVerbs.object` and `VirtualObject.session` (objects/). */

#include "methods.h"

static PyObject *long_object, *long_session, *zero;

/* --- ObjectVerbs.object(service, key, *, serde=None) */

static PyObject *make_object(PyObject *self, PyObject *const *args, Py_ssize_t count,
                             PyObject *keywords)
{
    Py_ssize_t named = keywords ? PyTuple_GET_SIZE(keywords) : 0;
    PyObject *found = NULL, *chosen = NULL, *name = NULL, *one = NULL, *result = NULL;
    if (count != 2 || named > 1 || !is_plain(args[0]) || !is_plain(args[1]) ||
        PyUnicode_GET_LENGTH(args[0]) + PyUnicode_GET_LENGTH(args[1]) > MAX_NAME)
        goto otherwise;
    if (named && !(PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(keywords, 0), "serde") == 0 &&
                   (args[2] == Py_None || PyUnicode_CheckExact(args[2]))))
        goto otherwise;
    if (!(found = PyObject_GetAttr(self, name__host)))
        return NULL;
    if (!is_a(found, Host_type))
        goto otherwise;
    if (named && args[2] != Py_None) {
        if (!(chosen = PyObject_CallOneArg(the_named, args[2])))
            goto done;
    }
    else {
        PyObject *all = SLOT(found, Host, serdes);
        if (!is_a(all, Serdes_type) || PyDict_GET_SIZE(SLOT(all, Serdes, _own)))
            goto otherwise;
        chosen = Py_NewRef(SLOT(all, Serdes, _usual));
    }
    if (!(name = PyTuple_Pack(2, args[0], args[1])) || !(one = make(Codec_type)) ||
        !(result = make(VirtualObject_type)))
        goto done;
    INIT(one, Codec, name, name);
    INIT(one, Codec, serde, chosen);
    INIT(result, VirtualObject, _host, found);
    INIT(result, VirtualObject, _codec, one);
    INIT(result, VirtualObject, _retention, Py_None);
done:
    Py_XDECREF(found);
    Py_XDECREF(chosen);
    Py_XDECREF(name);
    Py_XDECREF(one);
    return result;
otherwise:
    Py_XDECREF(found);
    return long_way(long_object, self, args, count, keywords);
}

/* --- VirtualObject.session() */

static PyObject *make_session(PyObject *self, PyObject *const *args, Py_ssize_t count,
                              PyObject *keywords)
{
    if (count || (keywords && PyTuple_GET_SIZE(keywords)))
        return long_way(long_session, self, args, count, keywords);
    PyObject *result = make(SessionContext_type);
    if (!result)
        return NULL;
    INIT(result, SessionContext, thread, zero);
    INIT(result, SessionContext, task, Py_None);
    INIT(result, SessionContext, call, Py_None);
    INIT(result, SessionContext, _host, SLOT(self, VirtualObject, _host));
    INIT(result, SessionContext, _codec, SLOT(self, VirtualObject, _codec));
    INIT(result, SessionContext, _kind, Py_None);
    INIT(result, SessionContext, _settings, the_usual);
    INIT(result, SessionContext, _retention, SLOT(self, VirtualObject, _retention));
    INIT(result, SessionContext, _session, Py_None);
    return result;
}

/* --- install */

static PyMethodDef OBJECT = {"object", FAST(make_object), METH_FASTCALL | METH_KEYWORDS, NULL};
static PyMethodDef SESSION = {"session", FAST(make_session), METH_FASTCALL | METH_KEYWORDS, NULL};

int handles_install(void)
{
    if (!zero && !(zero = PyLong_FromLong(0)))
        return -1;
    if (replace_method(ObjectVerbs_type, &OBJECT, &long_object) < 0)
        return -1;
    return replace_method(VirtualObject_type, &SESSION, &long_session);
}
