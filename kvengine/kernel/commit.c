/* The commit of plain sets into an object in use: `HotCommitter._log_sets` in C.

   Step for step what the Python method does, under the same lock (operations/
   hot_committer.py), which keeps every case but the commonest: an object whose newest
   state is in the active memtable and known in whole, and no new state key. Nothing
   interrupts it but a signal while the write waits; what a broken write has left is
   settled by `_broken_off`, as there. */

#include "kernel.h"
#include <errno.h>
#include <time.h>
#include <unistd.h>

enum { SMALL_ROW = 64, FRAME = 20 }; /* memory/memtable.py; format/record.py */

static PyTypeObject *Database, *Memtable, *State, *Resolved, *WalWriter, *EngineClock, *Snapshots,
    *Counters, *DiskFile;
static PyObject *HotCommitter, *time_ns, *long_log;

static struct { Slot pending, failed, clock, last_stamp, snapshots, published, counters; } database;
static struct { Slot states, has_tombstones; } memtable;
static struct { Slot rows, version, prev, full; } object_state;
static struct { Slot version, expires_at, entries, ttls, soonest; } resolved;
static struct { Slot end, synced, allocated, salt, mark, writing, file; } wal;
static struct { Slot read, last, until; } engine_clock;
static struct { Slot newest, oldest; } snapshots;
static Slot commits, descriptor;

static PyObject *name_db, *name_begun, *name_max, *name_now, *name_put, *name_broken, *name_publish,
    *name_rest;

static inline long long number(PyObject *value)
{
    return PyLong_AsLongLong(value);
}

/* `EngineClock.now`: microseconds; -1 with an exception. */
static long long now_of(PyObject *clock)
{
    struct timespec found;
    if (GET(clock, engine_clock.read) == time_ns && !clock_gettime(CLOCK_REALTIME, &found)) {
        long long wall = (long long)found.tv_sec * 1000000 + found.tv_nsec / 1000;
        if (number(GET(clock, engine_clock.last)) <= wall &&
            wall < number(GET(clock, engine_clock.until))) {
            PyObject *last = PyLong_FromLongLong(wall);
            if (!last)
                return -1;
            PUT(clock, engine_clock.last, last);
            return wall;
        }
    }
    PyObject *asked = PyObject_CallMethodNoArgs(clock, name_now);
    long long wall = asked ? number(asked) : -1;
    Py_XDECREF(asked);
    return wall;
}

/* `WalWriter.put` into a file on disk within its allocated space, or its Python form. */
static int append(PyObject *log, PyObject *record)
{
    PyObject *file = GET(log, wal.file);
    Py_ssize_t size = PyBytes_GET_SIZE(record), written;
    long long end = number(GET(log, wal.end)) + size;
    if (!Py_IS_TYPE(file, DiskFile) || end > number(GET(log, wal.allocated))) {
        PyObject *done = PyObject_CallMethodOneArg(log, name_put, record);
        Py_XDECREF(done);
        return done ? 0 : -1;
    }
    PyObject *after = PyLong_FromLongLong(end);
    if (!after)
        return -1;
    int fd = (int)number(GET(file, descriptor)), failure;
    PUT(log, wal.writing, Py_NewRef(record));
    do {
        Py_BEGIN_ALLOW_THREADS
        written = write(fd, PyBytes_AS_STRING(record), (size_t)size);
        failure = errno;
        Py_END_ALLOW_THREADS
    } while (written < 0 && failure == EINTR && PyErr_CheckSignals() == 0);
    int failed = written < 0;
    if (failed && !PyErr_Occurred()) {
        errno = failure;
        PyErr_SetFromErrno(PyExc_OSError);
    }
    if (!failed && written < size) {
        PyObject *count = PyLong_FromSsize_t(written);
        PyObject *done = count ? PyObject_CallMethodObjArgs(file, name_rest, record, count, NULL)
                               : NULL;
        failed = !done;
        Py_XDECREF(count);
        Py_XDECREF(done);
    }
    if (failed) {
        Py_DECREF(after);
        return -1;
    }
    PUT(log, wal.end, after);
    PUT(log, wal.writing, Py_NewRef(Py_None));
    return 0;
}

