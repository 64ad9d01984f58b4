# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""The native core: checks arguments, takes buffers, drops the GIL, calls the C kernels.

Buffers belong to the caller and are borrowed for the length of one call. The pure reference of every function is in
``csgate._fast.pure``; what each one does is written there and in ``native.pyi``.
"""

from cpython.buffer cimport (
    PyBUF_SIMPLE,
    PyBUF_WRITABLE,
    PyBuffer_Release,
    PyObject_GetBuffer,
)
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy

from csgate._fast.errors import Base64Error


cdef extern from "kernels/simd.h" nogil:
    ctypedef enum csgate_simd:
        CSGATE_SCALAR
        CSGATE_SSSE3
        CSGATE_AVX2
        CSGATE_AVX512
        CSGATE_NEON
    csgate_simd csgate_simd_detect()
    int csgate_simd_supported(csgate_simd level)

cdef extern from "kernels/unmask.h" nogil:
    unsigned csgate_unmask(csgate_simd level, uint8_t *data, uint64_t n, const uint8_t *key, unsigned phase)

cdef extern from "kernels/utf8.h" nogil:
    ctypedef struct csgate_utf8:
        uint8_t left
        uint8_t low
        uint8_t high
    uint64_t csgate_utf8_feed(csgate_utf8 *state, const uint8_t *data, uint64_t n)

cdef extern from "kernels/base64.h" nogil:
    uint64_t csgate_base64_size(const uint8_t *src, uint64_t n)
    uint64_t csgate_base64_decode(csgate_simd level, const uint8_t *src, uint64_t n, uint8_t *dst, uint64_t capacity,
                                  int urlsafe)


# Below this many bytes a kernel is done sooner than the GIL is dropped and taken back under contention.
cdef enum:
    GIL_FREE_BYTES = 32768

_LEVELS = {"scalar": CSGATE_SCALAR, "ssse3": CSGATE_SSSE3, "avx2": CSGATE_AVX2, "avx512": CSGATE_AVX512,
           "neon": CSGATE_NEON}

# Resolved once at import; select_simd() exists for tests and for CSGATE_FAST_SIMD.
cdef csgate_simd level = csgate_simd_detect()


def simd():
    for name, value in _LEVELS.items():
        if value == level:
            return name
    raise AssertionError(level)


def simd_levels():
    return tuple(name for name, value in _LEVELS.items() if csgate_simd_supported(value))


def select_simd(str name):
    global level
    if name not in simd_levels():
        raise ValueError(f"no SIMD level {name!r} here; there are {', '.join(simd_levels())}")
    level = _LEVELS[name]


cdef int borrow(object source, Py_buffer *view, int flags) except -1:
    """Takes a buffer; every exporter's way of refusing (NumPy raises ValueError) becomes BufferError."""
    try:
        PyObject_GetBuffer(source, view, flags)
    except ValueError as refused:
        raise BufferError(str(refused)) from None
    return 0


def unmask(data, key, unsigned int phase=0):
    cdef Py_buffer view
    cdef uint8_t mask[4]
    cdef unsigned int after
    borrow(key, &view, PyBUF_SIMPLE)
    cdef bint right = view.len == 4
    if right:
        memcpy(mask, view.buf, 4)
    PyBuffer_Release(&view)
    if not right:
        raise ValueError("a masking key has 4 bytes")
    borrow(data, &view, PyBUF_WRITABLE)
    if view.len >= GIL_FREE_BYTES:
        with nogil:
            after = csgate_unmask(level, <uint8_t *>view.buf, view.len, mask, phase & 3)
    else:
        after = csgate_unmask(level, <uint8_t *>view.buf, view.len, mask, phase & 3)
    PyBuffer_Release(&view)
    return after


def utf8_valid(data):
    cdef csgate_utf8 state
    cdef Py_buffer view
    cdef uint64_t done
    state.left = state.low = state.high = 0
    borrow(data, &view, PyBUF_SIMPLE)
    if view.len >= GIL_FREE_BYTES:
        with nogil:
            done = csgate_utf8_feed(&state, <const uint8_t *>view.buf, view.len)
    else:
        done = csgate_utf8_feed(&state, <const uint8_t *>view.buf, view.len)
    cdef bint valid = done == <uint64_t>view.len and state.left == 0
    PyBuffer_Release(&view)
    return valid


cdef class Utf8Validator:
    cdef csgate_utf8 state
    cdef bint failed

    def __cinit__(self):
        self.reset()

    cpdef reset(self):
        self.state.left = self.state.low = self.state.high = 0
        self.failed = False

    @property
    def complete(self):
        return self.state.left == 0 and not self.failed

    def feed(self, data):
        cdef Py_buffer view
        cdef csgate_utf8 state = self.state
        cdef uint64_t done
        if self.failed:
            return False
        borrow(data, &view, PyBUF_SIMPLE)
        if view.len >= GIL_FREE_BYTES:
            with nogil:
                done = csgate_utf8_feed(&state, <const uint8_t *>view.buf, view.len)
        else:
            done = csgate_utf8_feed(&state, <const uint8_t *>view.buf, view.len)
        self.state = state
        self.failed = done != <uint64_t>view.len
        PyBuffer_Release(&view)
        return not self.failed


cdef int decode_base64(Py_buffer *text, uint8_t *dst, uint64_t capacity, bint urlsafe) except -1:
    cdef uint64_t n = text.len
    cdef uint64_t stop
    if n >= GIL_FREE_BYTES:
        with nogil:
            stop = csgate_base64_decode(level, <const uint8_t *>text.buf, n, dst, capacity, urlsafe)
    else:
        stop = csgate_base64_decode(level, <const uint8_t *>text.buf, n, dst, capacity, urlsafe)
    if stop != n:
        raise Base64Error(min(stop, n))
    return 0


def base64_decoded_size(src):
    cdef Py_buffer text
    borrow(src, &text, PyBUF_SIMPLE)
    size = csgate_base64_size(<const uint8_t *>text.buf, text.len)
    PyBuffer_Release(&text)
    return size


def base64_decode(src, dst, *, bint urlsafe=False):
    cdef Py_buffer text
    cdef Py_buffer out
    borrow(src, &text, PyBUF_SIMPLE)
    try:
        borrow(dst, &out, PyBUF_WRITABLE)
        try:
            size = csgate_base64_size(<const uint8_t *>text.buf, text.len)
            if size > <uint64_t>out.len:
                raise ValueError(f"{size} bytes do not fit into a buffer of {out.len}")
            decode_base64(&text, <uint8_t *>out.buf, out.len, urlsafe)
        finally:
            PyBuffer_Release(&out)
    finally:
        PyBuffer_Release(&text)
    return size


def base64_bytes(src, *, bint urlsafe=False):
    cdef Py_buffer text
    cdef uint64_t size
    borrow(src, &text, PyBUF_SIMPLE)
    try:
        size = csgate_base64_size(<const uint8_t *>text.buf, text.len)
        # Nobody else holds the new object yet, so that writing into it is sound.
        decoded = PyBytes_FromStringAndSize(NULL, size)
        decode_base64(&text, <uint8_t *>PyBytes_AS_STRING(decoded), size, urlsafe)
    finally:
        PyBuffer_Release(&text)
    return decoded
