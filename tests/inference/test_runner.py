"""Sessions and buffers: the CPU for real, CUDA through a stand-in runtime that computes on the CPU."""

import builtins
import ctypes
import gc
import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from csgate.config import InferenceSettings
from csgate.errors import ConfigError, ModelError
from csgate.inference import bindings as module
from csgate.inference.bindings import DeviceBindings, HostBindings, TensorSpec, page_lock
from csgate.inference.repository import load_model
from csgate.inference.runner import CPU_PROVIDER, CUDA_PROVIDER, OnnxRunner, import_runtime, open_runner
from csgate.telemetry import Logger, open_logger

from .conftest import SIZE, graph, tagger_graph, write_fusion, write_intent, write_tagger

QUIET = open_logger("error", "json", io.StringIO())


def settings(device: str = "cpu", **options: Any) -> InferenceSettings:
    return InferenceSettings(device=device, **options)  # type: ignore[arg-type]


class CudaStandIn:
    """onnxruntime as it looks on a GPU machine, where ``starts``; the sums are done by the CPU."""

    def __init__(self, starts: bool = True) -> None:
        self.starts = starts
        self.preloaded = False
        self.asked: list[Any] = []
        self.tensors: list[tuple[tuple[int, ...], str, int]] = []
        self.SessionOptions = onnxruntime.SessionOptions
        self.ExecutionMode = onnxruntime.ExecutionMode
        self.GraphOptimizationLevel = onnxruntime.GraphOptimizationLevel
        self.OrtValue = self
        self.graphs: list[str] = []
        self.RunOptions = lambda: SimpleNamespace(add_run_config_entry=self._note)

    def _note(self, key: str, value: str) -> None:
        assert key == "gpu_graph_id"
        self.graphs.append(value)

    def get_available_providers(self) -> list[str]:
        return [CUDA_PROVIDER, CPU_PROVIDER]

    def preload_dlls(self) -> None:
        self.preloaded = True

    def InferenceSession(self, graph: bytes, sess_options: Any, providers: list[Any]) -> Any:
        self.asked.append(providers)
        session = onnxruntime.InferenceSession(graph, sess_options, providers=[CPU_PROVIDER])
        cuda = self.starts and providers[0] != CPU_PROVIDER
        session.get_providers = lambda: [CUDA_PROVIDER, CPU_PROVIDER] if cuda else [CPU_PROVIDER]
        return session

    def ortvalue_from_shape_and_type(self, shape: list[int], kind: Any, device: str, device_id: int) -> Any:
        self.tensors.append((tuple(shape), device, device_id))
        return onnxruntime.OrtValue.ortvalue_from_shape_and_type(shape, kind, "cpu", 0)


def log_lines() -> tuple[Logger, io.StringIO]:
    stream = io.StringIO()
    return open_logger("info", "json", stream), stream


# --- The CPU ---------------------------------------------------------------------------------------------------------


def test_a_cpu_session_runs_on_the_rows_as_they_lie(tmp_path: Path) -> None:
    runner = open_runner(load_model(write_tagger(tmp_path)), settings(), QUIET)
    assert (runner.provider, runner.precision, runner.parallel) == (CPU_PROVIDER, "fp32", True)
    assert runner.sha256 == runner.sha256.lower()
    bindings = runner.bind()
    assert isinstance(bindings, HostBindings)
    rows = bindings.inputs()["pixels"]
    assert rows.shape == (4, 3, SIZE, SIZE)
    for row in range(4):
        rows[row] = row / 10
    bindings.run(2)
    assert np.allclose(bindings.outputs["tag_scores"][:2], [[0.0] * 3, [0.1] * 3])
    bindings.run(4)
    assert np.allclose(bindings.outputs["tag_scores"][3], 0.3)
    assert np.allclose(bindings.outputs["features"][3], 0.6)


