/* The record of a commit that sets entries of one object, made in one pass.

   The twin of `sets_payload` in format/wal.py under the framing of format/record.py:
   the same bytes for the same arguments (tests/kernel/test_record.py). Pure. */

#include "kernel.h"
#include <string.h>

enum { FRAME = 20, CHECKED = 8 }; /* bytes of a record's header; of those the checksum leaves out */

/* --- CRC-32C, reflected, polynomial 0x1EDC6F41 (Castagnoli) */

static uint32_t table[256];

static uint32_t crc_by_table(uint32_t crc, const unsigned char *data, size_t size)
{
    while (size--)
        crc = table[(crc ^ *data++) & 0xff] ^ (crc >> 8);
    return crc;
}

#if defined(__x86_64__) && defined(__GNUC__)
__attribute__((target("sse4.2")))
static uint32_t crc_by_sse(uint32_t crc, const unsigned char *data, size_t size)
{
    uint64_t wide = crc, word;
    for (; size >= 8; data += 8, size -= 8) {
        memcpy(&word, data, 8);
        wide = __builtin_ia32_crc32di(wide, word);
    }
    crc = (uint32_t)wide;
    while (size--)
        crc = __builtin_ia32_crc32qi(crc, *data++);
    return crc;
}
#endif

static uint32_t (*crc_over)(uint32_t, const unsigned char *, size_t) = crc_by_table;

void record_setup(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? 0x82f63b78u ^ (crc >> 1) : crc >> 1;
        table[i] = crc;
    }
#if defined(__x86_64__) && defined(__GNUC__)
    if (__builtin_cpu_supports("sse4.2"))
        crc_over = crc_by_sse;
#endif
}

/* --- MessagePack. Each writes at `to` and returns where it ended. */

static inline unsigned char *big_endian(unsigned char *to, uint64_t value, int size)
{
    for (int i = 0; i < size; i++)
        to[i] = (unsigned char)(value >> (8 * (size - 1 - i)));
    return to + size;
}

static inline void little_endian(unsigned char *to, uint64_t value, int size)
{
    for (int i = 0; i < size; i++)
        to[i] = (unsigned char)(value >> (8 * i));
}

static inline unsigned char *put_unsigned(unsigned char *to, uint64_t value)
{
    if (value < 0x80) {
        *to++ = (unsigned char)value;
        return to;
    }
    int size = value <= 0xff ? 1 : value <= 0xffff ? 2 : value <= 0xffffffffu ? 4 : 8;
    *to++ = size == 1 ? 0xcc : size == 2 ? 0xcd : size == 4 ? 0xce : 0xcf;
    return big_endian(to, value, size);
}

static inline unsigned char *put_bytes(unsigned char *to, const char *data, size_t size,
                                       unsigned char first)
{
    /* `first`: the type for a size of one byte; two and four bytes follow it. */
    int width = size <= 0xff ? 0 : size <= 0xffff ? 1 : 2;
    *to++ = (unsigned char)(first + width);
    to = big_endian(to, size, 1 << width);
    memcpy(to, data, size);
    return to + size;
}

static inline unsigned char *put_text(unsigned char *to, const char *data, size_t size)
{
    if (size >= 32)
        return put_bytes(to, data, size, 0xd9);
    *to++ = (unsigned char)(0xa0 | size);
    memcpy(to, data, size);
    return to + size;
}

static inline unsigned char *put_map(unsigned char *to, size_t size)
{
    if (size < 16) {
        *to++ = (unsigned char)(0x80 | size);
        return to;
    }
    *to++ = size <= 0xffff ? 0xde : 0xdf;
    return big_endian(to, size, size <= 0xffff ? 2 : 4);
}

static inline const char *utf8(PyObject *text, Py_ssize_t *size)
{
    if (!PyUnicode_Check(text)) {
        PyErr_SetString(PyExc_TypeError, "a name must be str");
        return NULL;
    }
    return PyUnicode_AsUTF8AndSize(text, size);
}

enum { HEADS = 10 + 1 + 5 }; /* at most, of a name: its own head, and its value's */

