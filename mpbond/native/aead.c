/* Sealing and opening of datagrams: libcrypto's AEADs over header and frames (mpbond.core.aead).
 *
 *     header   type u8 = 4, path id u8, receiver index u32, low 32 bits of the packet number
 *     nonce    3 zero bytes, path id, 64-bit packet number
 *
 * Each object keeps one context for each direction with its key expanded; a datagram sets the nonce
 * only. A plaintext is copied behind its header once and enciphered in place.
 */

#include "kernel.h"

#include <openssl/err.h>

#define NONCE_SIZE 12
#define KEY_SIZE 32

PyObject *crypto_error(void)
{
    char text[256] = "no reason given";
    unsigned long code = ERR_get_error();
    if (code)
        ERR_error_string_n(code, text, sizeof text);
    ERR_clear_error();
    PyErr_Format(PyExc_RuntimeError, "libcrypto: %s", text);
    return NULL;
}

/* The making of an object */

static void aead_dealloc(struct aead *self)
{
    PyTypeObject *type = Py_TYPE(self);
    EVP_CIPHER_CTX_free(self->seal); /* which wipes the keys */
    EVP_CIPHER_CTX_free(self->open);
    type->tp_free((PyObject *)self);
    Py_DECREF(type);
}

static PyObject *aead_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"name", "key", NULL};
    const char *name;
    Py_buffer key;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "sy*:Aead", names, &name, &key))
        return NULL;
    const EVP_CIPHER *cipher = NULL;
    struct aead *self = NULL;
    if (!strcmp(name, "AES-256-GCM"))
        cipher = EVP_aes_256_gcm();
    else if (!strcmp(name, "ChaCha20-Poly1305"))
        cipher = EVP_chacha20_poly1305();
    if (cipher == NULL)
        PyErr_Format(PyExc_KeyError, "%s", name);
    else if (key.len != KEY_SIZE)
        PyErr_SetString(PyExc_ValueError, "a key has 32 bytes");
    else
        self = (struct aead *)type->tp_alloc(type, 0);
    if (self != NULL) {
        self->seal = EVP_CIPHER_CTX_new();
        self->open = EVP_CIPHER_CTX_new();
        if (self->seal == NULL || self->open == NULL ||
            EVP_EncryptInit_ex(self->seal, cipher, NULL, key.buf, NULL) != 1 ||
            EVP_DecryptInit_ex(self->open, cipher, NULL, key.buf, NULL) != 1) {
            Py_CLEAR(self);
            crypto_error();
        }
    }
    PyBuffer_Release(&key);
    return (PyObject *)self;
}

/* One datagram */

static void write_nonce(uint8_t *nonce, uint8_t path_id, uint64_t number)
{
    memset(nonce, 0, 3);
    nonce[3] = path_id;
    put64(nonce + 4, number);
}

/* Seals `size` bytes of plaintext that stand at `at` + HEADER_SIZE; a tag follows them. */
bool seal_one(EVP_CIPHER_CTX *context, uint8_t *at, size_t size, uint8_t path_id, uint32_t index,
              uint64_t number)
{
    uint8_t nonce[NONCE_SIZE];
    uint8_t *frames = at + HEADER_SIZE;
    int written;
    write_nonce(nonce, path_id, number);
    at[0] = TRANSPORT;
    at[1] = path_id;
    put32(at + 2, index);
    put32(at + 6, (uint32_t)number);
    return EVP_EncryptInit_ex(context, NULL, NULL, NULL, nonce) == 1 &&
           EVP_EncryptUpdate(context, NULL, &written, at, HEADER_SIZE) == 1 &&
           (size == 0 || EVP_EncryptUpdate(context, frames, &written, frames, (int)size) == 1) &&
           EVP_EncryptFinal_ex(context, frames + size, &written) == 1 &&
           EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, TAG_SIZE, frames + size) == 1;
}

/* Opens a datagram of at least SEALING bytes into `out`, which has room for its frames.
 *
 * Returns 1, or 0 if it is not authentic: then nothing in `out` counts. -1 says that something else
 * failed, and sets an error. */
