/* Runs of datagrams in one buffer, as UDP's offloads take and give them (mpbond.core.aead).
 *
 * A train goes from the super-packet, or the packets, straight into the buffer that is sent: each is
 * written behind its header and enciphered there. On the way back packets that came alone in their datagrams,
 * one after the other, are one result.
 */

#include "kernel.h"

#define SAME 6 /* bytes of a header that all datagrams of a run share: all but the number */

/* Sealing */

/* Measures a run; all but its last datagram must be equally long. */
static bool measure_run(PyObject *run, size_t *segment, size_t *total)
{
    Py_ssize_t datagrams = PySequence_Fast_GET_SIZE(run);
    *segment = *total = 0;
    for (Py_ssize_t at = 0; at < datagrams && at < PySequence_Fast_GET_SIZE(run); at++) {
        PyObject *frames = PySequence_Fast_GET_ITEM(run, at);
        size_t size;
        Py_INCREF(frames);
        bool good = take_frames(frames, NULL, 0, &size);
        Py_DECREF(frames);
        if (!good)
            return false;
        if (at == 0)
            *segment = size;
        if (size > *segment || (size < *segment && at != datagrams - 1)) {
            PyErr_SetString(PyExc_ValueError, "the datagrams of a run differ in length");
            return false;
        }
        *total += size + SEALING;
        if (*total > INT_MAX) {
            PyErr_SetString(PyExc_OverflowError, "too much for one run");
            return false;
        }
    }
    return true;
}

/* Seals a measured run into `at`, which has room for `total` bytes. */
static bool seal_into(struct aead *self, PyObject *run, uint8_t *at, size_t segment, size_t total,
                      uint8_t path_id, uint32_t index, uint64_t number)
{
    size_t left = total;
    for (Py_ssize_t which = 0; left > 0 && which < PySequence_Fast_GET_SIZE(run); which++) {
        size_t size = (left < segment + SEALING ? left : segment + SEALING) - SEALING;
        PyObject *frames = PySequence_Fast_GET_ITEM(run, which);
        Py_INCREF(frames);
        bool good = copy_frames(frames, at + HEADER_SIZE, size);
        Py_DECREF(frames);
        if (!good)
            return false;
        if (!seal_one(self->seal, at, size, path_id, index, number + (uint64_t)which)) {
            crypto_error();
            return false;
        }
        at += size + SEALING;
        left -= size + SEALING;
    }
    if (left == 0)
        return true;
    PyErr_SetString(PyExc_RuntimeError, "a run shrank while it was read");
    return false;
}

PyObject *aead_seal_run(struct aead *self, PyObject *const *args, Py_ssize_t count)
{
    uint64_t index, path_id, first;
    size_t segment, total;
    if (!has_arguments(count, 4) || !number_from(args[0], UINT32_MAX, &index) ||
        !number_from(args[1], UINT8_MAX, &path_id) || !number_from(args[2], UINT64_MAX, &first))
        return NULL;
    PyObject *datagrams = NULL, *run = PySequence_Fast(args[3], "a run is a list");
    if (run == NULL)
        return NULL;
    Py_ssize_t length = PySequence_Fast_GET_SIZE(run);
    if (length > 0 && first > UINT64_MAX - (uint64_t)(length - 1))
        PyErr_SetString(PyExc_OverflowError, "a number does not fit its field");
    else if (measure_run(run, &segment, &total))
        datagrams = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)total);
    if (datagrams != NULL && total > 0 &&
        !seal_into(self, run, (uint8_t *)PyBytes_AS_STRING(datagrams), segment, total,
                   (uint8_t)path_id, (uint32_t)index, first))
        Py_CLEAR(datagrams);
    Py_DECREF(run);
    return datagrams;
}

/* What a train's first datagram says; the others count up from it. */
struct train {
    uint64_t index, path_id, number, flags, lane, sequence, order;
};

static void write_lone_head(const struct train *train, size_t turn, uint8_t *frames)
{
    uint32_t order = (uint32_t)(train->order + turn) & ORDER_MASK;
    uint32_t sequence = (uint32_t)(train->sequence + turn) & SEQUENCE_MASK;
    put32(frames, (uint32_t)(DATA | train->flags) << 24 | order);
    put32(frames + 4, (uint32_t)train->lane << SEQUENCE_BITS | sequence);
}