/* Step 3: the state becomes what readers see. */
static int show(PyObject *db, PyObject *active, PyObject *name, PyObject *state)
{
    PyObject *open = GET(db, database.snapshots);
    if (number(GET(open, snapshots.newest)) < 0) {
        PUT(state, object_state.prev, Py_NewRef(Py_None));
        return PyDict_SetItem(GET(active, memtable.states), name, state);
    }
    PyObject *states = PyDict_New();
    PyObject *done = NULL;
    if (states && PyDict_SetItem(states, name, state) == 0)
        done = PyObject_CallMethodObjArgs(active, name_publish, states,
                                          GET(open, snapshots.newest),
                                          GET(open, snapshots.oldest), NULL);
    Py_XDECREF(states);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

static int count_commit(PyObject *db)
{
    PyObject *counters = GET(db, database.counters);
    PyObject *more = PyLong_FromLongLong(number(GET(counters, commits)) + 1);
    if (more)
        PUT(counters, commits, more);
    return more ? 0 : -1;
}

/* Hand the exception to `_broken_off`, which raises what is to be raised. */
static PyObject *broken_off(PyObject *self, PyObject *log)
{
    Handling handling;
    begin_handling(&handling);
    PyObject *none = PyObject_CallMethodObjArgs(self, name_broken, handling.error, log, NULL);
    end_handling(&handling, none != NULL);
    Py_XDECREF(none);
    return NULL;
}

/* Over `current`, which an open snapshot may see: also where an interrupt lets it be published
   by another way than `show`. */
static PyObject *state_of(PyObject *stamp, PyObject *together, PyObject *current)
{
    PyObject *full = make(Resolved), *state = full ? make(State) : NULL;
    if (!state) {
        Py_XDECREF(full);
        return NULL;
    }
    INIT(full, resolved.version, stamp);
    INIT(full, resolved.expires_at, Py_None);
    INIT(full, resolved.entries, together);
    INIT(full, resolved.ttls, Py_None);
    INIT(full, resolved.soonest, Py_None);
    INIT(state, object_state.rows, Py_None);
    INIT(state, object_state.version, stamp);
    INIT(state, object_state.prev, current);
    *at(state, object_state.full) = full;
    return state;
}

/* Steps 2 and 3; -1 with an exception that `_broken_off` has to see. */
static int land(PyObject *self, PyObject *db, PyObject *active, PyObject *log, PyObject *name,
                PyObject *stamp, PyObject *record, PyObject *state)
{
    PyObject *begun = PyTuple_Pack(4, name, state, active, GET(log, wal.end));
    if (!begun)
        return -1;
    int failed = PyObject_SetAttr(self, name_begun, begun);
    Py_DECREF(begun);
    if (failed || append(log, record) < 0)
        return -1;
    PUT(db, database.last_stamp, Py_NewRef(stamp));
    if (show(db, active, name, state) < 0)
        return -1;
    PUT(db, database.published, Py_NewRef(stamp));
    if (count_commit(db) < 0)
        return -1;
    return PyObject_SetAttr(self, name_begun, Py_None);
}

/* The object as it is with the entries, if none of them is new; NULL otherwise. */
static PyObject *merged(PyObject *known, PyObject *entries)
{
    PyObject *old = GET(known, resolved.entries);
    PyObject *together = PyDict_CheckExact(old) ? PyDict_Copy(old) : NULL;
    if (together && (PyDict_Update(together, entries) < 0 ||
                     PyDict_GET_SIZE(together) != PyDict_GET_SIZE(old)))
        Py_CLEAR(together);
    return together;
}

/* What is known of the object, where this is the usual commit into it; NULL otherwise. */
static PyObject *usual(PyObject *db, PyObject *active, PyObject *current, PyObject *expected)
{
    PyObject *known = current ? GET(current, object_state.full) : NULL;
    if (!known || !Py_IS_TYPE(known, Resolved) || PyList_GET_SIZE(GET(db, database.pending)) ||
        GET(db, database.failed) != Py_None || GET(active, memtable.has_tombstones) != Py_False ||
        GET(known, resolved.soonest) != Py_None)
        return NULL;
    if (expected != Py_None &&
        !(PyLong_CheckExact(expected) && number(expected) == number(GET(known, resolved.version))))
        return NULL;
    return PyDict_GET_SIZE(GET(known, resolved.entries)) <= SMALL_ROW ? Py_NewRef(known) : NULL;
}

static PyObject *log_sets(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    PyObject *db = NULL, *begun = NULL, *limit = NULL, *current = NULL, *together = NULL;
    PyObject *stamp = NULL, *record = NULL, *state = NULL, *known = NULL, *result = NULL;
    int otherwise = 1;
    if (count != 5 || !PyTuple_CheckExact(args[0]) || PyTuple_GET_SIZE(args[0]) != 2 || !PyDict_CheckExact(args[1]) ||
        !Py_IS_TYPE(args[3], Memtable) || !Py_IS_TYPE(args[4], WalWriter))
        goto done;
    PyObject *name = args[0], *entries = args[1], *active = args[3], *log = args[4];
    if (!(db = PyObject_GetAttr(self, name_db)) || !(begun = PyObject_GetAttr(self, name_begun)) ||
        !(limit = PyObject_GetAttr(self, name_max)))
        goto done;
    if (!Py_IS_TYPE(db, Database) || begun != Py_None)
        goto done;
    long long now = now_of(GET(db, database.clock)); /* first: it may run Python code */
    if (now < 0) {
        otherwise = !PyErr_Occurred(); /* what a signal handler raised goes on */
        goto done;
    }
    current = Py_XNewRef(PyDict_GetItemWithError(GET(active, memtable.states), name));
    if (!(known = usual(db, active, current, args[2])) || !(together = merged(known, entries)))
        goto done;
    long long last = number(GET(db, database.last_stamp));
    long long at_stamp = now > last ? now : last + 1;
    stamp = PyLong_FromLongLong(at_stamp);
    record = make_record((uint64_t)at_stamp, PyTuple_GET_ITEM(name, 0), PyTuple_GET_ITEM(name, 1),
                         entries, at_stamp == now ? 0 : (uint64_t)now,
                         (uint32_t)number(GET(log, wal.salt)), (uint32_t)number(GET(log, wal.mark)),
                         (uint64_t)number(GET(log, wal.synced)));
    if (!stamp || !record || PyBytes_GET_SIZE(record) - FRAME > number(limit) ||
        !(state = state_of(stamp, together, current)))
        goto done;
    otherwise = 0; /* from here on something has happened */
    if (land(self, db, active, log, name, stamp, record, state) < 0)
        broken_off(self, log);
    else
        result = Py_NewRef(stamp);
done:
    Py_XDECREF(db);
    Py_XDECREF(begun);
    Py_XDECREF(limit);
    Py_XDECREF(current);
    Py_XDECREF(known);
    Py_XDECREF(together);
    Py_XDECREF(stamp);
    Py_XDECREF(record);
    Py_XDECREF(state);
    if (!otherwise)
        return result;
    if (PyErr_Occurred()) {
        if (!PyErr_ExceptionMatches(PyExc_Exception))
            return NULL;
        PyErr_Clear(); /* nothing has happened: the Python method says what is wrong */
    }
    PyObject *all[6] = {self};
    if (count != 5)
        return PyErr_Format(PyExc_TypeError, "_log_sets takes five arguments");
    for (int i = 0; i < 5; i++)
        all[i + 1] = args[i];
    return PyObject_Vectorcall(long_log, all, 6, NULL);
}

static const Given GIVEN[] = {
    {"Database", (PyObject **)&Database},   {"Memtable", (PyObject **)&Memtable},
    {"State", (PyObject **)&State},         {"Resolved", (PyObject **)&Resolved},
    {"WalWriter", (PyObject **)&WalWriter}, {"EngineClock", (PyObject **)&EngineClock},
    {"Snapshots", (PyObject **)&Snapshots}, {"Counters", (PyObject **)&Counters},
    {"DiskFile", (PyObject **)&DiskFile},   {"HotCommitter", &HotCommitter},
    {"time_ns", &time_ns},
};

static const Wanted WANTED[] = {
    {&Database, "pending", &database.pending},
    {&Database, "failed", &database.failed},
    {&Database, "clock", &database.clock},
    {&Database, "last_stamp", &database.last_stamp},
    {&Database, "snapshots", &database.snapshots},
    {&Database, "published", &database.published},
    {&Database, "counters", &database.counters},
    {&Memtable, "states", &memtable.states},
    {&Memtable, "has_tombstones", &memtable.has_tombstones},
    {&State, "_rows", &object_state.rows},
    {&State, "version", &object_state.version},
    {&State, "prev", &object_state.prev},
    {&State, "full", &object_state.full},
    {&Resolved, "version", &resolved.version},
    {&Resolved, "expires_at", &resolved.expires_at},
    {&Resolved, "entries", &resolved.entries},
    {&Resolved, "ttls", &resolved.ttls},
    {&Resolved, "soonest", &resolved.soonest},
    {&WalWriter, "end", &wal.end},
    {&WalWriter, "synced", &wal.synced},
    {&WalWriter, "_allocated", &wal.allocated},
    {&WalWriter, "salt", &wal.salt},
    {&WalWriter, "mark", &wal.mark},
    {&WalWriter, "_writing", &wal.writing},
    {&WalWriter, "_file", &wal.file},
    {&EngineClock, "_read", &engine_clock.read},
    {&EngineClock, "_last", &engine_clock.last},
    {&EngineClock, "_until", &engine_clock.until},
    {&Snapshots, "newest", &snapshots.newest},
    {&Snapshots, "oldest", &snapshots.oldest},
    {&Counters, "commits", &commits},
    {&DiskFile, "_fd", &descriptor},
};

static PyMethodDef METHOD = {"_log_sets", FAST(log_sets), METH_FASTCALL, NULL};

int commit_install(PyObject *parts)
{
    PyObject *docs = PyDict_GetItemString(parts, "signatures");
    return docs && take_parts(parts, GIVEN, Py_ARRAY_LENGTH(GIVEN)) == 0 &&
                   find_slots(WANTED, Py_ARRAY_LENGTH(WANTED)) == 0 &&
                   (name_db = PyUnicode_InternFromString("_db")) &&
                   (name_begun = PyUnicode_InternFromString("_begun")) &&
                   (name_max = PyUnicode_InternFromString("_max_commit")) &&
                   (name_now = PyUnicode_InternFromString("now")) &&
                   (name_put = PyUnicode_InternFromString("put")) &&
                   (name_broken = PyUnicode_InternFromString("_broken_off")) &&
                   (name_publish = PyUnicode_InternFromString("publish")) &&
                   (name_rest = PyUnicode_InternFromString("_write_rest")) &&
                   replace_method(HotCommitter, &METHOD, &long_log, docs) == 0
               ? 0
               : -1;
}
