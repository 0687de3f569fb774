/* The Python classes and parts that the kernel works on, and where their slots lie.

   No object is laid out here: `find_layout` takes the offsets from the classes. */

#ifndef KVENGINE_LAYOUT_H
#define KVENGINE_LAYOUT_H

#include "kernel.h"

typedef Py_ssize_t Slot;

#define CLASSES(X)                                                                             \
    X(Session) X(Working) X(Over) X(SessionContext) X(Codec) X(VirtualObject) X(Host) X(Turns) \
    X(Serdes) X(BytesSerde) X(JSONSerde) X(Resolved) X(ObjectVerbs) X(SessionVerbs)            \
    X(HotCommitter) X(Database) X(Counters) X(WalWriter) X(EngineClock) X(Memtable) X(State)   \
    X(Snapshots) X(DiskFile)

/* Other parts: the usual settings, what stands for a session that is entered, functions. */
#define PARTS(X) X(usual) X(entering) X(named) X(encode) X(decode) X(time_ns) X(signatures)

/* X(class, slot): `SLOT(object, class, slot)` is what the object has there. */
#define SLOTS(X)                                                                                  \
    X(Session, _host) X(Session, _working) X(Session, _moment) X(Session, _codec)                 \
    X(Session, _settings) X(Session, _retention) X(Session, _state)                               \
    X(Working, version) X(Working, expires_at) X(Working, base) X(Working, complete)              \
    X(Working, changes) X(Working, ttls) X(Working, cleared) X(Working, _expire) X(Working, _keys) \
    X(SessionContext, thread) X(SessionContext, task) X(SessionContext, call)                     \
    X(SessionContext, _host) X(SessionContext, _codec) X(SessionContext, _kind)                   \
    X(SessionContext, _settings) X(SessionContext, _retention) X(SessionContext, _session)        \
    X(Codec, name) X(Codec, serde) X(Over, _name)                                                 \
    X(VirtualObject, _host) X(VirtualObject, _codec) X(VirtualObject, _retention)                 \
    X(Host, commit_sets) X(Host, known) X(Host, max_value_size) X(Host, serdes) X(Host, turns)    \
    X(Turns, _holders) X(Turns, _waiting) X(Serdes, _own) X(Serdes, _usual)                       \
    X(Resolved, version) X(Resolved, expires_at) X(Resolved, entries) X(Resolved, ttls)           \
    X(Resolved, soonest)                                                                          \
    X(Database, pending) X(Database, failed) X(Database, clock) X(Database, last_stamp)           \
    X(Database, snapshots) X(Database, published) X(Database, counters) X(Counters, commits)      \
    X(Memtable, states) X(Memtable, has_tombstones)                                               \
    X(State, _rows) X(State, version) X(State, prev) X(State, full)                               \
    X(WalWriter, end) X(WalWriter, synced) X(WalWriter, _allocated) X(WalWriter, salt)            \
    X(WalWriter, mark) X(WalWriter, _writing) X(WalWriter, _file)                                 \
    X(EngineClock, _read) X(EngineClock, _last) X(EngineClock, _until)                            \
    X(Snapshots, newest) X(Snapshots, oldest) X(DiskFile, _fd)

/* Names of attributes and methods that are looked up. */
#define NAMES(X)                                                                            \
    X(_host) X(_leave) X(_begin) X(_finish) X(asyncio) X(_get_running_loop) X(_db) X(_begun) \
    X(_max_commit) X(now) X(put) X(_broken_off) X(publish) X(_write_rest)

#define DECLARE(name) extern PyTypeObject *name##_type;
CLASSES(DECLARE)
#undef DECLARE
#define DECLARE(name) extern PyObject *the_##name;
PARTS(DECLARE)
#undef DECLARE
#define DECLARE(type, name) extern Slot type##_##name;
SLOTS(DECLARE)
#undef DECLARE
#define DECLARE(name) extern PyObject *name_##name;
NAMES(DECLARE)
#undef DECLARE

#define AT(object, slot) (*(PyObject **)((char *)(object) + (slot)))
#define SLOT(object, type, name) AT(object, type##_##name)
#define PUT(object, type, name, value) Py_XSETREF(SLOT(object, type, name), (value))
#define INIT(object, type, name, value) (SLOT(object, type, name) = Py_NewRef(value))

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

/* Keep the classes and parts that a dict has under their names, and find the slots: -1 with
   KeyError where a part is missing, with TypeError where a class lacks a slot. */
int find_layout(PyObject *parts);

#endif
