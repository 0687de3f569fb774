/* The module `kvengine.kernel._kernel`: compiled twins of what sessions and commits do most.

   Each method here stands in the place of a Python one, which it keeps. Where anything is
   not as usual it calls that method, before it has changed anything; so Python decides
   every other case, every error, and every wait. What is usual: plain ASCII names,
   one eager exclusive untyped session with no settings of its own, an object that
   the store has at hand and of which nothing expires, plain sets. */

#include "layout.h"

static PyObject *install(PyObject *Py_UNUSED(module), PyObject *parts)
{
    if (!PyDict_Check(parts)) {
        PyErr_SetString(PyExc_TypeError, "parts must be a dict");
        return NULL;
    }
    if (find_layout(parts) < 0 || handles_install() < 0 || block_install() < 0 ||
        session_install() < 0 || commit_install() < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"record_of_sets", (PyCFunction)(void (*)(void))record_of_sets, METH_FASTCALL,
     "record_of_sets(stamp, service, key, entries, now, salt, mark, synced, /)\n--\n\n"
     "The log record of a commit that sets entries of one object (format/wal.py)."},
    {"install", install, METH_O,
     "install(parts, /)\n--\n\n"
     "Put the shortcuts in the place of the methods they stand for (shortcuts.py)."},
    {NULL, NULL, 0, NULL},
};

/* What the kernel knows of the Python classes is the process's, so it serves one interpreter,
   once; in every other, and where its module is imported anew, there is none. */
static int begin(PyObject *Py_UNUSED(module))
{
    static int begun;
    if (begun || PyInterpreterState_Get() != PyInterpreterState_Main()) {
        PyErr_SetString(PyExc_ImportError, "the kernel serves the main interpreter, once");
        return -1;
    }
    begun = 1;
    record_setup();
    return 0;
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, begin},
#ifdef Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_kernel",
    .m_doc = "Compiled twins of what sessions and commits do most.",
    .m_methods = functions,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__kernel(void)
{
    return PyModuleDef_Init(&definition);
}
