/* Segments put together again (mpbond.core.segments.join).
 *
 * Packets are looked at in order. One that continues the latest run of its flow is linked behind that
 * run's last; every other one leads a run of its own. The wholes are made when all have been seen.
 */

#include "kernel.h"

#define MOST_DATAGRAMS 64 /* in a run of UDP: what kernels before 6.9 take */
#define LONGEST_ENDS 37   /* IPv6: protocol, addresses, ports */

/* A packet of the list; what stands below `next` counts only where it leads a run. */
struct run {
    Py_ssize_t next;  /* the packet that is appended to this one; -1: none */
    Py_ssize_t last;  /* of the run */
    Py_ssize_t parts;
    struct place place;
    size_t size;  /* of the first one's payload */
    size_t bytes; /* of the whole so far */
    uint32_t sequence; /* that comes next */
    uint8_t flags;
    bool open;
};

struct joining {
    const struct classes *classes;
    PyObject **items;
    struct run *runs; /* one for each item */
    PyObject *latest; /* dict: what tells a flow from others -> where its latest run begins */
    uint8_t ends[LONGEST_ENDS]; /* of the flow that was asked for last */
    size_t ends_size;
    Py_ssize_t recent; /* and its run; -1: none */
};

static const uint8_t *bytes_of(PyObject *packet, size_t *length)
{
    *length = (size_t)PyBytes_GET_SIZE(packet);
    return (const uint8_t *)PyBytes_AS_STRING(packet);
}

/* Copies what is there of a packet between two places. */
static size_t part(const uint8_t *packet, size_t length, size_t from, size_t to, uint8_t *out)
{
    if (to > length)
        to = length;
    if (from >= to)
        return 0;
    memcpy(out, packet + from, to - from);
    return to - from;
}

/* Writes what tells a flow from others, if there are no options before the ports. */
static size_t ends_of(const uint8_t *packet, size_t length, uint8_t *out)
{
    bool version4 = length > 0 && packet[0] == 0x45;
    size_t protocol = version4 ? 9 : 6;
    size_t size = part(packet, length, protocol, protocol + 1, out);
    return size + (version4 ? part(packet, length, 12, 24, out + size)
                            : part(packet, length, 8, 44, out + size));
}

/* Is a segment one that others may be joined to? */
static bool may_be_followed(const uint8_t *packet, const struct place *place)
{
    if (!place->version6 && (place->transport != 20 || !(packet[6] & DONT_FRAGMENT)))
        return false; /* its identity counts */
    return !place->tcp || (packet[place->transport + 13] & ~(CWR | ECE)) == ACK;
}

static void begin_run(struct joining *joining, Py_ssize_t at, long already)
{
    struct run *run = &joining->runs[at];
    size_t length;
    const uint8_t *packet = bytes_of(joining->items[at], &length);
    *run = (struct run){.next = -1, .last = at, .parts = 1, .bytes = length};
    if (already || !place_of(packet, length, &run->place) || run->place.payload == length)
        return;
    run->open = may_be_followed(packet, &run->place);
    run->size = length - run->place.payload;
    if (run->place.tcp) {
        run->flags = packet[run->place.transport + 13];
        run->sequence = get32(packet + run->place.transport + 4) + (uint32_t)run->size;
    }
}

static bool same(const uint8_t *one, const uint8_t *other, size_t from, size_t to)
{
    return memcmp(one + from, other + from, to - from) == 0;
}

/* Appends a segment to a run of its flow if it is the next one. */
static bool add(struct joining *joining, Py_ssize_t to, Py_ssize_t at, long already)
{
    struct run *run = &joining->runs[to];
    const struct place *place = &run->place;
    size_t length, first_length;
    const uint8_t *packet = bytes_of(joining->items[at], &length);
    const uint8_t *first = bytes_of(joining->items[to], &first_length);
    if (!run->open || already || length <= place->payload || length > first_length)
        return false;
    size_t size = length - place->payload;
    if (run->bytes + size > LONGEST_PACKET)
        return false;
    if (place->version6 ? !same(packet, first, 0, 4) || packet[7] != first[7]
                        : !same(packet, first, 0, 2) || !same(packet, first, 6, 9))
        return false;
    if (place->tcp) {
        size_t flags = place->transport + 13;
        if (get32(packet + place->transport + 4) != run->sequence ||
            !same(packet, first, place->transport + 8, flags) ||
            (packet[flags] & ~(FIN | PSH)) != (run->flags & ~CWR) ||
            !same(packet, first, flags + 1, flags + 3) ||
            !same(packet, first, flags + 5, place->payload))
            return false;
        run->sequence += (uint32_t)size;
        if (packet[flags] & (FIN | PSH)) {
            run->flags |= packet[flags];
            run->open = false; /* nothing follows */
        }
    } else if (run->parts == MOST_DATAGRAMS) {
        return false;
    }
    if (size < run->size)
        run->open = false;
    joining->runs[run->last].next = at;
    joining->runs[at].next = -1;
    run->last = at;
    run->parts++;
    run->bytes += size;
    return true;
}

