"""The native core: unmasking, frames, UTF-8, JSON strings, Base64, tensors, sockets; each with a pure reference.

``CSGATE_FAST`` chooses at import: ``auto`` (the default: native where it was built, else pure), ``native`` (or fail),
``pure``. ``IMPLEMENTATION`` says which one it became, ``SIMD`` which instruction set its kernels use: ``avx512``,
``avx2``, ``ssse3``, ``neon``, ``scalar``, or ``none`` for pure. ``CSGATE_FAST_SIMD`` forces a level, for tests.
"""

import os
from typing import TYPE_CHECKING, Final

from csgate._fast.data_url import strip_data_url
from csgate._fast.errors import Base64Error
from csgate._fast.pixels import borrow_pixels

_wanted = os.environ.get("CSGATE_FAST", "auto")
if _wanted not in ("auto", "native", "pure"):
    raise ImportError(f"CSGATE_FAST is {_wanted!r}; it may be auto, native or pure")

_implementation = "pure"
_simd = "none"
if TYPE_CHECKING:
    from csgate._fast.pure import (
        Utf8Validator,
        base64_bytes,
        base64_decode,
        base64_decoded_size,
        long_string,
        unmask,
        utf8_valid,
    )
    from csgate._fast.pure_best import top_k
    from csgate._fast.pure_frames import grow_buffer, new_buffer, take_frame
    from csgate._fast.pure_prepare import prepare
    from csgate._fast.pure_sockets import receive_now, send_now
else:
    if _wanted != "pure":
        try:
            from csgate._fast import frames as _frames
            from csgate._fast import native as _chosen
        except ImportError as absent:
            if _wanted == "native":
                raise ImportError(
                    "CSGATE_FAST=native, but the native core was not built; install csgate where a C compiler is"
                ) from absent
        else:
            _implementation = "native"
            try:
                from csgate._fast import sockets as _sockets
            except ImportError:  # no POSIX sockets
                from csgate._fast import pure_sockets as _sockets
            if "CSGATE_FAST_SIMD" in os.environ:
                _chosen.select_simd(os.environ["CSGATE_FAST_SIMD"])
            _simd = _chosen.simd()
    if _implementation == "pure":
        from csgate._fast import pure as _chosen
        from csgate._fast import pure_frames as _frames
        from csgate._fast import pure_sockets as _sockets
    Utf8Validator = _chosen.Utf8Validator
    base64_bytes = _chosen.base64_bytes
    base64_decode = _chosen.base64_decode
    base64_decoded_size = _chosen.base64_decoded_size
    long_string = _chosen.long_string
    grow_buffer = _frames.grow_buffer
    new_buffer = _frames.new_buffer
    if _implementation == "pure":
        from csgate._fast.pure_best import top_k
        from csgate._fast.pure_prepare import prepare
    else:
        prepare = _chosen.prepare
        top_k = _chosen.top_k
    receive_now = _sockets.receive_now
    send_now = _sockets.send_now
    take_frame = _frames.take_frame
    unmask = _chosen.unmask
    utf8_valid = _chosen.utf8_valid

IMPLEMENTATION: Final[str] = _implementation
SIMD: Final[str] = _simd

__all__ = [
    "IMPLEMENTATION",
    "SIMD",
    "Base64Error",
    "Utf8Validator",
    "base64_bytes",
    "base64_decode",
    "base64_decoded_size",
    "borrow_pixels",
    "grow_buffer",
    "long_string",
    "new_buffer",
    "prepare",
    "receive_now",
    "send_now",
    "strip_data_url",
    "take_frame",
    "top_k",
    "unmask",
    "utf8_valid",
]