def test_text_lengths_have_buffers_of_their_own(tmp_path: Path) -> None:
    bindings = open_runner(load_model(write_intent(tmp_path)), settings(), QUIET).bind()
    for length in (2, 4, 8):
        arrays = bindings.inputs(length)
        assert arrays["input_ids"].shape == arrays["attention_mask"].shape == (4, length)
        arrays["input_ids"][:] = 3
        arrays["attention_mask"][:] = 1
        bindings.run(2, length)
        assert bindings.outputs["logits"][1].tolist() == [0.0, 2.0 * length, 0.0]


def test_max_batch_cuts_the_buckets(tmp_path: Path) -> None:
    model = load_model(write_tagger(tmp_path))
    assert open_runner(model, settings(max_batch=3), QUIET).spec.buckets == (1, 2)
    model = load_model(write_tagger(tmp_path, batch={"buckets": [4]}))
    with pytest.raises(ConfigError, match="max_batch"):
        open_runner(model, settings(max_batch=3), QUIET)


def test_a_buffer_too_small_is_never_bound() -> None:
    spec = TensorSpec("x", np.dtype(np.float32), (4,))
    with pytest.raises(ValueError, match="does not fit"):
        module._point(lambda *_: None, spec, np.zeros((2, 4), np.float32), 3, 0)


# --- CUDA, by its stand-in -------------------------------------------------------------------------------------------


def test_cuda_copies_rows_to_device_tensors_and_results_back(tmp_path: Path) -> None:
    runtime = CudaStandIn()
    model = load_model(write_tagger(tmp_path))
    runner = open_runner(model, settings("cuda", device_id=1), QUIET, runtime)
    assert (runner.provider, runner.parallel) == (CUDA_PROVIDER, False)
    assert runtime.preloaded
    options = {"device_id": "1", "arena_extend_strategy": "kSameAsRequested"}
    assert runtime.asked == [[(CUDA_PROVIDER, options), CPU_PROVIDER]]
    bindings = runner.bind()
    assert isinstance(bindings, DeviceBindings)
    assert runtime.tensors == [((bucket, 3, SIZE, SIZE), "cuda", 1) for bucket in (1, 2, 4)]
    rows = bindings.inputs()["pixels"]
    for value in (0.25, 0.5):
        rows[:] = value
        bindings.run(4)
        assert np.allclose(bindings.outputs["tag_scores"], value)
        assert np.allclose(bindings.outputs["features"], 2 * value)


def test_cuda_text_equals_the_cpus(tmp_path: Path) -> None:
    model = load_model(write_intent(tmp_path))
    results = []
    for runner in (open_runner(model, settings(), QUIET), open_runner(model, settings("auto"), QUIET, CudaStandIn())):
        bindings = runner.bind()
        arrays = bindings.inputs(4)
        arrays["input_ids"][:] = [[2, 3, 4, 0]] * 4
        arrays["attention_mask"][:] = [[1, 1, 0, 0]] * 4
        bindings.run(4, 4)
        results.append(bindings.outputs["logits"].tolist())
    assert results[0] == results[1] == [[2.0, 2.0, 0.0]] * 4


def test_a_cuda_graph_for_each_binding_with_its_outputs_on_the_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = CudaStandIn()
    model = load_model(write_tagger(tmp_path))
    runner = open_runner(model, settings("cuda", cuda_graphs=True, cuda_memory_bytes=1 << 30), QUIET, runtime)
    asked = runtime.asked[0][0][1]
    assert (asked["enable_cuda_graph"], asked["gpu_mem_limit"]) == ("1", str(1 << 30))
    given: list[Any] = []
    run = runner._session.run_with_iobinding

    def without_options(binding: Any, options: Any) -> None:
        given.append(options)
        run(binding)

    monkeypatch.setattr(runner._session, "run_with_iobinding", without_options)
    bindings, others = runner.bind(), runner.bind()
    buckets = len(runner.spec.buckets)
    assert len(set(runtime.graphs)) == len(runtime.graphs) == 2 * buckets
    assert len(runtime.tensors) == 2 * buckets * 3  # the input and both outputs
    for value, bound in ((0.5, bindings), (0.25, others), (0.75, bindings)):
        bound.inputs()["pixels"][:] = value
        bound.run(4)
        assert np.allclose(bound.outputs["tag_scores"], value)
        assert np.allclose(bound.outputs["features"], 2 * value)
    assert None not in given
    assert given[0] is given[2] is not given[1]


