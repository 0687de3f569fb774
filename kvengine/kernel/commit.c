/* The commit of plain sets into an object in use: `HotCommitter._log_sets` in C.

   Step for step what the Python method does, under the same lock (operations/
   hot_committer.py), which keeps every case but the commonest: an object whose newest
   state is in the active memtable and known in whole, and no new state key. Nothing
   interrupts it but a signal while the write waits; what a broken write has left is
   settled by `_broken_off`, as there. */

#include "methods.h"
#include <errno.h>
#include <time.h>
#include <unistd.h>

enum { SMALL_ROW = 64, FRAME = 20 }; /* memory/memtable.py; format/record.py */

static PyObject *long_log;

static inline long long number(PyObject *value)
{
    return PyLong_AsLongLong(value);
}

/* `EngineClock.now`: microseconds; -1 with an exception. */
static long long now_of(PyObject *clock)
{
    struct timespec found;
    if (SLOT(clock, EngineClock, _read) == the_time_ns && !clock_gettime(CLOCK_REALTIME, &found)) {
        long long wall = (long long)found.tv_sec * 1000000 + found.tv_nsec / 1000;
        if (number(SLOT(clock, EngineClock, _last)) <= wall &&
            wall < number(SLOT(clock, EngineClock, _until))) {
            PyObject *last = PyLong_FromLongLong(wall);
            if (!last)
                return -1;
            PUT(clock, EngineClock, _last, last);
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
    PyObject *file = SLOT(log, WalWriter, _file);
    Py_ssize_t size = PyBytes_GET_SIZE(record), written;
    long long end = number(SLOT(log, WalWriter, end)) + size;
    if (!Py_IS_TYPE(file, DiskFile_type) || end > number(SLOT(log, WalWriter, _allocated))) {
        PyObject *done = PyObject_CallMethodOneArg(log, name_put, record);
        Py_XDECREF(done);
        return done ? 0 : -1;
    }
    PyObject *after = PyLong_FromLongLong(end);
    if (!after)
        return -1;
    int fd = (int)number(SLOT(file, DiskFile, _fd)), failure;
    PUT(log, WalWriter, _writing, Py_NewRef(record));
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
        PyObject *done = NULL;
        if (count)
            done = PyObject_CallMethodObjArgs(file, name__write_rest, record, count, NULL);
        failed = !done;
        Py_XDECREF(count);
        Py_XDECREF(done);
    }
    if (failed) {
        Py_DECREF(after);
        return -1;
    }
    PUT(log, WalWriter, end, after);
    PUT(log, WalWriter, _writing, Py_NewRef(Py_None));
    return 0;
}

/* Step 3: the state becomes what readers see. */
static int show(PyObject *db, PyObject *active, PyObject *name, PyObject *state)
{
    PyObject *open = SLOT(db, Database, snapshots);
    if (number(SLOT(open, Snapshots, newest)) < 0) {
        PUT(state, State, prev, Py_NewRef(Py_None));
        return PyDict_SetItem(SLOT(active, Memtable, states), name, state);
    }
    PyObject *states = PyDict_New();
    PyObject *done = NULL;
    if (states && PyDict_SetItem(states, name, state) == 0)
        done = PyObject_CallMethodObjArgs(active, name_publish, states,
                                          SLOT(open, Snapshots, newest),
                                          SLOT(open, Snapshots, oldest), NULL);
    Py_XDECREF(states);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

static int count_commit(PyObject *db)
{
    PyObject *counters = SLOT(db, Database, counters);
    PyObject *more = PyLong_FromLongLong(number(SLOT(counters, Counters, commits)) + 1);
    if (more)
        PUT(counters, Counters, commits, more);
    return more ? 0 : -1;
}

/* Hand the exception to `_broken_off`, which raises what is to be raised. */
static PyObject *broken_off(PyObject *self, PyObject *log)
{
    Handling handling;
    begin_handling(&handling);
    PyObject *none = PyObject_CallMethodObjArgs(self, name__broken_off, handling.error, log, NULL);
    end_handling(&handling, none != NULL);
    Py_XDECREF(none);
    return NULL;
}

/* Over `current`, which an open snapshot may see: also where an interrupt lets it be published
   by another way than `show`. */
static PyObject *state_of(PyObject *stamp, PyObject *together, PyObject *current)
{
    PyObject *full = make(Resolved_type), *state = full ? make(State_type) : NULL;
    if (!state) {
        Py_XDECREF(full);
        return NULL;
    }
    INIT(full, Resolved, version, stamp);
    INIT(full, Resolved, expires_at, Py_None);
    INIT(full, Resolved, entries, together);
    INIT(full, Resolved, ttls, Py_None);
    INIT(full, Resolved, soonest, Py_None);
    INIT(state, State, _rows, Py_None);
    INIT(state, State, version, stamp);
    INIT(state, State, prev, current);
    SLOT(state, State, full) = full;
    return state;
}

/* One commit on its way. `db` and `current` are held here, the arguments by the caller. */
typedef struct {
    PyObject *self, *name, *entries, *expected, *active, *log;
    PyObject *db, *current, *stamp, *record, *state;
} Work;

static void drop(Work *work)
{
    Py_XDECREF(work->db);
    Py_XDECREF(work->current);
    Py_XDECREF(work->stamp);
    Py_XDECREF(work->record);
    Py_XDECREF(work->state);
}

/* Steps 2 and 3; -1 with an exception that `_broken_off` has to see. */
static int land(Work *work)
{
    PyObject *db = work->db, *end = SLOT(work->log, WalWriter, end);
    PyObject *begun = PyTuple_Pack(4, work->name, work->state, work->active, end);
    if (!begun)
        return -1;
    int failed = PyObject_SetAttr(work->self, name__begun, begun);
    Py_DECREF(begun);
    if (failed || append(work->log, work->record) < 0)
        return -1;
    PUT(db, Database, last_stamp, Py_NewRef(work->stamp));
    if (show(db, work->active, work->name, work->state) < 0)
        return -1;
    PUT(db, Database, published, Py_NewRef(work->stamp));
    if (count_commit(db) < 0)
        return -1;
    return PyObject_SetAttr(work->self, name__begun, Py_None);
}

/* The object as it is with the entries, if none of them is new; NULL otherwise. */
static PyObject *merged(PyObject *known, PyObject *entries)
{
    PyObject *old = SLOT(known, Resolved, entries);
    PyObject *together = PyDict_CheckExact(old) ? PyDict_Copy(old) : NULL;
    if (together && (PyDict_Update(together, entries) < 0 ||
                     PyDict_GET_SIZE(together) != PyDict_GET_SIZE(old)))
        Py_CLEAR(together);
    return together;
}

/* What is known of the object, where this is the usual commit into it; NULL otherwise. */
static PyObject *usual(PyObject *db, PyObject *active, PyObject *current, PyObject *expected)
{
    PyObject *known = current ? SLOT(current, State, full) : NULL;
    if (!is_a(known, Resolved_type) || PyList_GET_SIZE(SLOT(db, Database, pending)) ||
        SLOT(db, Database, failed) != Py_None ||
        SLOT(active, Memtable, has_tombstones) != Py_False ||
        SLOT(known, Resolved, soonest) != Py_None)
        return NULL;
    if (expected != Py_None &&
        !(PyLong_CheckExact(expected) &&
          number(expected) == number(SLOT(known, Resolved, version))))
        return NULL;
    return PyDict_GET_SIZE(SLOT(known, Resolved, entries)) <= SMALL_ROW ? Py_NewRef(known) : NULL;
}

/* Whether the committer is in no commit, and its database is a `Database`, which is kept. */
static int is_free(Work *work)
{
    PyObject *begun = PyObject_GetAttr(work->self, name__begun);
    int found = begun == Py_None;
    Py_XDECREF(begun);
    work->db = found ? PyObject_GetAttr(work->self, name__db) : NULL;
    return is_a(work->db, Database_type);
}

static int is_within_limit(Work *work)
{
    PyObject *limit = PyObject_GetAttr(work->self, name__max_commit);
    int found = limit && PyBytes_GET_SIZE(work->record) - FRAME <= number(limit);
    Py_XDECREF(limit);
    return found;
}

/* Step 1 at this time: what is to be written and shown; 0 where it is not the usual commit. */
static int prepare(Work *work, long long now)
{
    PyObject *log = work->log, *service = PyTuple_GET_ITEM(work->name, 0);
    long long last = number(SLOT(work->db, Database, last_stamp));
    long long stamp = now > last ? now : last + 1;
    work->current =
        Py_XNewRef(PyDict_GetItemWithError(SLOT(work->active, Memtable, states), work->name));
    PyObject *known = usual(work->db, work->active, work->current, work->expected);
    PyObject *together = known ? merged(known, work->entries) : NULL;
    Py_XDECREF(known);
    if (together && (work->stamp = PyLong_FromLongLong(stamp)))
        work->record = make_record((uint64_t)stamp, service, PyTuple_GET_ITEM(work->name, 1),
                                   work->entries, stamp == now ? 0 : (uint64_t)now,
                                   (uint32_t)number(SLOT(log, WalWriter, salt)),
                                   (uint32_t)number(SLOT(log, WalWriter, mark)),
                                   (uint64_t)number(SLOT(log, WalWriter, synced)));
    if (work->record && is_within_limit(work))
        work->state = state_of(work->stamp, together, work->current);
    Py_XDECREF(together);
    return work->state != NULL;
}

static PyObject *log_sets(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    if (count != 5 || !is_a(args[0], &PyTuple_Type) || PyTuple_GET_SIZE(args[0]) != 2 ||
        !is_a(args[1], &PyDict_Type) || !is_a(args[3], Memtable_type) ||
        !is_a(args[4], WalWriter_type))
        return long_way(long_log, self, args, count, NULL);
    Work work = {self, args[0], args[1], args[2], args[3], args[4], NULL, NULL, NULL, NULL, NULL};
    PyObject *result = NULL;
    long long now = 0;
    int free = is_free(&work);
    if (free && (now = now_of(SLOT(work.db, Database, clock))) < 0 && PyErr_Occurred()) {
        drop(&work); /* what a signal handler raised while the clock was read goes on */
        return NULL;
    }
    int usual_commit = free && now >= 0 && prepare(&work, now);
    if (usual_commit && land(&work) < 0)
        broken_off(self, work.log);
    else if (usual_commit)
        result = Py_NewRef(work.stamp);
    drop(&work);
    if (usual_commit)
        return result;
    PyErr_Clear(); /* nothing has happened: the Python method says what is wrong */
    return long_way(long_log, self, args, count, NULL);
}

/* --- install */

static PyMethodDef LOG_SETS = {"_log_sets", FAST(log_sets), METH_FASTCALL, NULL};

int commit_install(void)
{
    return replace_method(HotCommitter_type, &LOG_SETS, &long_log);
}
