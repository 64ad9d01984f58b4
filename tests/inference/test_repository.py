"""Model folders: what is accepted, and the sentence for everything that is not."""

import json
from pathlib import Path
from typing import Any

import pytest

from csgate.errors import ModelError
from csgate.inference.manifest import MAX_MANIFEST_BYTES, choose_precision, parse_manifest
from csgate.inference.repository import SENTIMENTS, load_model, load_repository, model_folders

from .conftest import tagger_graph, tagger_tables, text_tables, write_intent, write_model, write_sentiment, write_tagger

ZEROS = "0" * 64


def refusal(folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        load_model(folder)
    text = str(caught.value)
    assert "\n" not in text.rstrip()
    assert text.endswith(".")
    return text


def test_a_whole_repository(repository: Path) -> None:
    (repository / "training").mkdir()
    (repository / "README.md").write_text("not a model")
    models = load_repository(repository)
    assert set(models) == {"tagger", "intent", "sentiment", "fusion"}
    assert models["tagger"].name == "tiny-tagger"
    assert models["tagger"].labels.shown("zh") == ("红", "绿", "蓝")
    assert models["tagger"].labels.shown("fr") == ("Red", "Green", "Blue")
    assert models["fusion"].labels.names == SENTIMENTS
    assert models["tagger"].graph_bytes("fp32") == tagger_graph()


def test_labels_fall_back_to_names(tmp_path: Path) -> None:
    files = {"model.onnx": tagger_graph(), "labels.json": b'{"names": ["a", "b", "c"]}'}
    assert load_model(write_model(tmp_path, tagger_tables(), files)).labels.shown("zh") == ("a", "b", "c")


def test_a_relative_folder_is_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tagger(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert load_model(Path("tiny-tagger")).name == "tiny-tagger"
    monkeypatch.chdir(tmp_path / "tiny-tagger")
    assert load_model(Path()).name == "tiny-tagger"


def test_no_such_repository(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="models_dir"):
        model_folders(tmp_path / "nowhere")


def test_two_models_for_one_task(tmp_path: Path) -> None:
    write_tagger(tmp_path)
    write_tagger(tmp_path, name="other-tagger")
    with pytest.raises(ModelError, match="both do the task 'tagger'"):
        load_repository(tmp_path)


def test_no_manifest(tmp_path: Path) -> None:
    assert "model.toml" in refusal(tmp_path)


def test_a_wrong_hash_names_the_file(tmp_path: Path) -> None:
    folder = write_tagger(tmp_path)
    (folder / "model.onnx").write_bytes(b"something else")
    with pytest.raises(ModelError, match=r"model\.onnx is not the file .* sha256sum"):
        load_model(folder).graph_bytes("fp32")


def test_a_missing_graph(tmp_path: Path) -> None:
    folder = write_tagger(tmp_path)
    (folder / "model.onnx").unlink()
    with pytest.raises(ModelError, match=r"Cannot read .*model\.onnx"):
        load_model(folder).graph_bytes("fp32")


@pytest.mark.parametrize("file", ["tokenizer.json", "labels.json"])
def test_a_missing_side_file(tmp_path: Path, file: str) -> None:
    folder = write_intent(tmp_path)
    (folder / file).unlink()
    assert file in refusal(folder)


def test_a_changed_tokenizer(tmp_path: Path) -> None:
    folder = write_intent(tmp_path)
    (folder / "tokenizer.json").write_bytes(b"{}")
    assert "SHA-256" in refusal(folder)


def test_labels_may_be_pinned(tmp_path: Path) -> None:
    labels = {"file": "labels.json", "sha256": "@labels.json"}
    assert load_model(write_tagger(tmp_path, labels=labels)).labels.names[0] == "red"
    assert "SHA-256" in refusal(write_tagger(tmp_path, labels=labels | {"sha256": ZEROS}))


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "a/../../b", "", "c:\\x", "a\\b"])
def test_paths_that_leave_the_folder(tmp_path: Path, path: str) -> None:
    assert "leaves the folder" in refusal(write_tagger(tmp_path, **{"files.fp32": {"path": path, "sha256": ZEROS}}))
    assert "leaves the folder" in refusal(write_tagger(tmp_path, labels={"file": path}))


def test_a_link_that_leads_out(tmp_path: Path) -> None:
    folder = write_tagger(tmp_path)
    (tmp_path / "outside.json").write_text("{}")
    (folder / "labels.json").unlink()
    (folder / "labels.json").symlink_to(tmp_path / "outside.json")
    assert "leads out" in refusal(folder)


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ({"names": ["a", "b"], "en": ["A"]}, "differ in length"),
        ({"names": ["a", "a"]}, "all different"),
        ({"names": []}, "all different"),
        ({"names": ["a"], "fr": ["a"]}, "unknown field"),
        ({"en": ["a"]}, "missing required field"),
        ("nothing", "is wrong"),
    ],
)
def test_wrong_labels(tmp_path: Path, labels: Any, says: str) -> None:
    folder = write_tagger(tmp_path)
    (folder / "labels.json").write_text(json.dumps(labels))
    assert says in refusal(folder)