@pytest.mark.parametrize("pins", [True, False])
def test_page_locking_is_tried_on_every_buffer(tmp_path: Path, pins: bool) -> None:
    runtime = CudaStandIn()
    runner = open_runner(load_model(write_tagger(tmp_path)), settings("cuda"), QUIET, runtime)
    asked: list[Any] = []

    def pin(array: Any) -> bool:
        asked.append(array)
        return pins

    bindings = DeviceBindings(runtime, runner._session, runner.spec, "cuda", 0, pin)
    assert bindings.pinned is pins
    assert len(asked) == 3


@pytest.mark.parametrize(("status", "locked"), [(0, True), (2, False)])
def test_page_lock_asks_the_cuda_library_for_as_long_as_the_array_lives(
    monkeypatch: pytest.MonkeyPatch, status: int, locked: bool
) -> None:
    array = np.zeros(16, np.float32)
    address, size = array.ctypes.data, array.nbytes
    asked: list[tuple[int | None, int, int]] = []
    released: list[int | None] = []

    def register(pointer: Any, size: Any, flags: Any) -> int:
        asked.append((pointer.value, size.value, flags.value))
        return status

    def load(name: str) -> Any:
        if name != "libcudart.so.12":
            raise OSError(name)
        return SimpleNamespace(
            cudaHostRegister=register, cudaHostUnregister=lambda pointer: released.append(pointer.value)
        )

    monkeypatch.setattr(ctypes, "CDLL", load)
    assert page_lock(array) is locked
    assert asked == [(address, size, 0)]
    assert released == []
    del array
    gc.collect()
    assert released == ([address] if locked else [])


def test_page_lock_without_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace())
    assert not page_lock(np.zeros(1))


# --- Which of the two ------------------------------------------------------------------------------------------------


def test_cuda_demanded_without_cuda_stops_the_start(tmp_path: Path) -> None:
    model = load_model(write_tagger(tmp_path))
    with pytest.raises(ConfigError, match=r"csgate\[cuda\].*'auto'"):
        open_runner(model, settings("cuda"), QUIET)
    with pytest.raises(ConfigError, match="could not start CUDA"):
        open_runner(model, settings("cuda"), QUIET, CudaStandIn(starts=False))


def test_auto_falls_back_and_says_why(tmp_path: Path) -> None:
    runner = open_runner(load_model(write_tagger(tmp_path)), settings("auto"), QUIET, CudaStandIn(starts=False))
    assert runner.provider == CPU_PROVIDER
    assert "could not start CUDA" in runner.fallback


def test_the_cpu_asked_for_is_no_fallback(tmp_path: Path) -> None:
    log, stream = log_lines()
    runtime = CudaStandIn()
    runner = open_runner(load_model(write_tagger(tmp_path)), settings("cpu"), log, runtime)
    assert (runner.provider, runner.fallback, stream.getvalue(), runtime.preloaded) == (CPU_PROVIDER, "", "", False)


def test_a_runtime_without_preloading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(CudaStandIn, "preload_dlls")
    runner = open_runner(load_model(write_tagger(tmp_path)), settings("auto"), QUIET, CudaStandIn())
    assert runner.provider == CUDA_PROVIDER


def test_without_onnxruntime_a_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    assert import_runtime() is onnxruntime
    original = builtins.__import__

    def fail(name: str, *rest: Any) -> Any:
        if name == "onnxruntime":
            raise ImportError(name)
        return original(name, *rest)

    monkeypatch.setattr(builtins, "__import__", fail)
    with pytest.raises(ConfigError, match=r"pip install 'csgate\[cpu\]'"):
        import_runtime()


