/* The extension module mpbond.native._kernel: its table of functions, and the classes it is handed. */

#include "kernel.h"

#include <openssl/crypto.h>

static void forget(struct classes *classes)
{
    Py_CLEAR(classes->unfinished);
    Py_CLEAR(classes->frames);
    Py_CLEAR(classes->data_frame);
    Py_CLEAR(classes->lone_run);
    Py_CLEAR(classes->arrival);
    Py_CLEAR(classes->wire_error);
}

struct classes *adopted(struct classes *classes)
{
    if (classes->unfinished != NULL)
        return classes;
    PyErr_SetString(PyExc_RuntimeError, "adopt() comes first");
    return NULL;
}

static PyObject *adopt(PyObject *module, PyObject *args)
{
    struct classes *classes = PyModule_GetState(module);
    PyTypeObject *types[5];
    PyObject *wire_error;
    if (!PyArg_ParseTuple(args, "O!O!O!O!O!O:adopt", &PyType_Type, &types[0], &PyType_Type,
                          &types[1], &PyType_Type, &types[2], &PyType_Type, &types[3],
                          &PyType_Type, &types[4], &wire_error))
        return NULL;
    bool good = PyType_IsSubtype(types[0], &PyBytes_Type) && PyExceptionClass_Check(wire_error);
    for (int each = 1; each < 5; each++)
        good = good && PyType_IsSubtype(types[each], &PyTuple_Type);
    if (!good) {
        PyErr_SetString(PyExc_TypeError, "adopt(bytes, tuple, tuple, tuple, tuple, exception)");
        return NULL;
    }
    for (int each = 0; each < 5; each++)
        Py_INCREF(types[each]);
    Py_INCREF(wire_error);
    forget(classes);
    classes->unfinished = types[0];
    classes->frames = types[1];
    classes->data_frame = types[2];
    classes->lone_run = types[3];
    classes->arrival = types[4];
    classes->wire_error = wire_error;
    Py_RETURN_NONE;
}

/* Makes a tuple of a class derived from it; takes over the members, of which some may be missing. */
PyObject *tuple_of(PyTypeObject *type, Py_ssize_t count, PyObject **members)
{
    bool whole = true;
    for (Py_ssize_t at = 0; at < count; at++)
        whole &= members[at] != NULL;
    PyObject *made = NULL;
    if (whole)
        made = type == &PyTuple_Type ? PyTuple_New(count) : type->tp_alloc(type, count);
#if PY_VERSION_HEX >= 0x030E0000
    if (made != NULL)
        ((PyTupleObject *)made)->ob_hash = -1; /* not computed yet */
#endif
    for (Py_ssize_t at = 0; at < count; at++) {
        if (made != NULL)
            PyTuple_SET_ITEM(made, at, members[at]);
        else
            Py_XDECREF(members[at]);
    }
    return made;
}

/* Returns an Unfinished with room for so many bytes. */
PyObject *new_unfinished(const struct classes *classes, size_t bytes)
{
    PyObject *made = classes->unfinished->tp_alloc(classes->unfinished, (Py_ssize_t)bytes);
    if (made != NULL) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
        ((PyBytesObject *)made)->ob_shash = -1; /* not computed yet */
#pragma GCC diagnostic pop
    }
    return made;
}

/* Appends a new reference to a list, and gives it up; false if it is none or that fails. */
bool append(PyObject *list, PyObject *item)
{
    bool good = item != NULL && PyList_Append(list, item) == 0;
    Py_XDECREF(item);
    return good;
}

static int traverse(PyObject *module, visitproc visit, void *arg)
{
    struct classes *classes = PyModule_GetState(module);
    Py_VISIT(classes->unfinished);
    Py_VISIT(classes->frames);
    Py_VISIT(classes->data_frame);
    Py_VISIT(classes->lone_run);
    Py_VISIT(classes->arrival);
    Py_VISIT(classes->wire_error);
    return 0;
}

static int clear(PyObject *module)
{
    struct classes *classes = PyModule_GetState(module);
    forget(classes);
    Py_CLEAR(classes->segment_size);
    return 0;
}

static void free_module(void *module)
{
    clear(module);
}

static int begin(PyObject *module)
{
    struct classes *classes = PyModule_GetState(module);
    classes->segment_size = PyUnicode_InternFromString("segment_size");
    if (classes->segment_size == NULL)
        return -1;
    PyObject *type = PyType_FromModuleAndSpec(module, &aead_spec, NULL);
    int done = type == NULL ? -1 : PyModule_AddObjectRef(module, "Aead", type);
    Py_XDECREF(type);
    if (done < 0)
        return -1;
    return PyModule_AddStringConstant(module, "LIBRARY", OpenSSL_version(OPENSSL_VERSION));
}

static PyMethodDef functions[] = {
    {"adopt", adopt, METH_VARARGS, "Name the classes that results are made of."},
    {"cut", (PyCFunction)(void (*)(void))kernel_cut, METH_FASTCALL, NULL},
    {"join", kernel_join, METH_O, NULL},
    {"to_vnet", kernel_to_vnet, METH_O, NULL},
    {"parse_frames", kernel_parse_frames, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, begin},
    {0, NULL},
};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "mpbond.native._kernel",
    .m_doc = "The batch functions of the packet path, compiled; see mpbond.core.kernel.",
    .m_size = sizeof(struct classes),
    .m_methods = functions,
    .m_slots = slots,
    .m_traverse = traverse,
    .m_clear = clear,
    .m_free = free_module,
};

PyMODINIT_FUNC PyInit__kernel(void)
{
    return PyModuleDef_Init(&definition);
}
