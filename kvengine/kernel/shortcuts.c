/* Shortcuts: methods of handles and sessions that do the usual case in C.

   Each stands in the place of a Python method, which it keeps. Where anything is not
   as usual it calls that method, before it has changed anything; so Python decides
   every other case, every error, and every wait. What is usual: plain ASCII names,
   one eager exclusive untyped session with no settings of its own, an object that
   the store has at hand and of which nothing expires, plain sets.

   No object is laid out here. `install` takes the offsets of the slots of the Python
   classes, and the shortcuts read and write these; a class without such a slot is
   refused with TypeError.

   Other threads run, and finalizers and signal handlers, only within calls of Python
   code: `known` and `commit_sets` of the host, and at each allocation of an object
   that the collector tracks (from 3.12 on not even there). What is noted before such
   a point is what the Python twin has noted there. */

#include "kernel.h"
#include <string.h>

#define MAX_NAME 65536 /* names.py */

static PyTypeObject *Session, *Working, *Over, *Context, *Codec, *VirtualObject, *Host, *Turns,
    *Serdes, *Bytes, *Json, *Resolved;

static struct { Slot host, working, moment, codec, settings, retention, state; } session;
static struct { Slot version, expires_at, base, complete, changes, ttls, cleared, expire, keys; } working;
static struct { Slot thread, task, call, host, codec, kind, settings, retention, session; } context;
static struct { Slot name, serde; } codec;
static struct { Slot host, codec, retention; } handle;
static struct { Slot commit_sets, known, max_value_size, serdes, turns; } host;
static struct { Slot holders, waiting; } turns;
static struct { Slot own, usual; } serdes;
static struct { Slot version, expires_at, entries, soonest; } resolved;
static Slot over_name;

static PyObject *usual_settings, *entering, *named_serde, *json_encode, *json_decode;
static PyObject *long_object, *long_session, *long_enter, *long_exit, *long_get, *long_set;
static PyObject *name_host, *name_leave, *name_begin, *name_finish, *name_asyncio, *name_loop;
static PyObject *zero, *modules;

/* --- what several of them need */

static inline int is_plain(PyObject *name)
{
    return PyUnicode_CheckExact(name) && PyUnicode_IS_COMPACT_ASCII(name) &&
           PyUnicode_GET_LENGTH(name) <= MAX_NAME;
}

/* The Python method, with the arguments as they came. */
static PyObject *long_way(PyObject *method, PyObject *self, PyObject *const *args, Py_ssize_t count,
                          PyObject *keywords)
{
    PyObject *small[9], **all = small;
    Py_ssize_t total = count + (keywords ? PyTuple_GET_SIZE(keywords) : 0);
    if (total + 1 > 9 && !(all = PyMem_New(PyObject *, total + 1)))
        return PyErr_NoMemory();
    all[0] = self;
    memcpy(all + 1, args, (size_t)total * sizeof *all);
    PyObject *result = PyObject_Vectorcall(method, all, (size_t)count + 1, keywords);
    if (all != small)
        PyMem_Free(all);
    return result;
}

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
    if (!(found = PyObject_GetAttr(self, name_host)))
        return NULL;
    if (!is_a(found, Host))
        goto otherwise;
    if (named && args[2] != Py_None) {
        if (!(chosen = PyObject_CallOneArg(named_serde, args[2])))
            goto done;
    }
    else {
        PyObject *all = GET(found, host.serdes);
        if (!is_a(all, Serdes) || PyDict_GET_SIZE(GET(all, serdes.own)))
            goto otherwise;
        chosen = Py_NewRef(GET(all, serdes.usual));
    }
    if (!(name = PyTuple_Pack(2, args[0], args[1])) || !(one = make(Codec)) ||
        !(result = make(VirtualObject)))
        goto done;
    INIT(one, codec.name, name);
    INIT(one, codec.serde, chosen);
    INIT(result, handle.host, found);
    INIT(result, handle.codec, one);
    INIT(result, handle.retention, Py_None);
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
    PyObject *result = make(Context);
    if (!result)
        return NULL;
    INIT(result, context.thread, zero);
    INIT(result, context.task, Py_None);
    INIT(result, context.call, Py_None);
    INIT(result, context.host, GET(self, handle.host));
    INIT(result, context.codec, GET(self, handle.codec));
    INIT(result, context.kind, Py_None);
    INIT(result, context.settings, usual_settings);
    INIT(result, context.retention, GET(self, handle.retention));
    INIT(result, context.session, Py_None);
    return result;
}

