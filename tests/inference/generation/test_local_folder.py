import json
import shutil
from pathlib import Path

import pytest
from tests.inference.generation.llama import MARKERS, change_config

from csgate.errors import ModelError
from csgate.inference.generation.local_folder import read_folder


@pytest.fixture
def folder(llama: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(llama, tmp_path / "mine"))


def test_what_a_folder_says(folder: Path) -> None:
    read = read_folder(folder)
    assert (read.name, read.style, read.licence) == ("mine", "chat", "")
    assert (read.context_tokens, read.vocabulary, read.ends) == (256, 384, {1})
    assert set(read.markers) == set(MARKERS)
    assert not read.paged
    assert not read.for_cuda


def test_its_own_card(folder: Path) -> None:
    (folder / "csgate.toml").write_text('name = "clerk"\nstyle = "shop"\nlicence = "Apache-2.0"')
    read = read_folder(folder)
    assert (read.name, read.style, read.licence) == ("clerk", "shop", "Apache-2.0")


def test_a_folder_for_cuda(folder: Path) -> None:
    decoder = read_folder(folder).decoder | {"session_options": {"provider_options": [{"cuda": {}}]}}
    change_config(folder, model={"decoder": decoder, "eos_token_id": [1, 2]}, engine={"dynamic_batching": {}})
    read = read_folder(folder)
    assert read.for_cuda
    assert read.paged
    assert read.ends == {1, 2}


def test_a_tokenizer_of_another_kind_names_its_markers_beside_it(folder: Path) -> None:
    (folder / "tokenizer.json").rename(folder / "tokenizer.model")
    decoder = {
        "0": {"content": "<|im_end|>", "special": True},
        "1": {"content": "<think>", "special": False},
        "2": {"content": " ", "special": True},
    }
    card = {"added_tokens_decoder": decoder, "bos_token": {"content": "<s>"}, "eos_token": "</s>", "unk_token": "?"}
    (folder / "tokenizer_config.json").write_text(json.dumps(card))
    assert read_folder(folder).markers == ("<|im_end|>", "</s>", "<s>")


def test_a_tokenizer_without_a_word_on_its_markers(folder: Path) -> None:
    (folder / "tokenizer.json").rename(folder / "tokenizer.model")
    (folder / "tokenizer_config.json").write_text('{"added_tokens_decoder": [], "eos_token": null}')
    assert read_folder(folder).markers == ()
    (folder / "tokenizer_config.json").unlink()
    assert read_folder(folder).markers == ()


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("genai_config.json", None, "Cannot read"),
        ("genai_config.json", "{", "is not valid JSON"),
        ("genai_config.json", "[]", "holds no JSON object"),
        ("genai_config.json", "{}", "describes no decoder"),
        ("genai_config.json", '{"model": {"decoder": {"filename": "model.onnx"}}}', "needs numbers"),
        ("model.onnx", None, "has no model.onnx"),
        ("tokenizer.json", None, "has no tokenizer.json"),
        ("csgate.toml", "name =", "is not valid TOML"),
        ("csgate.toml", 'nmae = "x"', "unknown key 'nmae'"),
        ("csgate.toml", "name = 3", "each of them a string"),
        ("csgate.toml", 'style = "loud"', "it is 'chat' or 'shop'"),
    ],
)
def test_a_wrong_folder_is_told_in_one_sentence(folder: Path, file: str, content: str | None, sentence: str) -> None:
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_text(content)
    with pytest.raises(ModelError, match=sentence) as caught:
        read_folder(folder)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


def test_no_folder_at_all(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is not a folder"):
        read_folder(tmp_path / "none")
