"""How a process that serves is set up: the collector of cycles, the interpreter's lock, the C library's allocator."""

import ctypes
import gc
import os
import sys
from typing import Final

GC_THRESHOLDS: Final = (1_500, 2, 1_500)
"""A look at the youngest 1,500 objects takes 0.3 ms; at those of two such looks, one; freeing them, a few; at all, some
tens."""
MOST_ARENAS: Final = 4
SWITCH_S: Final = 0.000_05
_M_ARENA_MAX: Final = -8  # malloc.h of the GNU C library


def calm_collector() -> None:
    """Tunes the garbage collector of a process that serves.

    What start-up made stays for good and need not be visited again. The rest is freed by reference counts, so all of it
    is looked through for cycles some seventy times less often than by default; what is young, in small steps, since the
    event loop stands still meanwhile.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def share_interpreter() -> None:
    """Has threads hand on the interpreter's lock sooner.

    A thread that works in Python keeps it for up to this long while others wait for it, by default 5 ms. The threads
    of the models need it for some microseconds between two pictures, and then the event loop again, whose processor
    stands idle meanwhile: with less of a wait more of both is done. Below 20 microseconds it gains nothing more.
    """
    sys.setswitchinterval(SWITCH_S)


def calm_allocator() -> bool:
    """Has threads share a few heaps. To be called before there are any; False where the C library has no such switch.

    The GNU C library gives each thread a heap of its own, up to eight a core, and each keeps what was freed in it. With
    pictures of some megabytes going through forty threads that is several times what is in use.
    """
    try:
        return bool(ctypes.CDLL(None).mallopt(_M_ARENA_MAX, min(MOST_ARENAS, max(2, os.cpu_count() or 2))))
    except (AttributeError, OSError):  # another C library
        return False
