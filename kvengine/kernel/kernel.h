/* What the parts of the kernel share. See README.md beside this file. */

#ifndef KVENGINE_KERNEL_H
#define KVENGINE_KERNEL_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>

#ifdef Py_GIL_DISABLED
#error "the kernel relies on the interpreter lock"
#endif

/* record.c */
void record_setup(void);
PyObject *record_of_sets(PyObject *module, PyObject *const *args, Py_ssize_t count);

/* shortcuts.c */
PyObject *shortcuts_install(PyObject *module, PyObject *classes);

#endif
