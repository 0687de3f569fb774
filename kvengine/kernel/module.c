/* The module `kvengine.kernel._kernel`. */

#include "kernel.h"

static PyMethodDef functions[] = {
    {"record_of_sets", (PyCFunction)(void (*)(void))record_of_sets, METH_FASTCALL,
     "record_of_sets(stamp, service, key, entries, now, salt, mark, synced, /)\n--\n\n"
     "The log record of a commit that sets entries of one object (format/wal.py)."},
    {"install", shortcuts_install, METH_O,
     "install(classes, /)\n--\n\n"
     "Put the shortcuts in the place of the methods they stand for (shortcuts.py)."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_kernel",
    .m_doc = "Compiled twins of what sessions and commits do most.",
    .m_size = -1,
    .m_methods = functions,
};

PyMODINIT_FUNC PyInit__kernel(void)
{
    record_setup();
    return PyModule_Create(&definition);
}