/* --- the turn (sessions/turns.py) */

/* Whether a task of asyncio runs in this thread; -1 with an exception. */
static int in_a_loop(void)
{
    PyObject *asyncio = PyDict_GetItemWithError(modules, name_asyncio);
    if (!asyncio || asyncio == Py_None)
        return PyErr_Occurred() ? -1 : 0;
    Py_INCREF(asyncio);
    PyObject *running = PyObject_GetAttr(asyncio, name_loop);
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
    return GET(GET(self, context.codec), codec.name);
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
    if (PyDict_GET_SIZE(GET(queues, turns.waiting)) == 0) {
        PyObject *holder = PyDict_SetDefault(GET(queues, turns.holders), name_of(self), me);
        taken = holder ? holder == me : -1;
    }
    if (taken > 0) {
        PUT(self, context.thread, Py_NewRef(thread));
        PUT(self, context.task, Py_NewRef(Py_None));
        PUT(self, context.call, Py_NewRef(Py_None));
    }
    Py_DECREF(thread);
    Py_DECREF(me);
    return taken;
}

/* Give it back where nobody waits: 1, 0 where the long way must. */
static int give_back(PyObject *self, PyObject *queues)
{
    if (PyDict_GET_SIZE(GET(queues, turns.waiting)))
        return 0;
    PyObject *holders = GET(queues, turns.holders), *name = name_of(self);
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
    PyObject *done = PyObject_CallMethodNoArgs(self, name_leave);
    end_handling(&handling, done != NULL);
    Py_XDECREF(done);
    return NULL;
}

/* The session over an object that the store has at hand, of which nothing expires. */
static PyObject *begin(PyObject *self, PyObject *found)
{
    PyObject *changes = PyDict_New(), *state = changes ? make(Working) : NULL;
    PyObject *result = state ? make(Session) : NULL;
    if (!result) {
        Py_XDECREF(changes);
        Py_XDECREF(state);
        return NULL;
    }
    INIT(state, working.version, GET(found, resolved.version));
    INIT(state, working.expires_at, Py_None);
    INIT(state, working.base, GET(found, resolved.entries));
    INIT(state, working.complete, Py_True);
    *at(state, working.changes) = changes;
    INIT(state, working.ttls, Py_None);
    INIT(state, working.cleared, Py_False);
    INIT(state, working.expire, Py_None);
    INIT(state, working.keys, Py_None);
    INIT(result, session.host, GET(self, context.host));
    *at(result, session.working) = state;
    INIT(result, session.moment, Py_None);
    INIT(result, session.codec, GET(self, context.codec));
    INIT(result, session.settings, usual_settings);
    INIT(result, session.retention, GET(self, context.retention));
    INIT(result, session.state, Py_None);
    PUT(self, context.session, Py_NewRef(result));
    return result;
}

static PyObject *enter(PyObject *self, PyObject *Py_UNUSED(none))
{
    PyObject *home = GET(self, context.host), *queues, *known;
    if (GET(self, context.session) != Py_None || GET(self, context.settings) != usual_settings ||
        GET(self, context.kind) != Py_None || !is_a(home, Host) ||
        !is_a(GET(self, context.codec), Codec) || !GET(self, context.retention) ||
        !(known = GET(home, host.known)) || known == Py_None ||
        !is_a(queues = GET(home, host.turns), Turns))
        return long_way(long_enter, self, NULL, 0, NULL);
    int loop = in_a_loop();
    if (loop < 0)
        return NULL;
    if (loop || GET(self, context.session) != Py_None) /* asking may have run Python code */
        return long_way(long_enter, self, NULL, 0, NULL);
    PUT(self, context.session, Py_NewRef(entering));
    int taken = take(self, queues);
    if (taken <= 0) {
        PUT(self, context.session, Py_NewRef(Py_None));
        return taken < 0 ? NULL : long_way(long_enter, self, NULL, 0, NULL);
    }
    PyObject *result = NULL;
    PyObject *found = PyObject_CallOneArg(known, name_of(self));
    if (found) {
        if (is_a(found, Resolved) && GET(found, resolved.expires_at) == Py_None)
            result = begin(self, found);
        else
            result = PyObject_CallMethodNoArgs(self, name_begin);
        Py_DECREF(found);
    }
    return result ? result : leave_with_error(self);
}