# --- A graph that is not what the manifest says ----------------------------------------------------------------------


def refusal(folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        open_runner(load_model(folder), settings(), QUIET)
    return str(caught.value)


def test_what_is_no_graph(tmp_path: Path) -> None:
    text = refusal(write_tagger(tmp_path, b"not an ONNX file"))
    assert "model.onnx cannot be loaded" in text
    assert "\n" not in text


PIXELS = {"name": "pixels", "height": SIZE, "width": SIZE}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"input": PIXELS | {"name": "image"}}, r"inputs are \['pixels'\], the manifest feeds \['image'\]"),
        ({"input": PIXELS | {"height": 9}}, "input 'pixels'"),
        ({"input": PIXELS | {"dtype": "uint8"}}, "uint8"),
        ({"input": PIXELS | {"layout": "NHWC"}}, "input 'pixels'"),
        ({"output": {"name": "scores"}}, "no output 'scores'"),
        ({"output": {"name": "tag_scores", "vector": "embedding"}}, "no output 'embedding'"),
        ({"output": {"name": "tag_scores", "kind": "sort"}}, "no output 'sort'"),
        ({"output": {"name": "tag_scores", "kind": "wide"}}, "it must have 3: sticker, photo, screenshot"),
    ],
)
def test_graph_and_manifest_differ(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    folder = write_tagger(tmp_path, **changes)
    with pytest.raises(ModelError, match=says):
        open_runner(load_model(folder), settings(), QUIET)


def test_an_input_that_the_manifest_forgets(tmp_path: Path) -> None:
    assert "attention_mask" in refusal(write_intent(tmp_path, input={"name": "input_ids", "dtype": "int64"}))


def test_a_fixed_batch_size(tmp_path: Path) -> None:
    assert "batch size is fixed at 4" in refusal(write_tagger(tmp_path, tagger_graph(4)))
    folder = write_tagger(tmp_path, tagger_graph(4), batch={"buckets": [4]})
    assert open_runner(load_model(folder), settings(), QUIET).spec.buckets == (4,)


def test_labels_that_do_not_count_up(tmp_path: Path) -> None:
    folder = write_tagger(tmp_path)
    (folder / "labels.json").write_text('{"names": ["red", "green"]}')
    assert "2 labels" in refusal(folder)


def test_an_output_of_unknown_size(tmp_path: Path) -> None:
    odd = graph(
        [helper.make_node("NonZero", ["pixels"], ["tag_scores"])],
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("tag_scores", TensorProto.INT64, [4, "found"])],
        {},
    )
    folder = write_tagger(tmp_path, odd, output={"name": "tag_scores"})
    assert "every dimension but the batch fixed" in refusal(folder)


def test_features_of_unknown_size(tmp_path: Path) -> None:
    folder = write_fusion(tmp_path, features="many")
    assert "input 'features'" in refusal(folder)


def test_a_fusion_models_features_have_a_size(tmp_path: Path) -> None:
    runner: OnnxRunner = open_runner(load_model(write_fusion(tmp_path, 3)), settings(), QUIET)
    assert [spec.row for spec in runner.spec.inputs] == [(3,), (3,)]


@pytest.mark.gpu
def test_a_real_gpu_gives_what_the_cpu_gives(tmp_path: Path) -> None:
    model = load_model(write_tagger(tmp_path))
    results = []
    for device in ("cpu", "cuda"):
        bindings = open_runner(model, settings(device), QUIET).bind()
        bindings.inputs()["pixels"][:] = np.linspace(0, 1, SIZE, dtype=np.float32)
        bindings.run(4)
        results.append(bindings.outputs["tag_scores"].copy())
    assert np.allclose(results[0], results[1], atol=1e-3)
