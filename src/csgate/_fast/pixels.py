"""Getting at a decoded picture's pixels where the imaging library keeps them."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt


class DecodedImage(Protocol):
    """A Pillow image, of mode RGB or RGBA; Pillow itself is not imported here."""

    @property
    def mode(self) -> str: ...
    @property
    def size(self) -> tuple[int, int]: ...


def borrow_pixels(image: DecodedImage) -> npt.NDArray[np.uint8]:
    """The pixels of a loaded RGB or RGBA image, without a copy where that can be had.

    Pillow keeps both modes as four bytes a pixel and lends that memory through the Arrow interface (since 11.2) when
    it is one block, which it is up to 16 MiB. ``numpy.asarray(image)`` would take longer than resizing the picture.

    Returns:
        uint8[H, W, 4], read-only, borrowed from the image and keeping it alive; the fourth byte of an RGB image is
        padding without meaning (``prepare(…, alpha=False)``). Where there is nothing to borrow: a copy,
        uint8[H, W, 3 | 4]. Do not change the image while the pixels are used.
    """
    from csgate import _fast

    if _fast.IMPLEMENTATION == "native":
        from csgate._fast.native import ArrowPixels

        export: Any = getattr(image, "__arrow_c_array__", None)
        if export is not None:
            width, height = image.size
            try:
                schema, array = export()
                return np.asarray(ArrowPixels(schema, array, height, width))
            except ValueError:  # Pillow's when the memory is several blocks, ours when it is laid out otherwise
                pass
    return np.asarray(image)
