"""Buffers bound to a session: host arrays for inputs and outputs, allocated once at the largest batch, and one ONNX
Runtime IO binding for each (batch bucket, text length).

On the CPU a binding points straight at the arrays. On CUDA it points at device tensors; a run copies the host rows over
(from page-locked memory where the driver gives it), and outputs come back into host arrays.
"""

import ctypes
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from math import prod
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_GRAPH_IDS: Final = count(1)
"""A graph belongs to the addresses it was captured with, so no two bindings of a process share one."""

VARIABLE: Final = -1
"""In a row's shape: the padded text length."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """An input or output of a graph: ``row`` is its shape without the batch dimension."""

    name: str
    dtype: np.dtype[Any]
    row: tuple[int, ...]

    def shape(self, rows: int, length: int) -> tuple[int, ...]:
        return (rows, *(length if size == VARIABLE else size for size in self.row))


@dataclass(frozen=True, slots=True)
class GraphSpec:
    """What a session is fed: batch ``buckets``, and ``lengths`` (padded text lengths; ``(0,)`` without text)."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    buckets: tuple[int, ...]
    lengths: tuple[int, ...]


class Bindings(Protocol):
    """One worker's buffers. Not for use by two threads at once."""

    @property
    def outputs(self) -> Mapping[str, Array]:
        """Host arrays ``[largest bucket, ...]``; the last run's rows."""

    def inputs(self, length: int = 0) -> Mapping[str, Array]:
        """Host arrays ``[largest bucket, ...]`` to write rows into, for a padded text ``length``."""

    def run(self, bucket: int, length: int = 0) -> None:
        """Runs the first ``bucket`` rows."""


class HostBindings:
    """Buffers of a CPU session: bound where they lie, nothing is copied."""

    def __init__(self, session: Any, spec: GraphSpec) -> None:
        self._session = session
        most = spec.buckets[-1]
        self._inputs = {length: _arrays(spec.inputs, most, length) for length in spec.lengths}
        self.outputs: dict[str, Array] = _arrays(spec.outputs, most, 0)
        self._bindings: dict[tuple[int, int], Any] = {}
        for length in spec.lengths:
            for bucket in spec.buckets:
                binding = session.io_binding()
                for tensor in spec.inputs:
                    _point(binding.bind_input, tensor, self._inputs[length][tensor.name], bucket, length)
                for tensor in spec.outputs:
                    _point(binding.bind_output, tensor, self.outputs[tensor.name], bucket, 0)
                self._bindings[bucket, length] = binding

    def inputs(self, length: int = 0) -> dict[str, Array]:
        return self._inputs[length]

    def run(self, bucket: int, length: int = 0) -> None:
        self._session.run_with_iobinding(self._bindings[bucket, length])


@dataclass(frozen=True, slots=True)
class _DeviceRun:
    """One binding: tensors of the device with the host rows that go in and come out."""

    binding: Any
    inputs: list[tuple[Any, Array]]
    outputs: list[tuple[Any, Array]]
    options: Any


class DeviceBindings:
    """Buffers of a session with memory of its own: tensors on the device, and host arrays that mirror them."""

    def __init__(
        self,
        runtime: Any,
        session: Any,
        spec: GraphSpec,
        device: str,
        device_id: int,
        pin: Callable[[Array], bool] | None = None,
        graphs: bool = False,
    ) -> None:
        """``graphs``: runs are captured as CUDA graphs, one a binding, and replayed from the second run on.

        A graph cannot copy to the host, so its outputs are tensors of the device, copied when it has run.
        """
        self._session = session
        self._graphs = graphs
        most = spec.buckets[-1]
        self._inputs = {length: _arrays(spec.inputs, most, length) for length in spec.lengths}
        self.outputs: dict[str, Array] = _arrays(spec.outputs, most, 0)
        pin = pin or page_lock
        hosts = [array for arrays in self._inputs.values() for array in arrays.values()]
        self.pinned: bool = sum(not pin(array) for array in (*hosts, *self.outputs.values())) == 0
        self._bindings: dict[tuple[int, int], _DeviceRun] = {}
        for length in spec.lengths:
            for bucket in spec.buckets:
                binding = session.io_binding()
                copies: list[tuple[Any, Array]] = []
                back: list[tuple[Any, Array]] = []
                for tensor in spec.inputs:
                    value = runtime.OrtValue.ortvalue_from_shape_and_type(
                        list(tensor.shape(bucket, length)), tensor.dtype.type, device, device_id
                    )
                    binding.bind_ortvalue_input(tensor.name, value)
                    copies.append((value, self._inputs[length][tensor.name][:bucket]))
                for tensor in spec.outputs:
                    if graphs:
                        value = runtime.OrtValue.ortvalue_from_shape_and_type(
                            list(tensor.shape(bucket, 0)), tensor.dtype.type, device, device_id
                        )
                        binding.bind_ortvalue_output(tensor.name, value)
                        back.append((value, self.outputs[tensor.name][:bucket]))
                    else:
                        # Bound to host memory: the runtime copies what the device computed as the run ends.
                        _point(binding.bind_output, tensor, self.outputs[tensor.name], bucket, 0)
                options = None
                if graphs:
                    options = runtime.RunOptions()
                    options.add_run_config_entry("gpu_graph_id", str(next(_GRAPH_IDS)))
                self._bindings[bucket, length] = _DeviceRun(binding, copies, back, options)

    def inputs(self, length: int = 0) -> dict[str, Array]:
        return self._inputs[length]

    def run(self, bucket: int, length: int = 0) -> None:
        bound = self._bindings[bucket, length]
        for value, rows in bound.inputs:
            value.update_inplace(rows)
        self._session.run_with_iobinding(bound.binding, bound.options)
        for value, rows in bound.outputs:
            rows[...] = value.numpy()


def page_lock(array: Array) -> bool:
    """Page-locks ``array`` (which owns its memory) for the GPU's copy engine while it lives; False where that fails.

    Without it copies still work, through the driver's own staging buffer.
    """
    for name in ("libcudart.so.13", "libcudart.so.12", "cudart64_13.dll", "cudart64_12.dll"):
        try:
            library = ctypes.CDLL(name)
            register, unregister = library.cudaHostRegister, library.cudaHostUnregister
        except (OSError, AttributeError):
            continue
        pointer = ctypes.c_void_p(array.ctypes.data)
        if register(pointer, ctypes.c_size_t(array.nbytes), ctypes.c_uint(0)):
            return False
        # Memory that is freed while it is registered would be copied from its old pages when its address comes again.
        weakref.finalize(array, unregister, pointer)
        return True
    return False


def _arrays(specs: tuple[TensorSpec, ...], rows: int, length: int) -> dict[str, Array]:
    return {spec.name: np.zeros(spec.shape(rows, length), spec.dtype) for spec in specs}


def _point(bind: Callable[..., None], spec: TensorSpec, array: Array, rows: int, length: int) -> None:
    shape = spec.shape(rows, length)
    if prod(shape) * spec.dtype.itemsize > array.nbytes:
        raise ValueError(f"{spec.name}: {shape} does not fit its buffer")
    bind(spec.name, "cpu", 0, spec.dtype.type, list(shape), array.ctypes.data)