static bool seal_segment(struct aead *self, const struct train *train, const struct cut *cut,
                         size_t index, size_t turn, uint8_t *at, size_t *size)
{
    uint8_t *frames = at + HEADER_SIZE;
    write_lone_head(train, turn, frames);
    write_segment(cut, index, frames + LONE_HEAD);
    *size = LONE_HEAD + segment_length(cut, index);
    return seal_one(self->seal, at, *size, (uint8_t)train->path_id, (uint32_t)train->index,
                    train->number + turn);
}

static PyObject *seal_segments(struct aead *self, const struct train *train,
                               const struct cut *cut, size_t first, size_t wanted)
{
    size_t total = 0;
    if (wanted > 0 && train->number > UINT64_MAX - (wanted - 1)) {
        PyErr_SetString(PyExc_OverflowError, "a number does not fit its field");
        return NULL;
    }
    if (wanted > 0)
        total = (wanted - 1) * (SEALING + LONE_HEAD + segment_length(cut, first)) + SEALING +
                LONE_HEAD + segment_length(cut, first + wanted - 1);
    PyObject *datagrams = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)total);
    if (datagrams == NULL || wanted == 0)
        return datagrams;
    uint8_t *at = (uint8_t *)PyBytes_AS_STRING(datagrams);
    for (size_t turn = 0; turn < wanted; turn++) {
        size_t size;
        if (!seal_segment(self, train, cut, first + turn, turn, at, &size)) {
            Py_DECREF(datagrams);
            return crypto_error();
        }
        at += size + SEALING;
    }
    return datagrams;
}

/* Measures packets of a list, of which all but the last must be equally long. */
static bool measure_packets(PyObject *packets, Py_ssize_t first, Py_ssize_t wanted, size_t *total)
{
    Py_ssize_t size = 0;
    *total = 0;
    for (Py_ssize_t turn = 0; turn < wanted; turn++) {
        PyObject *packet = PyList_GET_ITEM(packets, first + turn);
        if (!PyBytes_Check(packet)) {
            PyErr_SetString(PyExc_TypeError, "a packet is bytes");
            return false;
        }
        Py_ssize_t length = PyBytes_GET_SIZE(packet);
        if (turn == 0)
            size = length;
        if (length > size || (length < size && turn != wanted - 1)) {
            PyErr_SetString(PyExc_ValueError, "the datagrams of a run differ in length");
            return false;
        }
        if (length > INT_MAX - SEALING - LONE_HEAD ||
            *total > INT_MAX - SEALING - LONE_HEAD - (size_t)length) {
            PyErr_SetString(PyExc_OverflowError, "too much for one run");
            return false;
        }
        *total += SEALING + LONE_HEAD + (size_t)length;
    }
    return true;
}

/* Seals packets of a list, each as it is. Nothing here runs other code, so the list stays. */
static PyObject *seal_packets(struct aead *self, const struct train *train, PyObject *packets,
                              PyObject *from, PyObject *count)
{
    size_t total;
    Py_ssize_t first = PyLong_AsSsize_t(from);
    if (first == -1 && PyErr_Occurred())
        return NULL;
    Py_ssize_t wanted = PyLong_AsSsize_t(count), there = PyList_GET_SIZE(packets);
    if (wanted == -1 && PyErr_Occurred())
        return NULL;
    if (first < 0 || wanted < 0 || first > there || wanted > there - first) {
        PyErr_SetString(PyExc_IndexError, "there are no such packets");
        return NULL;
    }
    if (wanted > 0 && train->number > UINT64_MAX - (uint64_t)(wanted - 1)) {
        PyErr_SetString(PyExc_OverflowError, "a number does not fit its field");
        return NULL;
    }
    if (!measure_packets(packets, first, wanted, &total))
        return NULL;
    PyObject *datagrams = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)total);
    if (datagrams == NULL)
        return NULL;
    uint8_t *at = (uint8_t *)PyBytes_AS_STRING(datagrams);
    for (size_t turn = 0; turn < (size_t)wanted; turn++) {
        PyObject *packet = PyList_GET_ITEM(packets, first + (Py_ssize_t)turn);
        size_t length = (size_t)PyBytes_GET_SIZE(packet), size = LONE_HEAD + length;
        write_lone_head(train, turn, at + HEADER_SIZE);
        memcpy(at + HEADER_SIZE + LONE_HEAD, PyBytes_AS_STRING(packet), length);
        if (!seal_one(self->seal, at, size, (uint8_t)train->path_id, (uint32_t)train->index,
                      train->number + turn)) {
            Py_DECREF(datagrams);
            return crypto_error();
        }
        at += size + SEALING;
    }
    return datagrams;
}

