# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""The short way of a WebSocket message: checked, copied and unmasked in one call. The reference is in ``pure_frames``."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_FromStringAndSize, PyByteArray_Resize
from libc.stdint cimport uint8_t, uint64_t


cdef extern from "kernels/simd.h" nogil:
    ctypedef enum csgate_simd:
        pass
    csgate_simd csgate_simd_detect()

cdef extern from "kernels/unmask.h" nogil:
    unsigned csgate_unmask(csgate_simd level, uint8_t *data, uint64_t n, const uint8_t *key, unsigned phase)

cdef extern from "kernels/utf8.h" nogil:
    ctypedef struct csgate_utf8:
        uint8_t left
        uint8_t low
        uint8_t high
    uint64_t csgate_utf8_feed(csgate_utf8 *state, const uint8_t *data, uint64_t n)

cdef extern from "kernels/frame.h" nogil:
    ctypedef struct csgate_frame:
        uint64_t payload
        uint64_t length
        uint8_t opcode
    int csgate_frame_whole(const uint8_t *data, uint64_t n, uint64_t max_length, csgate_frame *frame)


cdef csgate_simd level = csgate_simd_detect()


def new_buffer(Py_ssize_t size):
    if size < 0:
        raise ValueError("a buffer cannot have a negative size")
    return PyByteArray_FromStringAndSize(NULL, size)


def grow_buffer(bytearray buffer not None, Py_ssize_t size):
    if size < len(buffer):
        raise ValueError("a buffer can only grow")
    PyByteArray_Resize(buffer, size)


def take_frame(data, Py_ssize_t start, uint64_t max_length):
    cdef Py_buffer view
    cdef csgate_frame frame
    cdef csgate_utf8 text
    cdef const uint8_t *head
    cdef uint8_t *out
    if start < 0:
        raise ValueError("a position cannot be negative")
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        if start >= view.len:
            return None
        head = <const uint8_t *>view.buf + start
        if not csgate_frame_whole(head, view.len - start, max_length, &frame):
            return None
        # Nobody else holds the new object yet, so that writing into it is sound.
        payload = PyByteArray_FromStringAndSize(<const char *>head + frame.payload, frame.length)
        out = <uint8_t *>PyByteArray_AS_STRING(payload)
        csgate_unmask(level, out, frame.length, head + frame.payload - 4, 0)
        if frame.opcode == 1:
            text.left = text.low = text.high = 0
            if csgate_utf8_feed(&text, out, frame.length) != frame.length or text.left:
                return None
        return frame.opcode, payload, frame.payload + frame.length
    finally:
        PyBuffer_Release(&view)