static Py_ssize_t bound_of(PyObject *entries)
{
    /* An upper bound of the bytes that the entries take; -1 with an exception. */
    Py_ssize_t bound = 0, at = 0, size;
    PyObject *name, *value;
    while (PyDict_Next(entries, &at, &name, &value)) {
        if (!utf8(name, &size))
            return -1;
        if (!PyBytes_CheckExact(value)) {
            PyErr_SetString(PyExc_TypeError, "a value must be bytes");
            return -1;
        }
        bound += size + PyBytes_GET_SIZE(value) + HEADS;
    }
    return bound;
}

static unsigned char *put_entries(unsigned char *to, PyObject *entries)
{
    Py_ssize_t at = 0, size;
    PyObject *name, *value;
    to = put_map(to, (size_t)PyDict_GET_SIZE(entries));
    while (PyDict_Next(entries, &at, &name, &value)) {
        const char *text = PyUnicode_AsUTF8AndSize(name, &size); /* did not fail in bound_of */
        to = put_text(to, text, (size_t)size);
        to = put_bytes(to, PyBytes_AS_STRING(value), (size_t)PyBytes_GET_SIZE(value), 0xc4);
    }
    return to;
}

PyObject *make_record(uint64_t stamp, PyObject *service_name, PyObject *key_name,
                      PyObject *entries, uint64_t now, uint32_t salt, uint32_t mark,
                      uint64_t synced)
{
    Py_ssize_t service_size, key_size;
    const char *service = utf8(service_name, &service_size);
    const char *key = service ? utf8(key_name, &key_size) : NULL;
    Py_ssize_t bound = key ? bound_of(entries) : -1;
    if (bound < 0)
        return NULL;
    bound += FRAME + service_size + key_size + 64; /* heads, two stamps, flags, now */
    PyObject *record = PyBytes_FromStringAndSize(NULL, bound);
    if (!record)
        return NULL;
    unsigned char *start = (unsigned char *)PyBytes_AS_STRING(record), *to = start + FRAME;
    *to++ = 0x94; /* Commit: stamp, rows, tombstones, now */
    to = put_unsigned(to, stamp);
    *to++ = 0x91; /* one row: service, key, Row */
    *to++ = 0x93;
    to = put_text(to, service, (size_t)service_size);
    to = put_text(to, key, (size_t)key_size);
    *to++ = 0x97; /* Row: version, entries, cleared, extends, expires_at, ttls, chunks */
    to = put_unsigned(to, stamp);
    to = put_entries(to, entries);
    memcpy(to, "\xc2\xc2\xc0\xc0\xc0\x90", 6); /* false, false, nil, nil, nil; no tombstones */
    to = put_unsigned(to + 6, now);
    Py_ssize_t size = to - start;
    if ((uint64_t)(size - FRAME) > UINT32_MAX) {
        Py_DECREF(record);
        PyErr_SetString(PyExc_OverflowError, "a record holds less than 4 GiB");
        return NULL;
    }
    little_endian(start, mark, 4);
    little_endian(start + 8, (uint64_t)(size - FRAME), 4);
    little_endian(start + 12, synced, 8);
    uint32_t crc = ~crc_over(~salt, start + CHECKED, (size_t)(size - CHECKED));
    little_endian(start + 4, crc, 4);
    return _PyBytes_Resize(&record, size) < 0 ? NULL : record;
}

PyObject *record_of_sets(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    if (count != 8 || !PyDict_CheckExact(args[3])) {
        PyErr_SetString(PyExc_TypeError, "record_of_sets takes eight arguments, the fourth a dict");
        return NULL;
    }
    uint64_t stamp = PyLong_AsUnsignedLongLong(args[0]);
    uint64_t now = PyErr_Occurred() ? 0 : PyLong_AsUnsignedLongLong(args[4]);
    uint64_t salt = PyErr_Occurred() ? 0 : PyLong_AsUnsignedLongLong(args[5]);
    uint64_t mark = PyErr_Occurred() ? 0 : PyLong_AsUnsignedLongLong(args[6]);
    uint64_t synced = PyErr_Occurred() ? 0 : PyLong_AsUnsignedLongLong(args[7]);
    if (PyErr_Occurred())
        return NULL;
    return make_record(stamp, args[1], args[2], args[3], now, (uint32_t)salt, (uint32_t)mark,
                       synced);
}
