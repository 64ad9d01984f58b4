"""Taggers that compare a picture with labels in words: manifest, scores, cache, and a real pair in CLIP's layout."""

import json
import shutil
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csgate.cli.main import main
from csgate.config import InferenceSettings
from csgate.errors import ModelError
from csgate.events import Picture
from csgate.inference import open_engine
from csgate.inference.clip_folder import ClipChoices, add_clip
from csgate.inference.inspect import check_model
from csgate.inference.repository import load_model
from csgate.inference.zero_shot import ZeroShot, unit_rows
from csgate.telemetry import Telemetry

CLIP = Path(__file__).parent / "clip"
SAMPLES = Path(__file__).parents[2] / "models" / "samples"
EXPECTED = {
    "thumbs-up": ("thumbs up", "拇指向上"),
    "crying-face": ("loudly crying face", "放声大哭"),
    "red-heart": ("red heart", "红心"),
    "package": ("package", "包裹"),
    "party-popper": ("party popper", "拉炮彩带"),
    "broken-heart": ("broken heart", "心碎"),
}


def choices(**changes: Any) -> ClipChoices:
    return ClipChoices(**({"name": "clip", "labels": CLIP / "labels.json", "prompt": "{}", "scale": 21.7} | changes))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return Path(shutil.copytree(CLIP, tmp_path / "source"))


def sample(name: str) -> Picture:
    return Picture((SAMPLES / f"{name}.png").read_bytes(), "binary")


# --- Scores ----------------------------------------------------------------------------------------------------------


@given(st.integers(1, 5), st.integers(1, 6), st.floats(0.01, 1000))
def test_scores_are_shares(pictures: int, labels: int, scale: float) -> None:
    chance = np.random.default_rng(pictures * 7 + labels)
    zero_shot = ZeroShot(unit_rows(chance.normal(size=(labels, 4))), scale)
    scores = zero_shot(chance.normal(size=(pictures, 4)) * 50)
    assert scores.shape == (pictures, labels)
    assert scores.dtype == np.float32
    assert np.allclose(scores.sum(axis=1), 1, atol=1e-5)
    assert (scores >= 0).all()


def test_the_nearest_label_wins_and_length_does_not_count() -> None:
    zero_shot = ZeroShot(unit_rows(np.eye(3)), 10.0)
    rows = np.array([[0.1, 0.9, 0.0], [100, 0, 0], [0, 0, 0]], np.float16)
    scores = zero_shot(rows)
    assert scores[:2].argmax(axis=1).tolist() == [1, 0]
    assert np.allclose(scores[2], 1 / 3)


# --- A folder in CLIP's layout ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_a_clip_folder_tags_by_words_in_any_language(
    source: Path, tmp_path: Path, telemetry: Telemetry, language: str
) -> None:
    add_clip(source, tmp_path / "models", choices(embedded=language))
    settings = InferenceSettings(
        models_dir=tmp_path / "models", device="cpu", embeddings_dir=tmp_path / "kept", warm_up=False, ocr="off"
    )
    right = 0
    async with open_engine(settings, telemetry) as engine:
        for name, (english, chinese) in EXPECTED.items():
            result = await engine.tag_picture(sample(name), language="zh")
            assert 0 <= sum(tag.score for tag in result.tags) <= 1.0001
            right += result.tags[0].name == english and result.tags[0].label == chinese
    assert right == len(EXPECTED)


async def tags(settings: InferenceSettings, telemetry: Telemetry) -> tuple[Any, ...]:
    async with open_engine(settings, telemetry) as engine:
        return (await engine.tag_picture(sample("package"))).tags


@pytest.fixture
def clip_settings(source: Path, tmp_path: Path) -> InferenceSettings:
    add_clip(source, tmp_path / "models", choices())
    return InferenceSettings(
        models_dir=tmp_path / "models", device="cpu", embeddings_dir=tmp_path / "kept", warm_up=False, ocr="off"
    )