int open_one(EVP_CIPHER_CTX *context, const uint8_t *at, size_t length, uint8_t path_id,
             uint64_t number, uint8_t *out)
{
    uint8_t nonce[NONCE_SIZE], tag[TAG_SIZE];
    int written;
    size_t size = length - SEALING;
    write_nonce(nonce, path_id, number);
    memcpy(tag, at + length - TAG_SIZE, TAG_SIZE);
    if (EVP_DecryptInit_ex(context, NULL, NULL, NULL, nonce) != 1 ||
        EVP_DecryptUpdate(context, NULL, &written, at, HEADER_SIZE) != 1 ||
        (size > 0 &&
         EVP_DecryptUpdate(context, out, &written, at + HEADER_SIZE, (int)size) != 1) ||
        EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, TAG_SIZE, tag) != 1) {
        crypto_error();
        return -1;
    }
    if (EVP_DecryptFinal_ex(context, tag, &written) == 1)
        return 1;
    ERR_clear_error();
    return 0;
}

/* What is handed in */

bool has_arguments(Py_ssize_t count, Py_ssize_t wanted)
{
    if (count == wanted)
        return true;
    PyErr_Format(PyExc_TypeError, "%zd arguments instead of %zd", count, wanted);
    return false;
}

bool number_from(PyObject *object, uint64_t most, uint64_t *number)
{
    *number = PyLong_AsUnsignedLongLong(object);
    if (*number == UINT64_MAX && PyErr_Occurred())
        return false;
    if (*number <= most)
        return true;
    PyErr_SetString(PyExc_OverflowError, "a number does not fit its field");
    return false;
}

/* Adds the length of one buffer to `total`, or copies it to `to`, where `room` bytes are left. */
static bool take_buffer(PyObject *object, uint8_t *to, size_t room, size_t *total)
{
    Py_buffer view = {.obj = NULL};
    const void *bytes;
    size_t length;
    if (PyBytes_Check(object)) {
        bytes = PyBytes_AS_STRING(object);
        length = (size_t)PyBytes_GET_SIZE(object);
    } else {
        if (PyObject_GetBuffer(object, &view, PyBUF_SIMPLE) < 0)
            return false;
        bytes = view.buf;
        length = (size_t)view.len;
    }
    bool good = length <= INT_MAX - SEALING && *total <= INT_MAX - SEALING - length;
    if (!good)
        PyErr_SetString(PyExc_OverflowError, "too much for one datagram");
    if (good && to != NULL) {
        good = length <= room - *total;
        if (good)
            memcpy(to + *total, bytes, length);
        else
            PyErr_SetString(PyExc_RuntimeError, "a buffer grew while it was read");
    }
    *total += length;
    if (view.obj != NULL)
        PyBuffer_Release(&view);
    return good;
}

/* The same for frames: a buffer, or a list or tuple of them. */
bool take_frames(PyObject *frames, uint8_t *to, size_t room, size_t *total)
{
    *total = 0;
    if (!PyList_Check(frames) && !PyTuple_Check(frames))
        return take_buffer(frames, to, room, total);
    for (Py_ssize_t at = 0; at < PySequence_Fast_GET_SIZE(frames); at++) {
        /* kept, because another object's buffer may run code that changes the list */
        PyObject *part = PySequence_Fast_GET_ITEM(frames, at);
        Py_INCREF(part);
        bool good = take_buffer(part, to, room, total);
        Py_DECREF(part);
        if (!good)
            return false;
    }
    return true;
}

/* Copies frames that were measured as `size` bytes. */
bool copy_frames(PyObject *frames, uint8_t *to, size_t size)
{
    size_t copied;
    if (!take_frames(frames, to, size, &copied))
        return false;
    if (copied == size)
        return true;
    PyErr_SetString(PyExc_RuntimeError, "a buffer shrank while it was read");
    return false;
}

/* Returns a tuple's three members; a new reference to the tuple is in `item`. */
static PyObject **triple(PyObject *batch, Py_ssize_t at, PyObject **item)
{
    *item = PySequence_Fast_GET_ITEM(batch, at);
    if (!PyTuple_Check(*item) || PyTuple_GET_SIZE(*item) != 3) {
        PyErr_SetString(PyExc_TypeError, "a batch is of (path id, number, bytes)");
        return NULL;
    }
    Py_INCREF(*item);
    return &PyTuple_GET_ITEM(*item, 0);
}

