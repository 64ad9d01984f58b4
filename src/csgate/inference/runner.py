"""ONNX Runtime sessions: one model on one device, with the file that suits it; ``bindings`` has its buffers."""

from collections.abc import Callable
from typing import Any, Final, Literal, Protocol

import numpy as np

from csgate.config import InferenceSettings
from csgate.errors import ConfigError, ModelError
from csgate.inference.bindings import VARIABLE, Bindings, DeviceBindings, GraphSpec, HostBindings, TensorSpec
from csgate.inference.manifest import Precision
from csgate.inference.repository import Model
from csgate.inference.results import KINDS
from csgate.telemetry import Logger

Device = Literal["cpu", "cuda"]

CUDA_PROVIDER: Final = "CUDAExecutionProvider"
CPU_PROVIDER: Final = "CPUExecutionProvider"
_ELEMENTS: Final[dict[str, type[np.generic]]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
}


class Runner(Protocol):
    """One model, loaded on a device."""

    provider: str
    precision: Precision
    sha256: str
    spec: GraphSpec
    parallel: bool
    """Whether runs of several bindings may go side by side to advantage (CPU); ``warmup`` finds out."""
    fallback: str
    """Why it does not run on CUDA though it might have; empty where it does, or where the CPU was asked for."""

    def bind(self) -> Bindings:
        """A new set of buffers."""


RunnerFactory = Callable[[Model, InferenceSettings, Logger], Runner]


def import_runtime() -> Any:
    """The onnxruntime module, its CUDA libraries found if they came as Python packages.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ConfigError(
            "ONNX Runtime is not installed; run pip install 'csgate[cpu]', or 'csgate[cuda]' on a GPU machine."
        ) from error
    return onnxruntime


class OnnxRunner:
    """A model in an ONNX Runtime session."""

    def __init__(
        self, runtime: Any, session: Any, model: Model, precision: Precision, settings: InferenceSettings
    ) -> None:
        self._runtime = runtime
        self._session = session
        self._device_id = settings.device_id
        self._cuda_graphs = settings.cuda_graphs
        self.provider: str = session.get_providers()[0]
        self.precision: Precision = precision
        self.sha256: str = model.manifest.files[precision].sha256
        self.parallel: bool = self.provider == CPU_PROVIDER
        self.fallback: str = ""
        self.spec: GraphSpec = read_graph(session, model, settings.max_batch)

    def bind(self) -> Bindings:
        if self.provider == CUDA_PROVIDER:
            return DeviceBindings(
                self._runtime, self._session, self.spec, "cuda", self._device_id, graphs=self._cuda_graphs
            )
        return HostBindings(self._session, self.spec)


def open_runner(model: Model, settings: InferenceSettings, log: Logger, runtime: Any = None) -> OnnxRunner:
    """Loads ``model`` where ``settings.device`` says. The provider is asked of the session, never assumed.

    Raises:
        ConfigError: CUDA was demanded and the session does not run on it.
        ModelError: the file is not the one named, is no ONNX graph, or does not fit its manifest.
    """
    ort = runtime or import_runtime()
    if settings.device != "cpu" and CUDA_PROVIDER in ort.get_available_providers():
        if hasattr(ort, "preload_dlls"):
            ort.preload_dlls()
        precision = model.precision("cuda")
        session = _open_session(ort, model, precision, settings, "cuda")
        if session.get_providers()[0] == CUDA_PROVIDER:
            return OnnxRunner(ort, session, model, precision, settings)
        reason = (
            "ONNX Runtime could not start CUDA (its own log says why; often a missing driver, cuDNN or CUDA library)"
        )
    else:
        reason = "the ONNX Runtime installed here has no CUDA (pip install 'csgate[cuda]' instead of 'csgate[cpu]')"
    if settings.device == "cuda":
        raise ConfigError(f"inference.device is 'cuda' but {reason}; mend that or set inference.device to 'auto'.")
    precision = model.precision("cpu")
    runner = OnnxRunner(ort, _open_session(ort, model, precision, settings, "cpu"), model, precision, settings)
    runner.fallback = reason if settings.device == "auto" else ""
    return runner


def read_graph(session: Any, model: Model, max_batch: int) -> GraphSpec:
    """What the graph takes and gives, held against the manifest.

    Raises:
        ModelError: a name, dtype or shape of the manifest is not the graph's.
        ConfigError: ``max_batch`` is below the model's smallest bucket.
    """
    manifest = model.manifest
    inputs = {node.name: node for node in session.get_inputs()}
    outputs = {node.name: node for node in session.get_outputs()}
    wanted = _wanted_inputs(model)
    missing = [spec.name for spec in wanted if spec.name not in inputs]
    spare = sorted(set(inputs) - {spec.name for spec in wanted})
    if missing or spare:
        raise ModelError(
            f"Model '{model.name}': the graph's inputs are {sorted(inputs)}, the manifest feeds "
            f"{sorted(spec.name for spec in wanted)}; make them the same."
        )
    found = tuple(_fit_input(model, spec, inputs[spec.name]) for spec in wanted)
    output = manifest.output
    names = [name for name in (output.name, output.vector, output.kind) if name]
    for name in names:
        if name not in outputs:
            raise ModelError(
                f"Model '{model.name}': the graph has no output '{name}' (it has {sorted(outputs)}); "
                "mend [output] in its manifest."
            )
    results = tuple(_read_output(model, outputs[name]) for name in names)
    # A zero-shot tagger's output is an embedding, which is compared with those of the labels.
    if manifest.text is None and results[0].row != (len(model.labels.names),):
        raise ModelError(
            f"Model '{model.name}': output '{names[0]}' has rows of shape {results[0].row} but there are "
            f"{len(model.labels.names)} labels; mend the labels file or the graph."
        )
    for result in results:
        if result.name == output.kind and result.row != (len(KINDS),):
            raise ModelError(
                f"Model '{model.name}': output '{result.name}' has rows of shape {result.row}; as output.kind it must "
                f"have {len(KINDS)}: {', '.join(KINDS)}."
            )
    # A zero-shot tagger has a tokenizer too, for its labels.
    lengths = manifest.tokenizer.lengths if manifest.is_text and manifest.tokenizer is not None else (0,)
    buckets = tuple(bucket for bucket in manifest.batch.buckets if bucket <= max_batch)
    if not buckets:
        raise ConfigError(
            f"inference.max_batch is {max_batch} but the smallest batch of '{model.name}' is "
            f"{manifest.batch.buckets[0]}; raise it."
        )
    return GraphSpec(found, results, buckets, lengths)


def _wanted_inputs(model: Model) -> list[TensorSpec]:
    """The inputs as the manifest has them; 0 in a fusion input's row stands for any size."""
    manifest = model.manifest
    entry = manifest.input
    if manifest.task == "fusion":
        kind = np.dtype(np.float32)
        return [TensorSpec("text_logits", kind, (len(model.labels.names),)), TensorSpec("features", kind, (0,))]
    assert entry is not None  # parse_manifest has seen to it
    dtype = np.dtype(entry.dtype)
    if manifest.task == "tagger":
        size = (entry.height, entry.width)
        return [TensorSpec(entry.name, dtype, (3, *size) if entry.layout == "NCHW" else (*size, 3))]
    return [TensorSpec(name, dtype, (VARIABLE,)) for name in (entry.name, entry.mask) if name]


