/* What the parts of the kernel share. */

#ifndef KVENGINE_KERNEL_H
#define KVENGINE_KERNEL_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>

#ifdef Py_GIL_DISABLED
#error "the kernel relies on the interpreter lock"
#endif

/* --- errors.c: the exception that is set becomes the one being handled, as in a Python
   `except` or `finally`, so that what is raised meanwhile has it as its context */

typedef struct {
    PyObject *error, *outer;
} Handling;

void begin_handling(Handling *handling);
/* `again`: raise it once more; else it is over, and another may be set. */
void end_handling(Handling *handling, int again);

/* --- record.c */

void record_setup(void);
PyObject *record_of_sets(PyObject *module, PyObject *const *args, Py_ssize_t count);
PyObject *make_record(uint64_t stamp, PyObject *service, PyObject *key, PyObject *entries,
                      uint64_t now, uint32_t salt, uint32_t mark, uint64_t synced);

/* --- handles.c, block.c, session.c, commit.c: put their methods in place; -1 with TypeError */

int handles_install(void);
int block_install(void);
int session_install(void);
int commit_install(void);

#endif