/* Batches */

static PyObject *sealed(struct aead *self, uint32_t index, PyObject **item)
{
    uint64_t path_id, number;
    size_t size;
    if (!number_from(item[0], UINT8_MAX, &path_id) ||
        !number_from(item[1], UINT64_MAX, &number) || !take_frames(item[2], NULL, 0, &size))
        return NULL;
    PyObject *datagram = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(size + SEALING));
    if (datagram == NULL)
        return NULL;
    uint8_t *at = (uint8_t *)PyBytes_AS_STRING(datagram);
    if (!copy_frames(item[2], at + HEADER_SIZE, size)) {
        Py_DECREF(datagram);
        return NULL;
    }
    if (!seal_one(self->seal, at, size, (uint8_t)path_id, index, number)) {
        Py_DECREF(datagram);
        return crypto_error();
    }
    return datagram;
}

static PyObject *opened_buffer(struct aead *self, const uint8_t *datagram, size_t length,
                               uint8_t path_id, uint64_t number)
{
    if (length < SEALING || length > INT_MAX)
        Py_RETURN_NONE;
    PyObject *frames = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(length - SEALING));
    if (frames == NULL)
        return NULL;
    int authentic = open_one(self->open, datagram, length, path_id, number,
                             (uint8_t *)PyBytes_AS_STRING(frames));
    if (authentic == 1)
        return frames;
    Py_DECREF(frames);
    if (authentic < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *opened(struct aead *self, uint32_t unused, PyObject **item)
{
    uint64_t path_id, number;
    Py_buffer datagram;
    (void)unused;
    if (!number_from(item[0], UINT8_MAX, &path_id) ||
        !number_from(item[1], UINT64_MAX, &number) ||
        PyObject_GetBuffer(item[2], &datagram, PyBUF_SIMPLE) < 0)
        return NULL;
    PyObject *frames =
        opened_buffer(self, datagram.buf, (size_t)datagram.len, (uint8_t)path_id, number);
    PyBuffer_Release(&datagram);
    return frames;
}

/* Returns a list with what `each` makes of every member of a batch. */
static PyObject *over(struct aead *self, uint32_t index, PyObject *batch,
                      PyObject *(*each)(struct aead *, uint32_t, PyObject **))
{
    PyObject *fast = PySequence_Fast(batch, "a batch is a list");
    if (fast == NULL)
        return NULL;
    PyObject *results = PyList_New(0);
    for (Py_ssize_t at = 0; results != NULL && at < PySequence_Fast_GET_SIZE(fast); at++) {
        PyObject *item, *result = NULL, **members = triple(fast, at, &item);
        if (members != NULL) {
            result = each(self, index, members);
            Py_DECREF(item);
        }
        if (result == NULL || PyList_Append(results, result) < 0)
            Py_CLEAR(results);
        Py_XDECREF(result);
    }
    Py_DECREF(fast);
    return results;
}

static PyObject *aead_seal(struct aead *self, PyObject *const *args, Py_ssize_t count)
{
    uint64_t index;
    if (!has_arguments(count, 2) || !number_from(args[0], UINT32_MAX, &index))
        return NULL;
    return over(self, (uint32_t)index, args[1], sealed);
}

static PyObject *aead_open(struct aead *self, PyObject *batch)
{
    return over(self, 0, batch, opened);
}

static PyMethodDef methods[] = {
    {"seal", (PyCFunction)(void (*)(void))aead_seal, METH_FASTCALL, NULL},
    {"seal_run", (PyCFunction)(void (*)(void))aead_seal_run, METH_FASTCALL, NULL},
    {"seal_train", (PyCFunction)(void (*)(void))aead_seal_train, METH_FASTCALL, NULL},
    {"open", (PyCFunction)aead_open, METH_O, NULL},
    {"open_run", (PyCFunction)(void (*)(void))aead_open_run, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_new, aead_new},
    {Py_tp_dealloc, aead_dealloc},
    {Py_tp_methods, methods},
    {Py_tp_doc, "One key of an AEAD; see mpbond.core.aead."},
    {0, NULL},
};

PyType_Spec aead_spec = {
    .name = "mpbond.native._kernel.Aead",
    .basicsize = sizeof(struct aead),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = slots,
};
