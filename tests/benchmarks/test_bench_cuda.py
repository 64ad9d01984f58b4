"""The script for GPU hosts, gone through on the CPU: it must not fail first on the machine that one had to wait for."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import bench_cuda
    import report

    monkeypatch.setattr(report, "RESULTS", tmp_path)
    yield bench_cuda
    for name in ("bench_cuda", "report"):
        sys.modules.pop(name, None)


def test_all_of_it_on_the_cpu(script: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--device", "cpu", "--seconds", "0.001", "--rounds", "1", "--max-batch", "2", "--mixed", "12"]
    assert script.main(script.read_arguments(given)) == 0
    saved = json.loads((tmp_path / "encoders-cpu.json").read_text())
    assert {row["batch"] for row in saved["encoders"]} == {1, 2}
    assert {row["model"] for row in saved["encoders"]} == {"shop-intent", "shop-sentiment", "stickers"}
    assert all(row["plain"]["items_per_second"] > 0 and row["bare"]["of_bare"] == 1 for row in saved["encoders"])
    assert len(saved["copies_gb_per_second"]) == len(script.COPY_BYTES)
    assert saved["memory"]["batches"] == 12
    assert len(saved["memory"]["device_bytes"]) >= 11
    assert "12 mixed batches" in capsys.readouterr().out


def test_growing_memory_is_seen(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for step, stable in ((0, True), (1 << 20, False)):
        used = iter(range(1 << 24, 1 << 30, step)) if step else iter([1 << 24] * 100)
        monkeypatch.setattr(script, "device_bytes_used", lambda used=used: next(used))
        held = script.memory(script.load_repository(script.models_dir()), "cpu", (1, 2), 20)
        assert held["stable"] is stable


def test_without_a_gpu_a_sentence_says_so(script: Any) -> None:
    with pytest.raises(script.ConfigError, match="has no CUDA"):
        script.main(script.read_arguments([]))


@pytest.mark.parametrize("code", [0, 3])
def test_generation_is_another_script_on_the_same_device(
    script: Any, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    asked: list[list[str]] = []

    def run(command: list[str], check: bool) -> Any:
        asked.append(command)
        return type("Done", (), {"returncode": code})

    monkeypatch.setattr(script.subprocess, "run", run)
    assert script.generation(None, "cuda") is None
    assert script.generation(Path("/m"), "cuda") == ("done" if code == 0 else "failed with 3")
    assert asked[0][1:] == [str(BENCHMARKS / "bench_generate.py"), "--folder", "/m", "--device", "cuda"]
    assert Path(asked[0][1]).is_file()


@pytest.mark.gpu
def test_on_a_gpu_nothing_grows_and_batches_equal_the_cpus(script: Any, tmp_path: Path) -> None:
    assert script.main(script.read_arguments(["--mixed", "2000", "--seconds", "0.05", "--rounds", "2"])) == 0
    saved = json.loads((tmp_path / "encoders-cuda.json").read_text())
    assert saved["memory"]["stable"]
    assert saved["memory"]["pinned"]
    buckets = (1, 8)
    for model in script.load_repository(script.models_dir()).values():
        outputs = []
        for device, graphs in (("cpu", False), ("cuda", False), ("cuda", True)):
            runner = script.open_widened(model, device, buckets, graphs=graphs)
            bindings = runner.bind()
            script.fill(runner, bindings, runner.spec.lengths[-1])
            for _ in range(2):  # the second run replays the graph
                bindings.run(8, runner.spec.lengths[-1])
            outputs.append({name: rows[:8].astype(np.float32) for name, rows in bindings.outputs.items()})
        for other in outputs[1:]:
            for name, rows in other.items():
                assert np.allclose(rows, outputs[0][name], atol=0.05)
