# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""Calls of a socket that never wait, the interpreter's lock kept. The reference is in ``pure_sockets``."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.exc cimport PyErr_SetFromErrno
from libc.errno cimport EAGAIN, EINTR, errno


cdef extern from *:
    """
    #include <errno.h>
    #include <sys/socket.h>
    #ifndef MSG_NOSIGNAL
    #define MSG_NOSIGNAL 0  /* where it is missing; the interpreter ignores SIGPIPE */
    #endif
    #define set_errno(number) (errno = (number))
    """
    Py_ssize_t send(int fd, const void *data, size_t size, int flags) nogil
    Py_ssize_t recv(int fd, void *data, size_t size, int flags) nogil
    void set_errno(int number)
    int MSG_DONTWAIT
    int MSG_NOSIGNAL


# Above this copying takes as long as the lock's way there and back.
cdef enum:
    GIL_FREE_BYTES = 131072


def send_now(socket, data):
    cdef int fd = socket.fileno()
    cdef Py_buffer view
    cdef Py_ssize_t done
    cdef int failed
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    if view.len >= GIL_FREE_BYTES:
        with nogil:
            done = send(fd, view.buf, view.len, MSG_DONTWAIT | MSG_NOSIGNAL)
            failed = errno
    else:
        done = send(fd, view.buf, view.len, MSG_DONTWAIT | MSG_NOSIGNAL)
        failed = errno
    PyBuffer_Release(&view)
    return finished(done, failed)


def receive_now(socket, target):
    cdef int fd = socket.fileno()
    cdef Py_buffer view
    cdef Py_ssize_t done
    cdef int failed
    PyObject_GetBuffer(target, &view, PyBUF_WRITABLE)
    if view.len >= GIL_FREE_BYTES:
        with nogil:
            done = recv(fd, view.buf, view.len, MSG_DONTWAIT)
            failed = errno
    else:
        done = recv(fd, view.buf, view.len, MSG_DONTWAIT)
        failed = errno
    PyBuffer_Release(&view)
    return finished(done, failed)


cdef object finished(Py_ssize_t done, int failed):
    if done >= 0:
        return done
    if failed == EAGAIN or failed == EINTR:
        return -1
    set_errno(failed)
    PyErr_SetFromErrno(OSError)
