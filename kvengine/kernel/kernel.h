/* What the parts of the kernel share. */

#ifndef KVENGINE_KERNEL_H
#define KVENGINE_KERNEL_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>

#ifdef Py_GIL_DISABLED
#error "the kernel relies on the interpreter lock"
#endif

/* --- slots.c: the slots of Python classes, by their offsets */

typedef Py_ssize_t Slot;

typedef struct {
    PyTypeObject **type;
    const char *name;
    Slot *slot;
} Wanted;

typedef struct {
    const char *key;
    PyObject **place;
} Given;

static inline PyObject **at(PyObject *object, Slot slot)
{
    return (PyObject **)((char *)object + slot);
}

#define GET(object, slot) (*at((PyObject *)(object), slot))
#define PUT(object, slot, value) Py_XSETREF(*at((PyObject *)(object), slot), (value))
#define INIT(object, slot, value) (*at((PyObject *)(object), slot) = Py_NewRef(value))
#define FAST(function) (PyCFunction)(void (*)(void))(function)

/* Slots may be empty: somebody can delete an attribute. */
static inline int is_a(PyObject *object, PyTypeObject *type)
{
    return object && Py_IS_TYPE(object, type);
}

/* An instance all of whose slots are NULL. */
static inline PyObject *make(PyTypeObject *type)
{
    return type->tp_alloc(type, 0);
}

/* Keep what a dict has under each key; -1 with KeyError. */
int take_parts(PyObject *parts, const Given *given, size_t count);
/* Find the offset of each slot; -1 with TypeError where a class has it not. */
int find_slots(const Wanted *wanted, size_t count);
/* Put a method in the place of a Python one, which is kept. `signatures` maps its name to its
   documentation, signature first. */
int replace_method(PyObject *type, PyMethodDef *method, PyObject **kept, PyObject *signatures);

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

/* --- commit.c */

int commit_install(PyObject *parts);

/* --- shortcuts.c */

PyObject *shortcuts_install(PyObject *module, PyObject *classes);

#endif