PyObject *aead_seal_train(struct aead *self, PyObject *const *args, Py_ssize_t count)
{
    struct train train;
    struct cut cut;
    size_t first, wanted;
    if (!has_arguments(count, 10) || !number_from(args[0], UINT32_MAX, &train.index) ||
        !number_from(args[1], UINT8_MAX, &train.path_id) ||
        !number_from(args[2], UINT64_MAX, &train.number) ||
        !number_from(args[3], 0x3F, &train.flags) ||
        !number_from(args[4], LANE_COUNT - 1, &train.lane) ||
        !number_from(args[5], UINT64_MAX, &train.sequence) ||
        !number_from(args[6], UINT64_MAX, &train.order))
        return NULL;
    if (PyList_Check(args[7]))
        return seal_packets(self, &train, args[7], args[8], args[9]);
    PyObject *packet = PyObject_GetAttrString(args[7], "packet"), *datagrams = NULL;
    PyObject *size = packet == NULL ? NULL : PyObject_GetAttrString(args[7], "size");
    if (size != NULL && begin_cut(&cut, packet, size, args[8], args[9], &first, &wanted))
        datagrams = seal_segments(self, &train, &cut, first, wanted);
    Py_XDECREF(size);
    Py_XDECREF(packet);
    return datagrams;
}

/* Opening */

/* What came of neighbouring datagrams that are told as one: a forged one or one with other frames is
 * always alone, packets that were alone in theirs are a run. */
struct arrival {
    uint64_t number;
    Py_ssize_t count;
    size_t size; /* of the datagrams */
    uint32_t head, place; /* of the first: type and send order, lane and sequence */
    PyObject *plain; /* None where forged or `packets` is there */
    PyObject *packets; /* a list, or NULL */
};

/* Appends an arrival to the results, and empties it. */
static bool tell(const struct classes *classes, PyObject *results, struct arrival *arrival)
{
    PyObject *run = Py_None;
    if (arrival->count == 0)
        return true;
    if (arrival->packets == NULL) {
        Py_INCREF(run);
    } else {
        PyObject *members[] = {
            PyLong_FromUnsignedLong(arrival->head >> 24 & 0x3F),
            PyLong_FromUnsignedLong(arrival->head & ORDER_MASK),
            PyLong_FromUnsignedLong(arrival->place >> SEQUENCE_BITS),
            PyLong_FromUnsignedLong(arrival->place & SEQUENCE_MASK),
            arrival->packets,
        };
        run = tuple_of(classes->lone_run, 5, members);
    }
    PyObject *members[] = {
        PyLong_FromUnsignedLongLong(arrival->number),
        PyLong_FromSsize_t(arrival->count),
        PyLong_FromSize_t(arrival->size),
        arrival->plain,
        run,
    };
    *arrival = (struct arrival){.count = 0};
    return append(results, tuple_of(classes->arrival, 5, members));
}

static bool is_lone_data(const uint8_t *plain, size_t size)
{
    return (plain[0] & (DATA | HAS_LENGTH | FIRST_PART | LAST_PART)) == DATA && size > LONE_HEAD;
}

static PyObject *packet_of(const struct classes *classes, const uint8_t *plain, size_t size)
{
    size_t length = size - LONE_HEAD;
    PyObject *packet = plain[0] & SEGMENT ? new_unfinished(classes, length)
                                          : PyBytes_FromStringAndSize(NULL, (Py_ssize_t)length);
    if (packet != NULL)
        memcpy(PyBytes_AS_STRING(packet), plain + LONE_HEAD, length);
    return packet;
}

