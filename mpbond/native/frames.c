/* Plaintexts taken apart (mpbond.core.wire.parse_frames). */

#include "kernel.h"

struct parsing {
    struct classes *classes;
    const uint8_t *bytes;
    size_t at, end;
    long order; /* -1 before the first DATA */
    PyObject *data, *others;
};

static bool malformed(const struct parsing *parsing, const char *what)
{
    PyErr_SetString(parsing->classes->wire_error, what);
    return false;
}

static PyObject *copied(const struct parsing *parsing, size_t from, size_t to)
{
    return PyBytes_FromStringAndSize((const char *)parsing->bytes + from, (Py_ssize_t)(to - from));
}

static bool parse_data(struct parsing *parsing)
{
    const uint8_t *head = parsing->bytes + parsing->at;
    bool has_length = head[0] & HAS_LENGTH, has_order = parsing->order < 0;
    size_t left = parsing->end - parsing->at, size = 1u + 2u * has_length + 3u * has_order + 4u;
    if (left <= size)
        return malformed(parsing, "truncated DATA");
    size_t length = left - size, start = parsing->at + size;
    const uint8_t *next = head + 1;
    if (has_length) {
        if (get16(next) == 0 || get16(next) > length)
            return malformed(parsing, "truncated DATA");
        length = get16(next);
        next += 2;
    }
    if (has_order) {
        parsing->order = (long)next[0] << 16 | get16(next + 1);
        next += 3;
    }
    uint32_t position = get32(next);
    PyObject *members[] = {
        PyLong_FromLong(head[0] & 0x3F),
        PyLong_FromUnsignedLong(position >> SEQUENCE_BITS),
        PyLong_FromUnsignedLong(position & SEQUENCE_MASK),
        copied(parsing, start, start + length),
    };
    parsing->at = start + length;
    return append(parsing->data, tuple_of(parsing->classes->data_frame, 4, members));
}

static bool parse_other(struct parsing *parsing)
{
    const uint8_t *head = parsing->bytes + parsing->at;
    size_t left = parsing->end - parsing->at;
    if (left < 3 || get16(head + 1) > left - 3)
        return malformed(parsing, "truncated frame");
    size_t start = parsing->at + 3;
    parsing->at = start + get16(head + 1);
    if (head[0] == 0)
        return true;
    PyObject *members[] = {PyLong_FromLong(head[0]), copied(parsing, start, parsing->at)};
    return append(parsing->others, tuple_of(&PyTuple_Type, 2, members));
}

PyObject *kernel_parse_frames(PyObject *module, PyObject *payload)
{
    struct parsing parsing = {.classes = adopted(PyModule_GetState(module)), .order = -1};
    if (parsing.classes == NULL)
        return NULL;
    if (!PyBytes_Check(payload)) {
        PyErr_SetString(PyExc_TypeError, "a plaintext is bytes");
        return NULL;
    }
    parsing.bytes = (const uint8_t *)PyBytes_AS_STRING(payload);
    parsing.end = (size_t)PyBytes_GET_SIZE(payload);
    parsing.data = PyList_New(0);
    parsing.others = PyList_New(0);
    bool good = parsing.data != NULL && parsing.others != NULL;
    while (good && parsing.at < parsing.end)
        good = parsing.bytes[parsing.at] & DATA ? parse_data(&parsing) : parse_other(&parsing);
    if (!good) {
        Py_XDECREF(parsing.data);
        Py_XDECREF(parsing.others);
        return NULL;
    }
    PyObject *order = Py_None;
    if (parsing.order < 0)
        Py_INCREF(order);
    else
        order = PyLong_FromLong(parsing.order);
    PyObject *members[] = {order, parsing.data, parsing.others};
    return tuple_of(parsing.classes->frames, 3, members);
}