def _fit_input(model: Model, spec: TensorSpec, node: Any) -> TensorSpec:
    shape: list[Any] = list(node.shape)
    row: list[int] = []
    fits = len(shape) == len(spec.row) + 1 and _ELEMENTS.get(node.type) == spec.dtype.type
    for size, has in zip(spec.row, shape[1:], strict=False):
        fixed = isinstance(has, int)
        row.append(has if size == 0 and fixed else size)
        fits = fits and (not fixed or has == size or size == 0)
    if not fits or 0 in row:
        raise ModelError(
            f"Model '{model.name}': input '{spec.name}' of the graph is {node.type} {shape}, the manifest says "
            f"{spec.dtype} with rows {list(spec.row)}; make them the same."
        )
    most = model.manifest.batch.buckets
    if isinstance(shape[0], int) and most != (shape[0],):
        raise ModelError(
            f"Model '{model.name}': the graph's batch size is fixed at {shape[0]}; export it with a free batch "
            f"dimension, or set batch.buckets to [{shape[0]}]."
        )
    return TensorSpec(spec.name, spec.dtype, tuple(row))


def _read_output(model: Model, node: Any) -> TensorSpec:
    row = tuple(node.shape[1:])
    if node.type not in ("tensor(float)", "tensor(float16)") or not all(isinstance(size, int) for size in row):
        raise ModelError(
            f"Model '{model.name}': output '{node.name}' is {node.type} {list(node.shape)}; export it as float with "
            "every dimension but the batch fixed."
        )
    return TensorSpec(node.name, np.dtype(_ELEMENTS[node.type]), row)


def _cuda_options(settings: InferenceSettings) -> dict[str, str]:
    """The arena grows by what is asked for, not in powers of two, and no further than the limit where there is one."""
    options = {"device_id": str(settings.device_id), "arena_extend_strategy": "kSameAsRequested"}
    if settings.cuda_memory_bytes:
        options["gpu_mem_limit"] = str(settings.cuda_memory_bytes)
    if settings.cuda_graphs:
        options["enable_cuda_graph"] = "1"
    return options


def _open_session(ort: Any, model: Model, precision: Precision, settings: InferenceSettings, device: Device) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = settings.intra_op_threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    # Spinning threads take the cores that the gateway and the preparing threads need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    providers: list[Any] = [CPU_PROVIDER]
    if device == "cpu":
        options.log_severity_level = 3  # its warnings are about graphs, not about what an operator could mend
    else:
        providers.insert(0, (CUDA_PROVIDER, _cuda_options(settings)))
    graph = model.graph_bytes(precision)
    try:
        return ort.InferenceSession(graph, sess_options=options, providers=providers)
    except Exception as error:  # the runtime's own exception classes are not public
        path = model.folder / model.manifest.files[precision].path
        raise ModelError(f"{path} cannot be loaded: {str(error).splitlines()[0]}; export the model again.") from error