async def test_labels_are_embedded_once(
    clip_settings: InferenceSettings, tmp_path: Path, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await tags(clip_settings, telemetry)
    (file,) = (tmp_path / "kept").iterdir()
    monkeypatch.setattr("csgate.inference.zero_shot._embed", None)  # not called any more
    assert await tags(clip_settings, telemetry) == first
    assert [path.name for path in (tmp_path / "kept").iterdir()] == [file.name]


@pytest.mark.parametrize("content", [b"", b"no array", b"\x93NUMPY\x01\x00"])
async def test_a_spoiled_cache_is_made_again(
    clip_settings: InferenceSettings, tmp_path: Path, telemetry: Telemetry, content: bytes
) -> None:
    first = await tags(clip_settings, telemetry)
    (file,) = (tmp_path / "kept").iterdir()
    file.write_bytes(content)
    assert await tags(clip_settings, telemetry) == first
    assert np.load(file).shape == (59, 32)


async def test_a_cache_of_the_wrong_shape_is_not_believed(
    clip_settings: InferenceSettings, tmp_path: Path, telemetry: Telemetry
) -> None:
    first = await tags(clip_settings, telemetry)
    (file,) = (tmp_path / "kept").iterdir()
    np.save(file, np.full((2, 32), np.nan, np.float32))
    assert await tags(clip_settings, telemetry) == first


async def test_without_a_place_for_it_there_is_no_cache(
    clip_settings: InferenceSettings, tmp_path: Path, telemetry: Telemetry
) -> None:
    first = await tags(clip_settings.model_copy(update={"embeddings_dir": None}), telemetry)
    (tmp_path / "kept").write_text("a file where the folder should be")
    assert await tags(clip_settings, telemetry) == first


async def test_other_words_are_another_key(
    source: Path, clip_settings: InferenceSettings, telemetry: Telemetry
) -> None:
    await tags(clip_settings, telemetry)
    assert clip_settings.models_dir is not None
    assert clip_settings.embeddings_dir is not None
    shutil.rmtree(clip_settings.models_dir)
    add_clip(source, clip_settings.models_dir, choices(prompt="a picture of {}"))
    await tags(clip_settings, telemetry)
    assert len(list(clip_settings.embeddings_dir.iterdir())) == 2


# --- Folders that cannot be used -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gone", "sentence"),
    [
        ("vision_model.onnx", "has no vision_model.onnx"),
        ("text_model.onnx", "has no text_model.onnx"),
        ("tokenizer.json", "has no tokenizer.json"),
        ("preprocessor_config.json", "has no preprocessor_config.json"),
    ],
)
def test_every_file_is_needed(source: Path, tmp_path: Path, gone: str, sentence: str) -> None:
    (source / gone).unlink()
    with pytest.raises(ModelError, match=sentence):
        add_clip(source, tmp_path / "models", choices())
    assert not (tmp_path / "models" / "clip").exists()


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("vision_model.onnx", b"no graph", "cannot be loaded"),
        ("preprocessor_config.json", b"{", "is not JSON"),
        ("preprocessor_config.json", b"[]", "holds no JSON object"),
        ("preprocessor_config.json", b'{"image_mean": "grey"}', "lists of three numbers"),
        ("preprocessor_config.json", b'{"rescale_factor": "much"}', "rescale_factor"),
        ("preprocessor_config.json", b'{"image_std": [0, 1, 1]}', "no std may be 0"),
    ],
)
def test_a_wrong_file_is_named(source: Path, tmp_path: Path, name: str, content: bytes, sentence: str) -> None:
    (source / name).write_bytes(content)
    with pytest.raises(ModelError, match=sentence):
        add_clip(source, tmp_path / "models", choices())
    assert not (tmp_path / "models" / "clip").exists()


