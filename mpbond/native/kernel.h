/* What the files of the kernel share. Nothing here does I/O or remembers anything between calls but
 * keys; whatever it reads may have come from the network, so every length is checked before it is
 * used. mpbond.core.kernel names the Python twin of each function, which is what it must equal.
 */

#ifndef MPBOND_KERNEL_H
#define MPBOND_KERNEL_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define LONGEST_PACKET 65535

/* The wire: a datagram is a header, frames and a tag. */
#define TRANSPORT 4
#define HEADER_SIZE 10
#define TAG_SIZE 16
#define SEALING (HEADER_SIZE + TAG_SIZE)

/* A DATA frame that is alone in its datagram: type and send order, lane and sequence, the packet. */
#define DATA 0x80
#define HAS_LENGTH 0x40
#define SEGMENT 0x08
#define FIRST_PART 0x02
#define LAST_PART 0x01
#define LONE_HEAD 8
#define LANE_COUNT 1024
#define SEQUENCE_BITS 22
#define SEQUENCE_MASK ((UINT32_C(1) << SEQUENCE_BITS) - 1)
#define ORDER_MASK ((UINT32_C(1) << 24) - 1)

/* The Python classes that results are made of, handed in by `adopt`. */
struct classes {
    PyTypeObject *unfinished;
    PyTypeObject *frames;
    PyTypeObject *data_frame;
    PyTypeObject *lone_run;
    PyTypeObject *arrival;
    PyObject *wire_error;
    PyObject *segment_size; /* the attribute's name */
};

struct classes *adopted(struct classes *classes); /* NULL and an error before `adopt` */

/* module.c: results */
PyObject *tuple_of(PyTypeObject *type, Py_ssize_t count, PyObject **members);
PyObject *new_unfinished(const struct classes *classes, size_t bytes);
bool append(PyObject *list, PyObject *item);

/* aead.c: one key, one datagram */
struct aead {
    PyObject_HEAD
    EVP_CIPHER_CTX *seal;
    EVP_CIPHER_CTX *open;
};

extern PyType_Spec aead_spec;

PyObject *crypto_error(void);
bool seal_one(EVP_CIPHER_CTX *context, uint8_t *at, size_t size, uint8_t path_id, uint32_t index,
              uint64_t number);
int open_one(EVP_CIPHER_CTX *context, const uint8_t *at, size_t length, uint8_t path_id,
             uint64_t number, uint8_t *out);
bool has_arguments(Py_ssize_t count, Py_ssize_t wanted);
bool number_from(PyObject *object, uint64_t most, uint64_t *number);
bool take_frames(PyObject *frames, uint8_t *to, size_t room, size_t *total);
bool copy_frames(PyObject *frames, uint8_t *to, size_t size);

/* runs.c: many datagrams in one buffer */
PyObject *aead_seal_run(struct aead *self, PyObject *const *args, Py_ssize_t count);
PyObject *aead_seal_train(struct aead *self, PyObject *const *args, Py_ssize_t count);
PyObject *aead_open_run(struct aead *self, PyObject *const *args, Py_ssize_t count);

/* segments.c */
#define FIN 0x01
#define PSH 0x08
#define ACK 0x10
#define ECE 0x40
#define CWR 0x80
#define DONT_FRAGMENT 0x40
#define LONGEST_HEAD 120 /* of IPv4 and TCP with all options: 60 each */

struct place {
    bool version6;
    bool tcp;
    size_t transport;
    size_t payload;
};

struct cut {
    const uint8_t *packet;
    struct place place;
    size_t size;    /* of a segment's payload */
    size_t payload; /* of the whole */
    size_t count;
    uint8_t full[LONGEST_HEAD]; /* the head with a full segment's length */
    uint8_t rest[LONGEST_HEAD]; /* and with the last one's */
};

bool place_of(const uint8_t *packet, size_t size, struct place *place);
long segment_size(const struct classes *classes, PyObject *packet);
bool begin_cut(struct cut *cut, PyObject *packet, PyObject *size, PyObject *first, PyObject *count,
               size_t *from, size_t *wanted);
size_t segment_length(const struct cut *cut, size_t index);
void write_segment(const struct cut *cut, size_t index, uint8_t *out);

PyObject *kernel_cut(PyObject *module, PyObject *const *args, Py_ssize_t count);
PyObject *kernel_to_vnet(PyObject *module, PyObject *packet);

/* join.c */
PyObject *kernel_join(PyObject *module, PyObject *packets);

/* frames.c */
PyObject *kernel_parse_frames(PyObject *module, PyObject *payload);

static inline uint16_t get16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static inline uint32_t get32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static inline void put16(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static inline void put32(uint8_t *at, uint32_t value)
{
    put16(at, value >> 16);
    put16(at + 2, value & 0xFFFF);
}

static inline void put64(uint8_t *at, uint64_t value)
{
    put32(at, (uint32_t)(value >> 32));
    put32(at + 4, (uint32_t)value);
}

#endif
