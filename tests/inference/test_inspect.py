"""What the models commands tell."""

from pathlib import Path

import pytest

from csgate.errors import ConfigError, ModelError
from csgate.inference.inspect import bench_model, check_model, inspect_models

from .conftest import text_graph, write_intent, write_tagger


def test_listing_goes_on_past_a_wrong_model(repository: Path) -> None:
    (repository / "tiny-intent" / "model.onnx").write_bytes(b"changed")
    rows = {row.name: row for row in inspect_models(repository)}
    assert set(rows) == {"tiny-tagger", "tiny-intent", "tiny-sentiment", "tiny-fusion"}
    assert "SHA-256" in rows["tiny-intent"].problem
    tagger = rows["tiny-tagger"]
    assert (tagger.task, tagger.version, tagger.precisions, tagger.labels) == ("tagger", "1", ("fp32",), 3)
    assert tagger.file_bytes == (repository / "tiny-tagger" / "model.onnx").stat().st_size
    assert (tagger.licence, tagger.problem) == ("Apache-2.0", "")


def test_checking_a_sound_model(tmp_path: Path) -> None:
    assert check_model(write_tagger(tmp_path)).problem == ""
    assert check_model(write_intent(tmp_path)).task == "intent"


def test_checking_runs_the_graph(tmp_path: Path) -> None:
    """Padding id 9 is outside the table: nothing but a run can tell."""
    import numpy as np

    folder = write_intent(tmp_path)
    broken = text_graph(np.zeros((0, 3)), mask=True)
    import hashlib

    manifest = folder / "model.toml"
    old = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    (folder / "model.onnx").write_bytes(broken)
    manifest.write_text(manifest.read_text().replace(old, hashlib.sha256(broken).hexdigest()))
    with pytest.raises(ModelError, match="loads but does not run"):
        check_model(folder)


def test_checking_a_wrong_one(tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        check_model(tmp_path)
    with pytest.raises(ConfigError, match="CUDA"):
        check_model(write_tagger(tmp_path), "cuda")


def test_benching_every_bucket_and_length(tmp_path: Path) -> None:
    ticks = iter(range(10_000))
    rows = bench_model(write_intent(tmp_path), "cpu", 3.0, clock=lambda: next(ticks) / 2)
    assert [(row.length, row.batch) for row in rows] == [(n, b) for n in (2, 4, 8) for b in (1, 2, 4)]
    assert all(row.p50_ms == row.p99_ms == 500 for row in rows)
    assert rows[2].items_per_second == 8
    assert (rows[0].provider, rows[0].precision) == ("CPUExecutionProvider", "fp32")


def test_benching_runs_once_at_least(tmp_path: Path) -> None:
    assert all(row.items_per_second > 0 for row in bench_model(write_tagger(tmp_path), "cpu", 0.0))
