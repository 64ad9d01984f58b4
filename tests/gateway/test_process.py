"""How a process that serves is set up."""

import gc
import subprocess
import sys

import pytest

from csgate.gateway import process


def test_the_collector_leaves_what_start_up_made_alone() -> None:
    before = gc.get_threshold()
    try:
        process.calm_collector()
        assert gc.get_freeze_count() > 10_000
        assert gc.get_threshold() == process.GC_THRESHOLDS
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)


def test_threads_hand_on_the_interpreter_sooner() -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.005)
    try:
        process.share_interpreter()
        assert sys.getswitchinterval() == pytest.approx(process.SWITCH_S)
    finally:
        sys.setswitchinterval(before)


def test_threads_share_a_few_heaps() -> None:
    """In a process of its own: the switch has no way back."""
    script = """
import ctypes, threading
from csgate.gateway.process import calm_allocator
assert calm_allocator()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
together, heaps = threading.Barrier(40), set()
def take():
    together.wait()
    # A heap of a thread begins at a multiple of 64 MiB.
    heaps.add(libc.malloc(100_000) >> 26)
    together.wait()
threads = [threading.Thread(target=take) for _ in range(40)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(len(heaps))
"""
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    assert int(told.stdout) <= process.MOST_ARENAS


def test_another_c_library_has_no_such_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process.ctypes, "CDLL", lambda name: object())
    assert process.calm_allocator() is False