/* Finds the latest run of a packet's flow: 0 if there is none, -1 and an error if that fails. */
static int find(struct joining *joining, PyObject *packet, PyObject **key)
{
    uint8_t ends[LONGEST_ENDS];
    size_t length;
    const uint8_t *bytes = bytes_of(packet, &length);
    size_t size = ends_of(bytes, length, ends);
    *key = NULL;
    if (joining->recent >= 0 && size == joining->ends_size &&
        memcmp(ends, joining->ends, size) == 0)
        return 1;
    memcpy(joining->ends, ends, size);
    joining->ends_size = size;
    joining->recent = -1;
    *key = PyBytes_FromStringAndSize((const char *)ends, (Py_ssize_t)size);
    if (*key == NULL)
        return -1;
    PyObject *at = PyDict_GetItemWithError(joining->latest, *key);
    if (at != NULL)
        joining->recent = PyLong_AsSsize_t(at);
    return at != NULL ? 1 : PyErr_Occurred() ? -1 : 0;
}

/* Notes that the latest run of the flow that was asked for last begins there. */
static bool note(struct joining *joining, PyObject *key, Py_ssize_t at)
{
    PyObject *place = PyLong_FromSsize_t(at);
    if (key == NULL)
        key = PyBytes_FromStringAndSize((const char *)joining->ends,
                                        (Py_ssize_t)joining->ends_size);
    else
        Py_INCREF(key);
    bool good = place != NULL && key != NULL && PyDict_SetItem(joining->latest, key, place) == 0;
    Py_XDECREF(place);
    Py_XDECREF(key);
    joining->recent = at;
    return good;
}

/* Puts a packet where it belongs; in `leads` whether it begins something. */
static bool put(struct joining *joining, Py_ssize_t at, bool *leads)
{
    PyObject *packet = joining->items[at], *key = NULL;
    bool unfinished = Py_IS_TYPE(packet, joining->classes->unfinished), good = true;
    long already = unfinished ? segment_size(joining->classes, packet) : 0;
    *leads = true;
    if (already < 0)
        return false;
    if (!unfinished) {
        /* whatever it is, nothing of its flow passes it */
        if (PyDict_GET_SIZE(joining->latest) == 0)
            return true;
        if (!PyBytes_Check(packet)) {
            PyErr_SetString(PyExc_TypeError, "a packet is bytes");
            return false;
        }
        int found = find(joining, packet, &key);
        if (found > 0 && key == NULL) /* as asked for last */
            key = PyBytes_FromStringAndSize((const char *)joining->ends,
                                            (Py_ssize_t)joining->ends_size);
        good = found == 0 ||
               (found > 0 && key != NULL && PyDict_DelItem(joining->latest, key) == 0);
        joining->recent = -1;
    } else {
        int found = find(joining, packet, &key);
        if (found > 0 && add(joining, joining->recent, at, already)) {
            *leads = false;
        } else {
            begin_run(joining, at, already);
            good = found >= 0 && note(joining, key, at);
        }
    }
    Py_XDECREF(key);
    return good;
}

static PyObject *whole(const struct joining *joining, Py_ssize_t at)
{
    const struct run *run = &joining->runs[at];
    PyObject *first = joining->items[at];
    if (!Py_IS_TYPE(first, joining->classes->unfinished) || run->parts == 1) {
        Py_INCREF(first);
        return first;
    }
    PyObject *made = new_unfinished(joining->classes, run->bytes);
    if (made == NULL)
        return NULL;
    uint8_t *start = (uint8_t *)PyBytes_AS_STRING(made), *out = start;
    for (Py_ssize_t each = at; each >= 0; each = joining->runs[each].next) {
        size_t length, skip = each == at ? 0 : run->place.payload;
        const uint8_t *packet = bytes_of(joining->items[each], &length);
        memcpy(out, packet + skip, length - skip);
        out += length - skip;
    }
    if (run->place.tcp)
        start[run->place.transport + 13] = run->flags;
    PyObject *size = PyLong_FromSize_t(run->size);
    if (size == NULL || PyObject_SetAttr(made, joining->classes->segment_size, size) < 0)
        Py_CLEAR(made);
    Py_XDECREF(size);
    return made;
}

/* Returns the wholes; the leaders are noted in `leaders` first, since runs grow until the end. */
static PyObject *join_all(struct joining *joining, Py_ssize_t count, bool *leaders)
{
    for (Py_ssize_t at = 0; at < count; at++)
        if (!put(joining, at, &leaders[at]))
            return NULL;
    PyObject *joined = PyList_New(0);
    for (Py_ssize_t at = 0; joined != NULL && at < count; at++)
        if (leaders[at] && !append(joined, whole(joining, at)))
            Py_CLEAR(joined);
    return joined;
}

PyObject *kernel_join(PyObject *module, PyObject *packets)
{
    struct joining joining = {.classes = adopted(PyModule_GetState(module)), .recent = -1};
    if (joining.classes == NULL)
        return NULL;
    /* a tuple, which nobody can change while it is read */
    PyObject *fixed = PySequence_Tuple(packets), *joined = NULL;
    if (fixed == NULL)
        return NULL;
    size_t count = (size_t)PyTuple_GET_SIZE(fixed);
    bool *leaders = PyMem_New(bool, count + 1);
    joining.items = &PyTuple_GET_ITEM(fixed, 0);
    joining.runs = PyMem_New(struct run, count + 1);
    joining.latest = PyDict_New();
    if (leaders == NULL || joining.runs == NULL)
        PyErr_NoMemory();
    else if (joining.latest != NULL)
        joined = join_all(&joining, (Py_ssize_t)count, leaders);
    PyMem_Free(leaders);
    PyMem_Free(joining.runs);
    Py_XDECREF(joining.latest);
    Py_DECREF(fixed);
    return joined;
}