def test_the_encoders_must_not_be_mixed_up(source: Path, tmp_path: Path) -> None:
    shutil.copy(source / "vision_model.onnx", source / "text_model.onnx")
    with pytest.raises(ModelError, match="no input 'input_ids'"):
        add_clip(source, tmp_path / "models", choices())
    shutil.copy(CLIP / "text_model.onnx", source / "text_model.onnx")
    with pytest.raises(ModelError, match="cannot name a model"):
        add_clip(source, tmp_path / "models", choices(name="../clip"))
    add_clip(source, tmp_path / "models", choices())
    with pytest.raises(ModelError, match="exists already"):
        add_clip(source, tmp_path / "models", choices())


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"crop_size": 48}, ("crop", 48)),
        ({"size": {"height": 48, "width": 48}, "do_center_crop": False}, ("stretch", 48)),
        ({"size": {"shortest_edge": 48}, "do_center_crop": False}, ("crop", 48)),
        ({}, ("stretch", 48)),  # the graph's own size
    ],
)
def test_preparation_is_read(source: Path, tmp_path: Path, config: dict[str, Any], expected: tuple[str, int]) -> None:
    (source / "preprocessor_config.json").write_text(json.dumps(config | {"do_rescale": False, "do_normalize": False}))
    entry = load_model(add_clip(source, tmp_path / "models", choices())).manifest.input
    assert entry is not None
    assert (entry.resize, entry.height, entry.scale, entry.mean) == (*expected, 1.0, (0.0, 0.0, 0.0))


@pytest.mark.parametrize(
    ("tokenizer", "config", "expected"),
    [
        ({}, {"model_max_length": 1e30, "pad_token": {"content": "[PAD]"}}, (77, 0)),
        ({"padding": {"pad_id": 5}}, {"model_max_length": 16}, (16, 5)),
        ({"added_tokens": [{"content": "<e>", "id": 9}]}, {"pad_token": "<e>"}, (77, 9)),
    ],
)
def test_tokens_are_read(
    source: Path, tmp_path: Path, tokenizer: dict[str, Any], config: dict[str, Any], expected: tuple[int, int]
) -> None:
    content = json.loads((source / "tokenizer.json").read_text())
    (source / "tokenizer.json").write_text(json.dumps(content | tokenizer))
    (source / "tokenizer_config.json").write_text(json.dumps(config))
    entry = load_model(add_clip(source, tmp_path / "models", choices())).manifest.tokenizer
    assert entry is not None
    assert (entry.max_tokens, entry.pad_id) == expected


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('prompt = "{}"', 'prompt = "a photo"', "one {}"),
        ("scale = 21.7", "scale = -1.0", "scale must be a positive number"),
        ('output = "text_embeds"', 'output = "other"', "does not run"),
        ('mask = "attention_mask"', "", "the text encoder's inputs"),
        ('task = "tagger"', 'task = "intent"', "for taggers"),
        ("max_tokens = 24", "max_tokens = 25", "lengths must rise"),
    ],
)
def test_a_wrong_manifest_is_told(source: Path, tmp_path: Path, old: str, new: str, sentence: str) -> None:
    folder = add_clip(source, tmp_path / "models", choices())
    text = (folder / "model.toml").read_text()
    assert old in text
    (folder / "model.toml").write_text(text.replace(old, new))
    with pytest.raises(ModelError, match=sentence):
        check_model(folder)


def test_encoders_of_two_models_do_not_fit(source: Path, tmp_path: Path) -> None:
    folder = add_clip(source, tmp_path / "models", choices())
    text = (folder / "model.toml").read_text()
    # A graph whose output is no embedding of the pictures' size: the labels' own rows stand in for it.
    (folder / "model.toml").write_text(text.replace('name = "image_embeds"', 'name = "text_embeds"'))
    with pytest.raises(ModelError, match="no output 'text_embeds'"):
        check_model(folder)


# --- csgate models add -----------------------------------------------------------------------------------------------