/* Takes what one datagram of `length` bytes said; tells what was before it if it does not continue. */
static bool take(const struct classes *classes, PyObject *results, struct arrival *arrival,
                 uint64_t number, size_t length, const uint8_t *plain, bool authentic)
{
    size_t size = length - SEALING;
    bool lone = authentic && is_lone_data(plain, size);
    uint32_t turn = (uint32_t)arrival->count;
    /* a sequence that wraps begins a run: else it would carry into the lane */
    if (!lone || arrival->packets == NULL || number != arrival->number + turn ||
        get32(plain) != arrival->head + turn || get32(plain + 4) != arrival->place + turn ||
        (get32(plain + 4) & SEQUENCE_MASK) == 0) {
        if (!tell(classes, results, arrival))
            return false;
        arrival->number = number;
        if (lone) {
            arrival->head = get32(plain);
            arrival->place = get32(plain + 4);
            arrival->packets = PyList_New(0);
        }
        if (!lone && authentic) {
            arrival->plain = PyBytes_FromStringAndSize((const char *)plain, (Py_ssize_t)size);
        } else {
            Py_INCREF(Py_None);
            arrival->plain = Py_None;
        }
        if (arrival->plain == NULL || (lone && arrival->packets == NULL))
            return false;
    }
    arrival->count++;
    arrival->size += length;
    return !lone || append(arrival->packets, packet_of(classes, plain, size));
}

/* Recovers the number nearest `expected` whose low half is `low` (RFC 9000, A.3).
 *
 * False if it is below what is expected, or has more than 64 bits. */
static bool recover(uint32_t low, uint64_t expected, uint64_t *number)
{
    const uint64_t half = UINT64_C(1) << 31, space = UINT64_C(1) << 32;
    uint64_t candidate = (expected & ~(space - 1)) | low;
    if (candidate < expected && expected - candidate >= half) {
        if (candidate > UINT64_MAX - space)
            return false;
        candidate += space;
    } else if (candidate > expected && candidate - expected > half && candidate >= space) {
        candidate -= space;
    }
    *number = candidate;
    return candidate >= expected;
}

static bool open_all(struct aead *self, const struct classes *classes, const uint8_t *buffer,
                     size_t length, size_t segment, size_t *at, uint64_t expected,
                     struct arrival *arrival, uint8_t *plain, PyObject *results)
{
    const uint8_t *first = buffer + *at;
    bool more = true;
    while (more && *at < length) {
        const uint8_t *here = buffer + *at;
        size_t left = length - *at, size = left < segment ? left : segment;
        uint64_t number;
        if (size <= SEALING || memcmp(here, first, SAME) != 0 ||
            !recover(get32(here + 6), expected, &number))
            break;
        int authentic = open_one(self->open, here, size, here[1], number, plain);
        if (authentic < 0 ||
            !take(classes, results, arrival, number, size, plain, authentic == 1))
            return false;
        if (authentic) {
            more = number < UINT64_MAX;
            expected = number + 1;
        }
        *at += size;
    }
    return tell(classes, results, arrival);
}

PyObject *aead_open_run(struct aead *self, PyObject *const *args, Py_ssize_t count)
{
    Py_buffer buffer;
    uint64_t expected;
    const struct classes *classes = adopted(PyType_GetModuleState(Py_TYPE(self)));
    if (classes == NULL || !has_arguments(count, 4))
        return NULL;
    Py_ssize_t segment = PyLong_AsSsize_t(args[1]);
    if (segment == -1 && PyErr_Occurred())
        return NULL;
    Py_ssize_t start = PyLong_AsSsize_t(args[2]);
    if (start == -1 && PyErr_Occurred())
        return NULL;
    if (!number_from(args[3], UINT64_MAX, &expected) ||
        PyObject_GetBuffer(args[0], &buffer, PyBUF_SIMPLE) < 0)
        return NULL;
    PyObject *results = NULL;
    uint8_t *plain = NULL;
    if (segment <= 0 || start < 0 || start > buffer.len || buffer.len > INT_MAX) {
        PyErr_SetString(PyExc_ValueError, "no such place in the buffer");
        goto end;
    }
    size_t longest = (size_t)(segment < buffer.len ? segment : buffer.len), at = (size_t)start;
    plain = PyMem_Malloc(longest + 1);
    results = plain == NULL ? PyErr_NoMemory() : PyList_New(0);
    if (results != NULL) {
        struct arrival arrival = {.count = 0};
        if (open_all(self, classes, buffer.buf, (size_t)buffer.len, (size_t)segment, &at, expected,
                     &arrival, plain, results)) {
            PyObject *members[] = {PyLong_FromSize_t(at), results};
            results = tuple_of(&PyTuple_Type, 2, members);
        } else {
            Py_CLEAR(results);
            Py_XDECREF(arrival.plain);
            Py_XDECREF(arrival.packets);
        }
    }
end:
    PyMem_Free(plain);
    PyBuffer_Release(&buffer);
    return results;
}