/* --- SessionContext.__exit__(kind, error, traceback) */

/* Whether the changes are plain sets, and at least one. */
static int are_sets(PyObject *state)
{
    PyObject *changes = GET(state, working.changes), *name, *value;
    if (!is_a(changes, &PyDict_Type) || GET(state, working.cleared) != Py_False ||
        GET(state, working.ttls) != Py_None || GET(state, working.expire) != Py_None)
        return 0;
    Py_ssize_t position = 0;
    while (PyDict_Next(changes, &position, &name, &value))
        if (value == Py_None)
            return 0;
    return PyDict_GET_SIZE(changes) > 0;
}

static int unchanged(PyObject *state)
{
    PyObject *changes = GET(state, working.changes);
    return is_a(changes, &PyDict_Type) && !PyDict_GET_SIZE(changes) &&
           GET(state, working.cleared) == Py_False && GET(state, working.expire) == Py_None;
}

/* The last commit, if anything changed; -1 with an exception. */
static int finish(PyObject *open)
{
    PyObject *state = GET(open, session.working), *home = GET(open, session.host);
    if (GET(open, session.state) == Py_None && is_a(state, Working)) {
        if (unchanged(state))
            return 0;
        PyObject *commit_sets = GET(home, host.commit_sets);
        if (commit_sets && commit_sets != Py_None && GET(state, working.version) &&
            GET(open, session.settings) == usual_settings && are_sets(state)) {
            PyObject *args[] = {GET(GET(open, session.codec), codec.name),
                                GET(state, working.changes), GET(state, working.version)};
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
    PyObject *done = PyObject_CallMethodNoArgs(open, name_finish);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

/* End the session and give the turn back: 1, 0 where the long way must. */
static int leave(PyObject *self, PyObject *open)
{
    PyObject *queues = GET(GET(self, context.host), host.turns);
    if (GET(open, session.state) != Py_None || GET(open, session.moment) != Py_None)
        return 0;
    PyObject *end = make(Over);
    if (!end)
        return -1;
    INIT(end, over_name, name_of(self));
    PUT(open, session.working, end);
    PUT(self, context.session, Py_NewRef(Py_None));
    return give_back(self, queues);
}

static PyObject *leave_block(PyObject *self, PyObject *const *args, Py_ssize_t count,
                             PyObject *keywords)
{
    PyObject *open = GET(self, context.session), *home = GET(self, context.host);
    if (count != 3 || keywords || !is_a(open, Session) || args[0] != Py_None ||
        GET(self, context.settings) != usual_settings || !is_a(home, Host) ||
        !is_a(GET(self, context.codec), Codec) || GET(open, session.host) != home ||
        GET(open, session.codec) != GET(self, context.codec) ||
        !is_a(GET(home, host.turns), Turns))
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
            result = PyObject_CallMethodNoArgs(self, name_leave);
        else
            leave_with_error(self);
    }
    Py_DECREF(open);
    return result;
}

/* --- Session.get(name, default=None) */

static PyObject *get(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords)
{
    PyObject *state = GET(self, session.working);
    if (count < 1 || count > 2 || keywords || !is_plain(args[0]) || !is_a(state, Working) ||
        !is_a(GET(state, working.changes), &PyDict_Type) ||
        !is_a(GET(state, working.base), &PyDict_Type) || !is_a(GET(self, session.codec), Codec) ||
        GET(self, session.state) != Py_None)
        goto otherwise;
    PyObject *data = PyDict_GetItemWithError(GET(state, working.changes), args[0]);
    if (!data && !PyErr_Occurred())
        data = PyDict_GetItemWithError(GET(state, working.base), args[0]);
    if (!data) {
        if (PyErr_Occurred())
            return NULL;
        if (GET(state, working.complete) != Py_True)
            goto otherwise;
        return Py_NewRef(count == 2 ? args[1] : Py_None);
    }
    if (data == Py_None)
        goto otherwise;
    PyTypeObject *kind = Py_TYPE(GET(GET(self, session.codec), codec.serde));
    if (kind == Bytes)
        return Py_NewRef(data);
    if (kind == Json) {
        Py_INCREF(data);
        PyObject *value = PyObject_CallOneArg(json_decode, data);
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
    if (is_a(serde, Bytes))
        return PyBytes_CheckExact(value) ? Py_NewRef(value) : NULL;
    if (!is_a(serde, Json) || !(PyUnicode_CheckExact(value) || PyLong_CheckExact(value) ||
                                      PyBool_Check(value) || value == Py_None))
        return NULL;
    PyObject *data = PyObject_CallOneArg(json_encode, value);
    if (!data && PyErr_ExceptionMatches(PyExc_Exception))
        PyErr_Clear();
    return data;
}

static PyObject *set(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords)
{
    PyObject *state = GET(self, session.working), *home = GET(self, session.host);
    if (count != 2 || keywords || !is_plain(args[0]) || !is_a(state, Working) ||
        GET(self, session.settings) != usual_settings || GET(state, working.ttls) != Py_None ||
        GET(self, session.state) != Py_None || !is_a(GET(state, working.changes), &PyDict_Type) ||
        !is_a(home, Host) || !is_a(GET(self, session.codec), Codec))
        goto otherwise;
    PyObject *data = encoded(GET(GET(self, session.codec), codec.serde), args[1]);
    if (!data) {
        if (PyErr_Occurred())
            return NULL;
        goto otherwise;
    }
    Py_ssize_t limit = PyLong_AsSsize_t(GET(home, host.max_value_size));
    if (PyBytes_GET_SIZE(data) > limit) {
        Py_DECREF(data);
        if (PyErr_Occurred())
            PyErr_Clear();
        goto otherwise;
    }
    int failed = PyDict_SetItem(GET(state, working.changes), args[0], data);
    Py_DECREF(data);
    if (failed)
        return NULL;
    Py_RETURN_NONE;
otherwise:
    return long_way(long_set, self, args, count, keywords);
}

/* --- install */

static const Wanted WANTED[] = {
    {&Session, "_host", &session.host},
    {&Session, "_working", &session.working},
    {&Session, "_moment", &session.moment},
    {&Session, "_codec", &session.codec},
    {&Session, "_settings", &session.settings},
    {&Session, "_retention", &session.retention},
    {&Session, "_state", &session.state},
    {&Working, "version", &working.version},
    {&Working, "expires_at", &working.expires_at},
    {&Working, "base", &working.base},
    {&Working, "complete", &working.complete},
    {&Working, "changes", &working.changes},
    {&Working, "ttls", &working.ttls},
    {&Working, "cleared", &working.cleared},
    {&Working, "_expire", &working.expire},
    {&Working, "_keys", &working.keys},
    {&Context, "thread", &context.thread},
    {&Context, "task", &context.task},
    {&Context, "call", &context.call},
    {&Context, "_host", &context.host},
    {&Context, "_codec", &context.codec},
    {&Context, "_kind", &context.kind},
    {&Context, "_settings", &context.settings},
    {&Context, "_retention", &context.retention},
    {&Context, "_session", &context.session},
    {&Codec, "name", &codec.name},
    {&Codec, "serde", &codec.serde},
    {&VirtualObject, "_host", &handle.host},
    {&VirtualObject, "_codec", &handle.codec},
    {&VirtualObject, "_retention", &handle.retention},
    {&Host, "commit_sets", &host.commit_sets},
    {&Host, "known", &host.known},
    {&Host, "max_value_size", &host.max_value_size},
    {&Host, "serdes", &host.serdes},
    {&Host, "turns", &host.turns},
    {&Turns, "_holders", &turns.holders},
    {&Turns, "_waiting", &turns.waiting},
    {&Serdes, "_own", &serdes.own},
    {&Serdes, "_usual", &serdes.usual},
    {&Resolved, "version", &resolved.version},
    {&Resolved, "expires_at", &resolved.expires_at},
    {&Resolved, "entries", &resolved.entries},
    {&Over, "_name", &over_name},
};

static PyObject *Verbs, *SessionVerbs;

static const Given GIVEN[] = {
    {"Session", (PyObject **)&Session}, {"Working", (PyObject **)&Working},
    {"Over", (PyObject **)&Over}, {"SessionContext", (PyObject **)&Context},
    {"Codec", (PyObject **)&Codec}, {"VirtualObject", (PyObject **)&VirtualObject},
    {"Host", (PyObject **)&Host}, {"Turns", (PyObject **)&Turns},
    {"Serdes", (PyObject **)&Serdes}, {"BytesSerde", (PyObject **)&Bytes},
    {"JSONSerde", (PyObject **)&Json}, {"Resolved", (PyObject **)&Resolved},
    {"ObjectVerbs", &Verbs}, {"SessionVerbs", &SessionVerbs},
    {"usual", &usual_settings}, {"entering", &entering}, {"named", &named_serde},
    {"encode", &json_encode}, {"decode", &json_decode},
};

static PyMethodDef METHODS[] = {
    {"object", FAST(make_object), METH_FASTCALL | METH_KEYWORDS, NULL},
    {"session", FAST(make_session), METH_FASTCALL | METH_KEYWORDS, NULL},
    {"__enter__", enter, METH_NOARGS, NULL},
    {"__exit__", FAST(leave_block), METH_FASTCALL | METH_KEYWORDS, NULL},
    {"get", FAST(get), METH_FASTCALL | METH_KEYWORDS, NULL},
    {"set", FAST(set), METH_FASTCALL | METH_KEYWORDS, NULL},
};

static int intern_names(void)
{
    modules = PyImport_GetModuleDict();
    return (name_host = PyUnicode_InternFromString("_host")) &&
                   (name_leave = PyUnicode_InternFromString("_leave")) &&
                   (name_begin = PyUnicode_InternFromString("_begin")) &&
                   (name_finish = PyUnicode_InternFromString("_finish")) &&
                   (name_asyncio = PyUnicode_InternFromString("asyncio")) &&
                   (name_loop = PyUnicode_InternFromString("_get_running_loop")) &&
                   (zero = PyLong_FromLong(0))
               ? 0
               : -1;
}

PyObject *shortcuts_install(PyObject *Py_UNUSED(module), PyObject *classes)
{
    if (!PyDict_Check(classes)) {
        PyErr_SetString(PyExc_TypeError, "classes must be a dict");
        return NULL;
    }
    if (take_parts(classes, GIVEN, Py_ARRAY_LENGTH(GIVEN)) < 0 ||
        find_slots(WANTED, Py_ARRAY_LENGTH(WANTED)) < 0 || commit_install(classes) < 0)
        return NULL;
    PyObject *docs = PyDict_GetItemString(classes, "signatures");
    if (!docs || intern_names() < 0)
        return docs ? NULL : PyErr_Format(PyExc_KeyError, "signatures");
    if (replace_method(Verbs, &METHODS[0], &long_object, docs) < 0 ||
        replace_method((PyObject *)VirtualObject, &METHODS[1], &long_session, docs) < 0 ||
        replace_method((PyObject *)Context, &METHODS[2], &long_enter, docs) < 0 ||
        replace_method((PyObject *)Context, &METHODS[3], &long_exit, docs) < 0 ||
        replace_method((PyObject *)Session, &METHODS[4], &long_get, docs) < 0 ||
        replace_method(SessionVerbs, &METHODS[5], &long_set, docs) < 0)
        return NULL;
    Py_RETURN_NONE;
}
