"""``csgate models``: reports of what the inference part finds."""

from pathlib import Path
from typing import Any

import pytest

from csgate import shipped
from csgate.cli.main import main
from csgate.errors import ConfigError, ModelError
from csgate.inference import inspect
from csgate.inference.inspect import BenchRow, ModelRow

GOOD = ModelRow("good", "intent", "1", ("int8", "fp32"), 27, 1_234_567, "Apache-2.0")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two folders; the inference part says that one is good."""
    for name in ("bad", "good"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.toml").write_text("", encoding="utf-8")

    def check(folder: Path, device: str) -> ModelRow:
        assert device == "cpu"
        if folder.name == "bad":
            raise ModelError("The file is not the one named; reinstall it.")
        return GOOD

    def bench(folder: Path, device: str, seconds: float, *, intra_op_threads: int) -> list[BenchRow]:
        assert (device, seconds) == ("auto", 0.25)
        return [
            BenchRow(1, 0, 0.5, 1.25, 2000.0, "CPUExecutionProvider", "int8"),
            BenchRow(32, 64, 9.0, 10.0, 3555.5, "CPUExecutionProvider", "int8"),
        ]

    monkeypatch.setattr(inspect, "inspect_models", lambda _: [ModelRow("bad", problem="It is bad."), GOOD])
    monkeypatch.setattr(inspect, "check_model", check)
    monkeypatch.setattr(inspect, "bench_model", bench)
    return tmp_path


def run(root: Path, action: str, *more: str) -> int:
    return main(["models", action, "--models-dir", str(root), *more])


def test_list(root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(root, "list") == 1
    out = capsys.readouterr().out
    assert "good  intent  1        int8 fp32   27      1.23 MB  Apache-2.0" in out
    assert "bad: It is bad." in out
    monkeypatch.setattr(inspect, "inspect_models", lambda _: [GOOD])
    assert run(root, "list") == 0


def test_check(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(root, "check", "--device", "cpu") == 1
    assert capsys.readouterr().out == (
        "bad: The file is not the one named; reinstall it.\ngood: good (intent, int8 and fp32, 1.23 MB)\n"
    )
    assert run(root, "check", "--device", "cpu", "good") == 0


def test_check_stops_where_the_device_is_missing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: Any) -> ModelRow:
        raise ConfigError("No CUDA here.")

    monkeypatch.setattr(inspect, "check_model", absent)
    assert run(root, "check", "--device", "cuda") == 2


def test_bench(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(root, "bench", "good", "--seconds", "0.25", "--set", "inference.intra_op_threads=2") == 0
    out = capsys.readouterr().out
    assert "good (CPUExecutionProvider, int8, 2 threads a run)" in out
    assert "  1      -       0.500   1.250   2,000" in out
    assert "  32     64      9.000   10.000  3,556" in out
    assert run(root, "bench", "good", "--seconds", "0.25") == 0
    assert "1 thread a run" in capsys.readouterr().out


def test_bench_of_a_model_on_cuda_shows_the_cpu_as_well(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def bench(folder: Path, device: str, *_: Any, **__: Any) -> list[BenchRow]:
        asked.append(device)
        provider = "CPUExecutionProvider" if device == "cpu" else "CUDAExecutionProvider"
        return [BenchRow(8, 0, 0.5, 1.25, 2000.0, provider, "fp16")]

    monkeypatch.setattr(inspect, "bench_model", bench)
    assert run(root, "bench", "good") == 0
    out = capsys.readouterr().out
    assert out.index("good (CUDAExecutionProvider, fp16") < out.index("good (CPUExecutionProvider")
    assert run(root, "bench", "good", "--device", "cuda") == 0
    assert asked == ["auto", "cpu", "cuda"]


def test_names_and_folders_that_are_not_there(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(root, "check", "other") == 2
    assert "There is no model 'other'" in capsys.readouterr().err
    empty = tmp_path / "empty"
    empty.mkdir()
    assert run(empty, "list") == 2
    assert "There are no models in" in capsys.readouterr().err
    assert run(tmp_path / "nowhere", "list") == 2
    assert "nowhere" in capsys.readouterr().err


def test_the_shipped_models_are_the_default(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shipped, "models_dir", lambda: root)
    main(["models", "list"])
    assert f"Models in {root}" in capsys.readouterr().out


@pytest.mark.parametrize("seconds", ["0", "soon", "nan", "4000"])
def test_seconds_are_seconds(root: Path, seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(root, "bench", "--seconds", seconds)
    assert "is not a number of seconds" in capsys.readouterr().err


def test_small_sizes_are_bytes(root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(inspect, "inspect_models", lambda _: [ModelRow("tiny", "intent", "1", ("fp32",), 2, 312, "x")])
    assert run(root, "list") == 0
    assert "312 B" in capsys.readouterr().out
