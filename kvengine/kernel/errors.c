/* An exception handled in C as Python handles one. */

#include "kernel.h"

void begin_handling(Handling *handling)
{
    PyObject *kind, *traceback;
    PyErr_Fetch(&kind, &handling->error, &traceback);
    PyErr_NormalizeException(&kind, &handling->error, &traceback);
    if (traceback)
        PyException_SetTraceback(handling->error, traceback);
    Py_XDECREF(kind);
    Py_XDECREF(traceback);
    handling->outer = PyErr_GetHandledException();
    PyErr_SetHandledException(handling->error);
}

void end_handling(Handling *handling, int again)
{
    PyErr_SetHandledException(handling->outer);
    Py_XDECREF(handling->outer);
    if (again)
        PyErr_Restore(Py_NewRef(Py_TYPE(handling->error)), handling->error,
                      PyException_GetTraceback(handling->error));
    else
        Py_DECREF(handling->error);
}