def test_a_sentiment_model_has_the_three_sentiments(tmp_path: Path) -> None:
    folder = write_sentiment(tmp_path)
    (folder / "labels.json").write_text(json.dumps({"names": ["good", "bad", "ugly"]}))
    assert "negative, neutral, positive" in refusal(folder)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"colour": "red"}, "unknown field `colour`"),
        ({"input": {"name": "pixels", "height": 8, "width": 8, "hight": 8}}, "unknown field `hight`"),
        ({"task": "poetry"}, "Invalid enum value 'poetry'"),
        ({"version": 1}, "Expected `str`"),
        ({"files.int4": {"path": "x", "sha256": ZEROS}}, "int4"),
        ({"cpu": "int8"}, "names a precision without"),
        ({"cuda": "fp16"}, "names a precision without"),
        ({"files.fp32": {"path": "model.onnx", "sha256": "abc"}}, "64 lower-case"),
        ({"batch": {"buckets": []}}, "must rise"),
        ({"batch": {"buckets": [4, 2]}}, "must rise"),
        ({"batch": {"buckets": [0, 2]}}, "must rise"),
        ({"batch": {"buckets": [1, 2, 2]}}, "must rise"),
        ({"batch": {"buckets": [1, 5000]}}, "must rise"),
        ({"output": {"name": "x", "temperature": 0.0}}, "temperature"),
        ({"input": {"name": "pixels", "height": 0, "width": 8}}, "between 1 and 4096"),
        ({"input": {"name": "pixels", "height": 8, "width": 8, "dtype": "int64"}}, "float32, float16 or uint8"),
        ({"input": {"name": "pixels", "height": 8, "width": 8, "std": [1.0, 0.0, 1.0]}}, "no std may be 0"),
        ({"input": {"name": "pixels", "height": 8, "width": 8, "background": [0, 0, 300]}}, "from 0 to 255"),
    ],
)
def test_wrong_tagger_manifests(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    assert says in refusal(write_tagger(tmp_path, **changes))


def test_the_folder_bears_the_models_name(tmp_path: Path) -> None:
    folder = write_tagger(tmp_path)
    moved = folder.rename(tmp_path / "other")
    assert "make them the same" in refusal(moved)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"input": {"name": "input_ids", "dtype": "float32"}}, "int64 or int32"),
        (
            {"tokenizer": {"file": "tokenizer.json", "sha256": ZEROS, "max_tokens": 9, "lengths": [8]}},
            "end at max_tokens",
        ),
        (
            {"tokenizer": {"file": "tokenizer.json", "sha256": ZEROS, "max_tokens": 4, "lengths": [8, 4]}},
            "must rise",
        ),
    ],
)
def test_wrong_text_manifests(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    assert says in refusal(write_intent(tmp_path, **changes))


@pytest.mark.parametrize(
    ("table", "says"),
    [("input", "[input]"), ("labels", "[labels]"), ("tokenizer", "[tokenizer]"), ("files.fp32", "files")],
)
def test_missing_tables(tmp_path: Path, table: str, says: str) -> None:
    tables = text_tables("intent")
    del tables[table]
    files = {"model.onnx": b"", "tokenizer.json": b"", "labels.json": b""}
    text = refusal(write_model(tmp_path, tables, files))
    assert says in text


def test_an_empty_files_table(tmp_path: Path) -> None:
    tables = tagger_tables() | {"files": {}}
    del tables["files.fp32"]
    assert "lists no file" in refusal(write_model(tmp_path, tables, {}))


@pytest.mark.parametrize("text", [b"name = ", b"\xff\xfe", b"# " + b"x" * MAX_MANIFEST_BYTES])
def test_what_is_no_toml(text: bytes) -> None:
    with pytest.raises(ModelError, match="TOML"):
        parse_manifest(text, Path("models/x/model.toml"))


@pytest.mark.parametrize(
    ("files", "named", "cpu", "cuda"),
    [
        (("int8", "fp32", "fp16"), {}, "int8", "fp16"),
        (("int8", "fp32"), {}, "int8", "fp32"),
        (("fp16",), {}, "fp16", "fp16"),
        (("int8",), {}, "int8", "int8"),
        (("int8", "fp32"), {"cpu": "fp32", "cuda": "int8"}, "fp32", "int8"),
    ],
)
def test_the_precision_for_a_device(
    tmp_path: Path, files: tuple[str, ...], named: dict[str, str], cpu: str, cuda: str
) -> None:
    tables = tagger_tables(**named)
    del tables["files.fp32"]
    for precision in files:
        tables[f"files.{precision}"] = {"path": "model.onnx", "sha256": ZEROS}
    folder = write_model(tmp_path, tables, {"labels.json": b'{"names": ["a"]}'})
    manifest = load_model(folder).manifest
    assert choose_precision(manifest, "cpu") == cpu
    assert load_model(folder).precision("cuda") == cuda
