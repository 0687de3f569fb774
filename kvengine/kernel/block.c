/* The `with` block of a session: `SessionContext.__enter__` and `__exit__` (sessions/context.py).

   Other threads run, and finalizers and signal handlers, only within calls of Python
   code: `known` and `commit_sets` of the host, and at each allocation of an object
   that the collector tracks (from 3.12 on not even there). What is noted before such
   a point is what the Python twin has noted there. */

#include "methods.h"

static PyObject *long_enter, *long_exit;

/* --- the turn (sessions/turns.py) */

/* Whether a task of asyncio runs in this thread; -1 with an exception. */
static int in_a_loop(void)
{
    PyObject *asyncio = PyDict_GetItemWithError(PyImport_GetModuleDict(), name_asyncio);
    if (!asyncio || asyncio == Py_None)
        return PyErr_Occurred() ? -1 : 0;
    Py_INCREF(asyncio);
    PyObject *running = PyObject_GetAttr(asyncio, name__get_running_loop);
    Py_DECREF(asyncio);
    if (!running) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError))
            return -1;
        PyErr_Clear(); /* another thread is just importing it: no loop runs in this one */
        return 0;
    }
    PyObject *loop = running == Py_None ? Py_NewRef(Py_None) : PyObject_CallNoArgs(running);
    int found = loop ? loop != Py_None : -1;
    Py_DECREF(running);
    Py_XDECREF(loop);
    return found;
}

static inline PyObject *name_of(PyObject *self)
{
    return SLOT(SLOT(self, SessionContext, _codec), Codec, name);
}

/* Take the object where nobody has it or waits for it: 1, 0 where it is not taken. */
static int take(PyObject *self, PyObject *queues)
{
    PyObject *thread = PyLong_FromUnsignedLong(PyThread_get_thread_ident());
    PyObject *me = thread ? PyWeakref_NewRef(self, NULL) : NULL;
    if (!me) {
        Py_XDECREF(thread);
        return -1;
    }
    int taken = 0;
    if (PyDict_GET_SIZE(SLOT(queues, Turns, _waiting)) == 0) {
        PyObject *holder = PyDict_SetDefault(SLOT(queues, Turns, _holders), name_of(self), me);
        taken = holder ? holder == me : -1;
    }
    if (taken > 0) {
        PUT(self, SessionContext, thread, Py_NewRef(thread));
        PUT(self, SessionContext, task, Py_NewRef(Py_None));
        PUT(self, SessionContext, call, Py_NewRef(Py_None));
    }
    Py_DECREF(thread);
    Py_DECREF(me);
    return taken;
}

/* Give it back where nobody waits: 1, 0 where the long way must. */
static int give_back(PyObject *self, PyObject *queues)
{
    if (PyDict_GET_SIZE(SLOT(queues, Turns, _waiting)))
        return 0;
    PyObject *holders = SLOT(queues, Turns, _holders), *name = name_of(self);
    PyObject *me = PyWeakref_NewRef(self, NULL);
    PyObject *holder = me ? PyDict_GetItemWithError(holders, name) : NULL;
    int failed = !me || (!holder && PyErr_Occurred()) ||
                 (holder == me && PyDict_DelItem(holders, name) < 0);
    Py_XDECREF(me);
    return failed ? -1 : 1;
}

/* --- SessionContext.__enter__() */

static PyObject *leave_with_error(PyObject *self)
{
    Handling handling;
    begin_handling(&handling);
    PyObject *done = PyObject_CallMethodNoArgs(self, name__leave);
    end_handling(&handling, done != NULL);
    Py_XDECREF(done);
    return NULL;
}

/* The session over an object that the store has at hand, of which nothing expires. */
static PyObject *begin(PyObject *self, PyObject *found)
{
    PyObject *changes = PyDict_New(), *state = changes ? make(Working_type) : NULL;
    PyObject *result = state ? make(Session_type) : NULL;
    if (!result) {
        Py_XDECREF(changes);
        Py_XDECREF(state);
        return NULL;
    }
    INIT(state, Working, version, SLOT(found, Resolved, version));
    INIT(state, Working, expires_at, Py_None);
    INIT(state, Working, base, SLOT(found, Resolved, entries));
    INIT(state, Working, complete, Py_True);
    SLOT(state, Working, changes) = changes;
    INIT(state, Working, ttls, Py_None);
    INIT(state, Working, cleared, Py_False);
    INIT(state, Working, _expire, Py_None);
    INIT(state, Working, _keys, Py_None);
    INIT(result, Session, _host, SLOT(self, SessionContext, _host));
    SLOT(result, Session, _working) = state;
    INIT(result, Session, _moment, Py_None);
    INIT(result, Session, _codec, SLOT(self, SessionContext, _codec));
    INIT(result, Session, _settings, the_usual);
    INIT(result, Session, _retention, SLOT(self, SessionContext, _retention));
    INIT(result, Session, _state, Py_None);
    PUT(self, SessionContext, _session, Py_NewRef(result));
    return result;
}

