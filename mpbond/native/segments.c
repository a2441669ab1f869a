/* Super-packets: cut, and shown to a device (mpbond.core.segments, which explains it).
 *
 * A packet is first `placed`: where its transport header and its payload begin. That the packet is as
 * long as these say holds from then on; nothing is read of a packet that was not placed.
 */

#include "kernel.h"

#define TCP 6
#define UDP 17

/* As Linux has them in virtio_net.h, without needing its headers. */
#define NEEDS_CHECKSUM 1
#define TCP4 1
#define TCP6 4
#define UDP_CUT 5
#define CONGESTED 0x80
#define VNET_SIZE 10

bool place_of(const uint8_t *packet, size_t size, struct place *place)
{
    uint8_t protocol;
    if (size < 28 || size > LONGEST_PACKET)
        return false;
    place->version6 = packet[0] >> 4 == 6;
    if (packet[0] >> 4 == 4) {
        place->transport = (packet[0] & 0x0F) * 4u;
        protocol = packet[9];
        if (place->transport < 20 || packet[6] & 0x3F || packet[7])
            return false;
    } else if (place->version6 && size >= 48) {
        place->transport = 40;
        protocol = packet[6];
    } else {
        return false;
    }
    place->tcp = protocol == TCP;
    if (protocol == UDP) {
        place->payload = place->transport + 8;
    } else if (protocol == TCP && size >= place->transport + 20) {
        size_t head = (packet[place->transport + 12] >> 4) * 4u;
        place->payload = place->transport + head;
        if (head < 20)
            return false;
    } else {
        return false;
    }
    return place->payload <= size;
}

/* Sums the 16-bit words of headers (RFC 1071), which have an even number of bytes. */
static uint32_t sum(uint64_t start, const uint8_t *at, size_t size)
{
    uint64_t total = start;
    for (; size >= 2; at += 2, size -= 2)
        total += get16(at);
    while (total >> 16)
        total = (total & 0xFFFF) + (total >> 16);
    return (uint32_t)total;
}

/* Writes the lengths for so much payload into headers, an IPv4 header's checksum with them. */
static void set_length(uint8_t *head, const struct place *place, size_t payload)
{
    size_t length = place->payload + payload;
    if (place->version6) {
        put16(head + 4, (uint32_t)(length - 40));
    } else {
        put16(head + 2, (uint32_t)length);
        put16(head + 10, 0);
        put16(head + 10, 0xFFFF - sum(0, head, place->transport));
    }
    if (!place->tcp)
        put16(head + place->transport + 4, (uint32_t)(length - place->transport));
}

/* Cutting */

static bool prepare(struct cut *cut, const uint8_t *packet, size_t length, size_t size)
{
    cut->packet = packet;
    if (!place_of(packet, length, &cut->place) || size == 0 || cut->place.payload == length)
        return false;
    cut->payload = length - cut->place.payload;
    cut->size = size < cut->payload ? size : cut->payload;
    cut->count = (cut->payload + cut->size - 1) / cut->size;
    memcpy(cut->full, packet, cut->place.payload);
    memcpy(cut->rest, packet, cut->place.payload);
    set_length(cut->full, &cut->place, cut->size);
    set_length(cut->rest, &cut->place, cut->payload - (cut->count - 1) * cut->size);
    return true;
}

/* Prepares the cutting of `wanted` segments of a packet from number `from` on; false and an error if
 * there are none. The packet must stay. */
bool begin_cut(struct cut *cut, PyObject *packet, PyObject *size, PyObject *first, PyObject *count,
               size_t *from, size_t *wanted)
{
    PyObject *objects[] = {size, first, count};
    Py_ssize_t numbers[3];
    if (!PyBytes_Check(packet)) {
        PyErr_SetString(PyExc_TypeError, "a packet is bytes");
        return false;
    }
    for (int each = 0; each < 3; each++) {
        numbers[each] = PyLong_AsSsize_t(objects[each]);
        if (numbers[each] == -1 && PyErr_Occurred())
            return false;
    }
    if (numbers[0] < 0 || !prepare(cut, (const uint8_t *)PyBytes_AS_STRING(packet),
                                   (size_t)PyBytes_GET_SIZE(packet), (size_t)numbers[0])) {
        PyErr_SetString(PyExc_ValueError, "not a packet that can be cut");
        return false;
    }
    *from = (size_t)numbers[1];
    *wanted = (size_t)numbers[2];
    if (numbers[1] >= 0 && numbers[2] >= 0 && *from <= cut->count && *wanted <= cut->count - *from)
        return true;
    PyErr_SetString(PyExc_IndexError, "a packet has no such segments");
    return false;
}

static size_t payload_of(const struct cut *cut, size_t index)
{
    return index == cut->count - 1 ? cut->payload - index * cut->size : cut->size;
}

size_t segment_length(const struct cut *cut, size_t index)
{
    return cut->place.payload + payload_of(cut, index);
}