def add(*arguments: str) -> int:
    return main(["models", "add", *arguments])


def test_the_command_adds_checks_and_says_what_next(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "mine"
    labels = ("--labels", str(CLIP / "labels.json"), "--prompt", "{}", "--licence", "Apache-2.0")
    (source / "onnx").mkdir()
    for name in ("vision_model.onnx", "text_model.onnx"):
        (source / name).rename(source / "onnx" / name)
    assert add(str(source), "--models-dir", str(root), *labels) == 0
    out = capsys.readouterr().out
    assert f"Added {root / 'source'}: 59 labels, fp32." in out
    assert "Copied the shipped shop-intent" in out
    assert f"csgate serve --models-dir {root}" in out
    assert main(["models", "check", "--models-dir", str(root)]) == 0
    assert add(str(source), "--models-dir", str(root), "--name", "second", "--alone", *labels) == 0
    assert "is a tagger as well" in capsys.readouterr().out


def test_the_shipped_tags_are_the_labels_otherwise(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert add(str(source), "--models-dir", str(tmp_path / "mine"), "--name", "mine", "--alone") == 0
    shipped = json.loads((SAMPLES.parent / "stickers" / "labels.json").read_text(encoding="utf-8"))
    assert f"{len(shipped['names'])} labels" in capsys.readouterr().out


def test_what_does_not_run_is_not_left_behind(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert add(str(source), "--models-dir", str(tmp_path / "mine"), "--prompt", "no place", "--alone") != 0
    assert "one {}" in capsys.readouterr().err
    labels = tmp_path / "labels.json"
    labels.write_text('{"names": []}')
    assert add(str(source), "--models-dir", str(tmp_path / "mine"), "--labels", str(labels), "--alone") != 0
    assert "names must be there" in capsys.readouterr().err
    assert not list((tmp_path / "mine").iterdir())


def test_neither_a_folder_nor_an_id(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert add("../nowhere/at/all", "--models-dir", str(tmp_path)) != 0
    assert "There is no folder ../nowhere/at/all" in capsys.readouterr().err


def hub(monkeypatch: pytest.MonkeyPatch, fetch: Callable[..., None] | None) -> None:
    """A hub client that does what ``fetch`` does; with ``None`` none is installed."""
    module = types.ModuleType("huggingface_hub")
    if fetch is not None:
        module.snapshot_download = fetch  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "huggingface_hub", module if fetch is not None else None)


def test_an_id_is_fetched_from_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Any] = []

    def fetch(name: str, *, local_dir: str, allow_patterns: list[str]) -> None:
        asked.append((name, allow_patterns))
        shutil.copytree(CLIP, local_dir, dirs_exist_ok=True)

    hub(monkeypatch, fetch)
    labels = ("--labels", str(CLIP / "labels.json"), "--alone")
    assert add("Owner/Small-CLIP", "--models-dir", str(tmp_path / "mine"), *labels) == 0
    assert asked[0][0] == "Owner/Small-CLIP"
    assert (tmp_path / "mine" / "small-clip" / "model.toml").is_file()

    def fail(name: str, **_: Any) -> None:
        raise RuntimeError("no such repository\nand more")

    hub(monkeypatch, fail)
    assert add("Owner/Other", "--models-dir", str(tmp_path / "mine"), *labels) != 0
    assert "Cannot fetch Owner/Other from the hub: no such repository." in capsys.readouterr().err

    def be_late(name: str, **_: Any) -> None:
        raise TimeoutError

    hub(monkeypatch, be_late)
    assert add("Owner/Other", "--models-dir", str(tmp_path / "mine"), *labels) != 0
    assert "Cannot fetch Owner/Other from the hub: TimeoutError." in capsys.readouterr().err
    hub(monkeypatch, None)
    assert add("Owner/Other", "--models-dir", str(tmp_path / "mine"), *labels) != 0
    assert "csgate[hub]" in capsys.readouterr().err