static PyObject *enter(PyObject *self, PyObject *Py_UNUSED(none))
{
    PyObject *home = SLOT(self, SessionContext, _host), *queues, *known;
    if (SLOT(self, SessionContext, _session) != Py_None ||
        SLOT(self, SessionContext, _settings) != the_usual ||
        SLOT(self, SessionContext, _kind) != Py_None || !is_a(home, Host_type) ||
        !is_a(SLOT(self, SessionContext, _codec), Codec_type) ||
        !SLOT(self, SessionContext, _retention) ||
        !(known = SLOT(home, Host, known)) || known == Py_None ||
        !is_a(queues = SLOT(home, Host, turns), Turns_type))
        return long_way(long_enter, self, NULL, 0, NULL);
    int loop = in_a_loop();
    if (loop < 0)
        return NULL;
    /* Asking may have run Python code. */
    if (loop || SLOT(self, SessionContext, _session) != Py_None)
        return long_way(long_enter, self, NULL, 0, NULL);
    PUT(self, SessionContext, _session, Py_NewRef(the_entering));
    int taken = take(self, queues);
    if (taken <= 0) {
        PUT(self, SessionContext, _session, Py_NewRef(Py_None));
        return taken < 0 ? NULL : long_way(long_enter, self, NULL, 0, NULL);
    }
    PyObject *result = NULL;
    PyObject *found = PyObject_CallOneArg(known, name_of(self));
    if (found) {
        if (is_a(found, Resolved_type) && SLOT(found, Resolved, expires_at) == Py_None)
            result = begin(self, found);
        else
            result = PyObject_CallMethodNoArgs(self, name__begin);
        Py_DECREF(found);
    }
    return result ? result : leave_with_error(self);
}

/* --- SessionContext.__exit__(kind, error, traceback) */

/* Whether the changes are plain sets, and at least one. */
static int are_sets(PyObject *state)
{
    PyObject *changes = SLOT(state, Working, changes), *name, *value;
    if (!is_a(changes, &PyDict_Type) || SLOT(state, Working, cleared) != Py_False ||
        SLOT(state, Working, ttls) != Py_None || SLOT(state, Working, _expire) != Py_None)
        return 0;
    Py_ssize_t position = 0;
    while (PyDict_Next(changes, &position, &name, &value))
        if (value == Py_None)
            return 0;
    return PyDict_GET_SIZE(changes) > 0;
}

static int unchanged(PyObject *state)
{
    PyObject *changes = SLOT(state, Working, changes);
    return is_a(changes, &PyDict_Type) && !PyDict_GET_SIZE(changes) &&
           SLOT(state, Working, cleared) == Py_False && SLOT(state, Working, _expire) == Py_None;
}

/* The last commit, if anything changed; -1 with an exception. */
static int finish(PyObject *open)
{
    PyObject *state = SLOT(open, Session, _working), *home = SLOT(open, Session, _host);
    if (SLOT(open, Session, _state) == Py_None && is_a(state, Working_type)) {
        if (unchanged(state))
            return 0;
        PyObject *commit_sets = SLOT(home, Host, commit_sets);
        if (commit_sets && commit_sets != Py_None && SLOT(state, Working, version) &&
            SLOT(open, Session, _settings) == the_usual && are_sets(state)) {
            PyObject *args[] = {SLOT(SLOT(open, Session, _codec), Codec, name),
                                SLOT(state, Working, changes), SLOT(state, Working, version)};
            Py_INCREF(state);
            PyObject *stamp = PyObject_Vectorcall(commit_sets, args, 3, NULL);
            Py_DECREF(state);
            if (!stamp)
                return -1;
            int committed = PyObject_IsTrue(stamp);
            Py_DECREF(stamp);
            if (committed)
                return committed > 0 ? 0 : -1;
        }
    }
    PyObject *done = PyObject_CallMethodNoArgs(open, name__finish);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

/* End the session and give the turn back: 1, 0 where the long way must. */
static int leave(PyObject *self, PyObject *open)
{
    PyObject *queues = SLOT(SLOT(self, SessionContext, _host), Host, turns);
    if (SLOT(open, Session, _state) != Py_None || SLOT(open, Session, _moment) != Py_None)
        return 0;
    PyObject *end = make(Over_type);
    if (!end)
        return -1;
    INIT(end, Over, _name, name_of(self));
    PUT(open, Session, _working, end);
    PUT(self, SessionContext, _session, Py_NewRef(Py_None));
    return give_back(self, queues);
}

static PyObject *leave_block(PyObject *self, PyObject *const *args, Py_ssize_t count,
                             PyObject *keywords)
{
    PyObject *open = SLOT(self, SessionContext, _session);
    PyObject *home = SLOT(self, SessionContext, _host);
    if (count != 3 || keywords || !is_a(open, Session_type) || args[0] != Py_None ||
        SLOT(self, SessionContext, _settings) != the_usual || !is_a(home, Host_type) ||
        !is_a(SLOT(self, SessionContext, _codec), Codec_type) ||
        SLOT(open, Session, _host) != home ||
        SLOT(open, Session, _codec) != SLOT(self, SessionContext, _codec) ||
        !is_a(SLOT(home, Host, turns), Turns_type))
        return long_way(long_exit, self, args, count, keywords);
    Py_INCREF(open);
    PyObject *result = NULL;
    if (finish(open) < 0)
        leave_with_error(self);
    else {
        int left = leave(self, open);
        if (left > 0)
            result = Py_NewRef(Py_None);
        else if (left == 0)
            result = PyObject_CallMethodNoArgs(self, name__leave);
        else
            leave_with_error(self);
    }
    Py_DECREF(open);
    return result;
}

/* --- install */

static PyMethodDef ENTER = {"__enter__", enter, METH_NOARGS, NULL};
static PyMethodDef EXIT = {"__exit__", FAST(leave_block), METH_FASTCALL | METH_KEYWORDS, NULL};

int block_install(void)
{
    if (replace_method(SessionContext_type, &ENTER, &long_enter) < 0)
        return -1;
    return replace_method(SessionContext_type, &EXIT, &long_exit);
}