void write_segment(const struct cut *cut, size_t index, uint8_t *out)
{
    const struct place *place = &cut->place;
    bool last = index == cut->count - 1;
    size_t from = index * cut->size;
    memcpy(out, last ? cut->rest : cut->full, place->payload);
    memcpy(out + place->payload, cut->packet + place->payload + from, payload_of(cut, index));
    if (!place->version6 && !(out[6] & DONT_FRAGMENT))
        put16(out + 4, get16(out + 4) + (uint32_t)index);
    if (place->tcp) {
        uint8_t *tcp = out + place->transport;
        put32(tcp + 4, get32(tcp + 4) + (uint32_t)from);
        if (!last)
            tcp[13] &= (uint8_t)~(FIN | PSH);
        if (index > 0)
            tcp[13] &= (uint8_t)~CWR;
    }
}

PyObject *kernel_cut(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    struct cut cut;
    size_t first, wanted;
    (void)module;
    if (!has_arguments(count, 4) ||
        !begin_cut(&cut, args[0], args[1], args[2], args[3], &first, &wanted))
        return NULL;
    PyObject *segments = PyList_New((Py_ssize_t)wanted);
    for (size_t at = 0; segments != NULL && at < wanted; at++) {
        Py_ssize_t length = (Py_ssize_t)segment_length(&cut, first + at);
        PyObject *made = PyBytes_FromStringAndSize(NULL, length);
        if (made == NULL) {
            Py_CLEAR(segments);
        } else {
            write_segment(&cut, first + at, (uint8_t *)PyBytes_AS_STRING(made));
            PyList_SET_ITEM(segments, (Py_ssize_t)at, made);
        }
    }
    return segments;
}

/* Devices */

/* Returns a packet's segment size, or -1 and an error. */
long segment_size(const struct classes *classes, PyObject *packet)
{
    PyObject *value = PyObject_GetAttr(packet, classes->segment_size);
    if (value == NULL)
        return -1;
    long size = PyLong_AsLong(value);
    Py_DECREF(value);
    if (size < 0 && !PyErr_Occurred())
        PyErr_SetString(PyExc_ValueError, "a segment size below zero");
    return size < 0 ? -1 : size;
}

/* Writes the device's header for a placed packet into `vnet`, and what it wants to see into `out`. */
static void show(const uint8_t *packet, size_t length, const struct place *place, long size,
                 uint8_t *vnet, uint8_t *out)
{
    uint16_t transport = (uint16_t)place->transport, checksum = place->tcp ? 16 : 6;
    uint16_t head = size ? (uint16_t)place->payload : 0, segment = (uint16_t)size;
    uint8_t rest[8];
    vnet[0] = NEEDS_CHECKSUM;
    vnet[1] = !size ? 0 : !place->tcp ? UDP_CUT : place->version6 ? TCP6 : TCP4;
    if (size && place->tcp && packet[place->transport + 13] & CWR)
        vnet[1] |= CONGESTED;
    /* these are the machine's own order */
    memcpy(vnet + 2, &head, 2);
    memcpy(vnet + 4, &segment, 2);
    memcpy(vnet + 6, &transport, 2);
    memcpy(vnet + 8, &checksum, 2);
    memcpy(out, packet, length);
    set_length(out, place, length - place->payload);
    put32(rest, (uint32_t)(length - place->transport));
    put32(rest + 4, place->tcp ? TCP : UDP);
    size_t from = place->version6 ? 8 : 12, addresses = place->version6 ? 32 : 8;
    put16(out + place->transport + checksum, sum(sum(0, out + from, addresses), rest, sizeof rest));
}

/* Returns (vnet header, packet); both new references are taken over. */
static PyObject *both(PyObject *header, PyObject *packet)
{
    PyObject *pair = header != NULL && packet != NULL ? PyTuple_New(2) : NULL;
    if (pair == NULL) {
        Py_XDECREF(header);
        Py_XDECREF(packet);
        return NULL;
    }
    PyTuple_SET_ITEM(pair, 0, header);
    PyTuple_SET_ITEM(pair, 1, packet);
    return pair;
}

PyObject *kernel_to_vnet(PyObject *module, PyObject *packet)
{
    struct classes *classes = adopted(PyModule_GetState(module));
    if (classes == NULL)
        return NULL;
    if (!PyBytes_Check(packet)) {
        PyErr_SetString(PyExc_TypeError, "a packet is bytes");
        return NULL;
    }
    struct place place;
    const uint8_t *bytes = (const uint8_t *)PyBytes_AS_STRING(packet);
    size_t length = (size_t)PyBytes_GET_SIZE(packet);
    static const char plain[VNET_SIZE];
    if (!PyObject_TypeCheck(packet, classes->unfinished) || !place_of(bytes, length, &place)) {
        Py_INCREF(packet);
        return both(PyBytes_FromStringAndSize(plain, VNET_SIZE), packet);
    }
    long size = segment_size(classes, packet);
    if (size < 0)
        return NULL;
    if (size > LONGEST_PACKET) {
        PyErr_SetString(PyExc_ValueError, "no size of a segment");
        return NULL;
    }
    PyObject *header = PyBytes_FromStringAndSize(NULL, VNET_SIZE);
    PyObject *shown = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)length);
    if (header != NULL && shown != NULL)
        show(bytes, length, &place, size, (uint8_t *)PyBytes_AS_STRING(header),
             (uint8_t *)PyBytes_AS_STRING(shown));
    return both(header, shown);
}
