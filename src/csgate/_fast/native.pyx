# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""The native core: checks arguments, takes buffers, drops the GIL, calls the C kernels.

Buffers belong to the caller and are borrowed for the length of one call. The pure reference of every function is in
``csgate._fast.pure``; what each one does is written there and in ``native.pyi``.
"""

from cpython.buffer cimport (
    PyBUF_C_CONTIGUOUS,
    PyBUF_FORMAT,
    PyBUF_SIMPLE,
    PyBUF_WRITABLE,
    PyBuffer_Release,
    PyObject_GetBuffer,
)
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.math cimport rint
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t, uintptr_t
from libc.string cimport memcpy, strcmp

from csgate._fast.errors import Base64Error
from csgate._fast.placement import MODES


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

cdef extern from "kernels/quote.h" nogil:
    int csgate_long_string(
        csgate_simd level, const uint8_t *data, uint64_t n, uint64_t least, uint64_t *begin, uint64_t *end)

cdef extern from "kernels/prepare.h" nogil:
    ctypedef enum csgate_filter:
        CSGATE_AREA
        CSGATE_BILINEAR
    ctypedef enum csgate_dtype:
        CSGATE_FLOAT32
        CSGATE_FLOAT16
        CSGATE_UINT8
    ctypedef enum csgate_layout:
        CSGATE_NCHW
        CSGATE_NHWC
    ctypedef struct csgate_tensor:
        void *data
        csgate_dtype dtype
        csgate_layout layout
        uint32_t width
        uint32_t height
        double mul[3]
        double add[3]
    ctypedef struct csgate_picture:
        const uint8_t *pixels
        uint32_t width
        uint32_t height
        uint32_t channels
        int alpha
        csgate_filter filter
        double box[4]
        uint32_t window[4]
        uint8_t fill[3]
        csgate_tensor tensor
    uint64_t csgate_prepare_scratch(csgate_simd level, csgate_picture *picture)
    void csgate_prepare(csgate_simd level, const csgate_picture *picture, void *scratch)

# The Arrow C data interface: https://arrow.apache.org/docs/format/CDataInterface.html
cdef extern from "kernels/arrow.h" nogil:
    ctypedef struct csgate_arrow_schema:
        const char *format
        int64_t n_children
        csgate_arrow_schema **children
    ctypedef struct csgate_arrow_array:
        int64_t length
        int64_t offset
        int64_t n_children
        const void **buffers
        csgate_arrow_array **children


# Below this a kernel is done sooner (a few microseconds) than the GIL is dropped and, under contention, won back.
cdef enum:
    GIL_FREE_BYTES = 131072
    GIL_FREE_PIXELS = 65536
    MAX_SIDE = 1 << 20
    MAX_TOP = 1000

_LEVELS = {"scalar": CSGATE_SCALAR, "ssse3": CSGATE_SSSE3, "avx2": CSGATE_AVX2, "avx512": CSGATE_AVX512,
           "neon": CSGATE_NEON}

_FILTERS = {"area": CSGATE_AREA, "bilinear": CSGATE_BILINEAR}
_LAYOUTS = {"NCHW": CSGATE_NCHW, "NHWC": CSGATE_NHWC}
_DTYPES = {b"f": CSGATE_FLOAT32, b"e": CSGATE_FLOAT16, b"B": CSGATE_UINT8}

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


def long_string(data, Py_ssize_t least):
    cdef Py_buffer view
    cdef uint64_t begin = 0
    cdef uint64_t end = 0
    borrow(data, &view, PyBUF_SIMPLE)
    # Under the GIL, as bytes.find: a megabyte takes 20 microseconds.
    found = csgate_long_string(level, <const uint8_t *>view.buf, view.len, max(least, 0), &begin, &end)
    PyBuffer_Release(&view)
    return (begin, end) if found else None


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


cdef int describe_source(csgate_picture *picture, Py_buffer *source, bint alpha) except -1:
    if source.ndim != 3 or source.format is NULL or source.format[0] != b"B" or source.format[1] != 0:
        raise ValueError("pixels are uint8[height, width, 3 or 4]")
    if source.shape[2] not in (3, 4) or not 0 < source.shape[0] <= MAX_SIDE or not 0 < source.shape[1] <= MAX_SIDE:
        raise ValueError(f"pixels are uint8[height, width, 3 or 4] with sides of 1 to {MAX_SIDE}")
    picture.pixels = <const uint8_t *>source.buf
    picture.height = source.shape[0]
    picture.width = source.shape[1]
    picture.channels = source.shape[2]
    picture.alpha = alpha and picture.channels == 4
    return 0


cdef int describe_tensor(csgate_tensor *tensor, Py_buffer *row, str layout, mean, std, double scale) except -1:
    cdef bytes format = row.format if row.format is not NULL else b"B"
    if format not in _DTYPES:
        raise ValueError("a row is float32, float16 or uint8")
    if layout not in _LAYOUTS:
        raise ValueError(f"layout is {layout!r}; it may be NCHW or NHWC")
    tensor.data = row.buf
    tensor.dtype = _DTYPES[format]
    tensor.layout = _LAYOUTS[layout]
    cdef bint planar = tensor.layout == CSGATE_NCHW
    if row.ndim != 3 or row.shape[0 if planar else 2] != 3:
        raise ValueError(f"a row is {'[3, height, width]' if planar else '[height, width, 3]'} for {layout}")
    cdef Py_ssize_t height = row.shape[1 if planar else 0]
    cdef Py_ssize_t width = row.shape[2 if planar else 1]
    if not 0 < height <= MAX_SIDE or not 0 < width <= MAX_SIDE:
        raise ValueError(f"a row has sides of 1 to {MAX_SIDE}")
    tensor.height = height
    tensor.width = width
    cdef double m, s
    cdef int c
    if len(mean) != 3 or len(std) != 3:
        raise ValueError("mean and std have three values")
    for c in range(3):
        m = mean[c]
        s = std[c]
        if s == 0.0:
            raise ValueError("std has a zero")
        if tensor.dtype == CSGATE_UINT8 and (m != 0.0 or s != 1.0):
            raise ValueError("a uint8 row takes levels; mean and std are for floats")
        tensor.mul[c] = scale / s
        tensor.add[c] = -m / s
    return 0


cdef int place_picture(csgate_picture *picture, str mode) except -1:
    """What ``placement.place`` says, in the same arithmetic."""
    cdef int64_t width = picture.width, height = picture.height
    cdef int64_t into_width = picture.tensor.width, into_height = picture.tensor.height
    cdef bint wider = width * into_height > height * into_width
    cdef bint alike = width * into_height == height * into_width
    cdef double ratio, shown, left = 0.0, upper = 0.0, right = width, lower = height
    cdef int64_t side
    picture.window[0] = picture.window[1] = 0
    picture.window[2] = into_width
    picture.window[3] = into_height
    if mode == "letterbox":
        if wider:
            side = max(1, <int64_t>rint(<double>height / <double>width * into_width))
            picture.window[1] = <uint32_t>rint((into_height - side) * 0.5)
            picture.window[3] = <uint32_t>side
        elif not alike:
            side = max(1, <int64_t>rint(<double>width / <double>height * into_height))
            picture.window[0] = <uint32_t>rint((into_width - side) * 0.5)
            picture.window[2] = <uint32_t>side
    elif mode == "crop":
        ratio = <double>into_width / <double>into_height
        if wider:
            shown = ratio * height
            left = (width - shown) * 0.5
            right = left + shown
        elif not alike:
            shown = width / ratio
            upper = (height - shown) * 0.5
            lower = upper + shown
        # In single precision, as Pillow keeps a box.
        left, upper = <float>left, <float>upper
        right, lower = min(<double><float>right, <double>width), min(<double><float>lower, <double>height)
    elif mode != "stretch":
        raise ValueError(f"mode is {mode!r}; it may be {', '.join(MODES)}")
    picture.box[0], picture.box[1], picture.box[2], picture.box[3] = left, upper, right, lower
    return 0


def place(uint32_t width, uint32_t height, uint32_t into_width, uint32_t into_height, str mode):
    cdef csgate_picture picture
    picture.width, picture.height = width, height
    picture.tensor.width, picture.tensor.height = into_width, into_height
    place_picture(&picture, mode)
    return tuple([edge for edge in picture.box]), tuple([side for side in picture.window])


cdef int prepare_row(csgate_picture *picture) except -1:
    cdef uint64_t size = csgate_prepare_scratch(level, picture)
    cdef void *scratch = PyMem_RawMalloc(size + 64)
    if scratch is NULL:
        raise MemoryError
    cdef void *aligned = <void *>((<uintptr_t>scratch + 63) & ~<uintptr_t>63)
    if <uint64_t>picture.width * picture.height >= GIL_FREE_PIXELS:
        with nogil:
            csgate_prepare(level, picture, aligned)
    else:
        csgate_prepare(level, picture, aligned)
    PyMem_RawFree(scratch)
    return 0


def prepare(src, dst, *, str layout="NCHW", str mode="crop", str filter="bilinear", mean=(0.0, 0.0, 0.0),
            std=(1.0, 1.0, 1.0), double scale=1 / 255, fill=(0, 0, 0), bint alpha=True):
    cdef csgate_picture picture
    cdef Py_buffer source
    cdef Py_buffer row
    cdef int i
    if filter not in _FILTERS:
        raise ValueError(f"filter is {filter!r}; it may be area or bilinear")
    picture.filter = _FILTERS[filter]
    if len(fill) != 3:
        raise ValueError("fill has three values")
    for i in range(3):
        if not 0 <= fill[i] <= 255:
            raise ValueError("fill is three values of 0 to 255")
        picture.fill[i] = fill[i]
    borrow(src, &source, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT)
    try:
        describe_source(&picture, &source, alpha)
        borrow(dst, &row, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | PyBUF_WRITABLE)
        try:
            describe_tensor(&picture.tensor, &row, layout, mean, std, scale)
            place_picture(&picture, mode)
            prepare_row(&picture)
        finally:
            PyBuffer_Release(&row)
    finally:
        PyBuffer_Release(&source)


def top_k(rows, Py_ssize_t k):
    cdef const float[:, ::1] scores = rows
    cdef Py_ssize_t width = scores.shape[1]
    cdef Py_ssize_t row, column, place, kept
    cdef Py_ssize_t[MAX_TOP] best
    cdef float score
    if not 0 < k <= MAX_TOP:
        raise ValueError(f"the number of best must be 1 to {MAX_TOP}, not {k}")
    k = min(k, width)
    found = []
    for row in range(scores.shape[0]):
        kept = 0
        for column in range(width):
            score = scores[row, column]
            if score != score or (kept == k and not score > scores[row, best[k - 1]]):
                continue
            place = kept if kept < k else k - 1
            kept = place + 1
            while place > 0 and score > scores[row, best[place - 1]]:
                best[place] = best[place - 1]
                place -= 1
            best[place] = column
        found.append(tuple([(best[place], <double>scores[row, best[place]]) for place in range(kept)]))
    return found


cdef class ArrowPixels:
    """uint8[height, width, 4], read-only: the memory of an Arrow array of pixels of four bytes, which it keeps alive."""

    cdef object schema
    cdef object array
    cdef const void *data
    cdef Py_ssize_t shape[3]
    cdef Py_ssize_t strides[3]

    def __cinit__(self, schema, array, Py_ssize_t height, Py_ssize_t width):
        # The capsules' destructors release what they hold: keeping them is keeping the memory.
        self.schema = schema
        self.array = array
        cdef csgate_arrow_schema *kind = <csgate_arrow_schema *>PyCapsule_GetPointer(schema, "arrow_schema")
        cdef csgate_arrow_array *pixels = <csgate_arrow_array *>PyCapsule_GetPointer(array, "arrow_array")
        if strcmp(kind.format, "+w:4") != 0 or kind.n_children != 1 or strcmp(kind.children[0].format, "C") != 0:
            raise ValueError("not an array of pixels of four bytes")
        if not 0 < height <= MAX_SIDE or not 0 < width <= MAX_SIDE or pixels.length != height * width:
            raise ValueError("the array does not have height * width pixels")
        if pixels.offset != 0 or pixels.n_children != 1 or pixels.children[0].offset != 0:
            raise ValueError("an array that begins behind its start")
        self.data = pixels.children[0].buffers[1]
        self.shape[0], self.shape[1], self.shape[2] = height, width, 4
        self.strides[0], self.strides[1], self.strides[2] = 4 * width, 4, 1

    def __getbuffer__(self, Py_buffer *view, int flags):
        if flags & PyBUF_WRITABLE:
            raise BufferError("the pixels are read-only")
        view.obj = self
        view.buf = <void *>self.data
        view.len = self.shape[0] * self.strides[0]
        view.itemsize = 1
        view.readonly = 1
        view.format = "B"
        view.ndim = 3
        view.shape = self.shape
        view.strides = self.strides
        view.suboffsets = NULL
        view.internal = NULL
