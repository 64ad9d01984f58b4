"""A folder with a text model in onnxruntime-genai's format: what is in it, checked before anything is loaded."""

import json
import tomllib
from pathlib import Path
from typing import Any, Final, Literal, cast

import msgspec

from csgate.errors import ModelError
from csgate.inference.generation.request import PromptStyle

TOKENIZERS: Final = ("tokenizer.json", "tokenizer.model", "vocab.json")
HINT: Final = "docs/generation.md says how to make a folder"


class LocalFolder(msgspec.Struct, frozen=True):
    """A folder that looks right. ``genai`` is its genai_config.json, ``decoder`` the part of it on the decoder.

    ``markers``: the special tokens of its tokenizer, as text; they structure a prompt and may not come from a peer.
    """

    path: Path
    name: str
    style: PromptStyle
    licence: str
    genai: dict[str, Any]
    decoder: dict[str, Any]
    context_tokens: int
    vocabulary: int
    ends: frozenset[int]
    markers: tuple[str, ...]

    @property
    def paged(self) -> bool:
        """Whether its graph needs a paged cache, which CUDA alone has."""
        return "dynamic_batching" in self.genai.get("engine", {})

    @property
    def for_cuda(self) -> bool:
        """Whether it was built for CUDA."""
        options = self.decoder.get("session_options", {}).get("provider_options", [])
        return any(name.lower() in ("cuda", "nvtensorrtrtx") for entry in options for name in entry)


def read_folder(path: Path) -> LocalFolder:
    """Reads what csgate needs to know of the folder ``path``.

    Raises:
        ModelError: it is no such folder; one sentence that says what is missing.
    """
    if not path.is_dir():
        raise ModelError(f"The generation model {path} is not a folder; {HINT}.")
    genai = _read_json(path / "genai_config.json")
    model = genai.get("model")
    if not isinstance(model, dict) or not isinstance(model.get("decoder"), dict):
        raise ModelError(f"{path / 'genai_config.json'} describes no decoder; {HINT}.")
    decoder = cast("dict[str, Any]", model["decoder"])
    graph = path / str(decoder.get("filename", ""))
    if not graph.is_file():
        raise ModelError(f"The generation model {path} has no {decoder.get('filename', 'model.onnx')}; {HINT}.")
    if not any((path / name).is_file() for name in TOKENIZERS):
        raise ModelError(f"The generation model {path} has no tokenizer.json; {HINT}.")
    try:
        context = int(model["context_length"])
        vocabulary = int(model["vocab_size"])
        eos = model["eos_token_id"]
        ends = frozenset(int(token) for token in (eos if isinstance(eos, list) else [eos]))
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{path / 'genai_config.json'} needs numbers for context_length, vocab_size and eos_token_id; {HINT}."
        ) from error
    name, style, licence = _read_card(path)
    return LocalFolder(path, name, style, licence, genai, decoder, context, vocabulary, ends, _markers(path))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"Cannot read {path}: {error.strerror}; {HINT}.") from error
    except ValueError as error:
        raise ModelError(f"{path} is not valid JSON: {error}.") from error
    if not isinstance(tree, dict):
        raise ModelError(f"{path} holds no JSON object; {HINT}.")
    return tree


def _read_card(path: Path) -> tuple[str, PromptStyle, str]:
    """Name, style and licence from the folder's own ``csgate.toml``, which may be missing."""
    card = path / "csgate.toml"
    name = path.resolve().name
    if not card.exists():
        return name, "chat", ""
    try:
        tree = tomllib.loads(card.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"{card} is not valid TOML: {error}.") from error
    unknown = sorted(set(tree) - {"name", "version", "style", "licence"})
    if unknown:
        raise ModelError(f"{card} has an unknown key '{unknown[0]}'; it may hold name, version, style and licence.")
    if not all(isinstance(value, str) for value in tree.values()):
        raise ModelError(f"{card} holds name, version, style and licence, each of them a string.")
    style = tree.get("style", "chat")
    if style not in ("chat", "shop"):
        raise ModelError(f"{card} has style '{style}'; it is 'chat' or 'shop'.")
    return tree.get("name") or name, cast(Literal["chat", "shop"], style), tree.get("licence", "")


def _markers(path: Path) -> tuple[str, ...]:
    """The special tokens of the folder's tokenizer, longest first, by tokenizer.json and tokenizer_config.json.

    A tokenizer of another kind (vocab.json, tokenizer.model) names them in the second file alone.
    """
    trees = [_read_json(path / name) for name in ("tokenizer.json", "tokenizer_config.json") if (path / name).is_file()]
    entries: list[Any] = []
    for tree in trees:
        added, decoded = tree.get("added_tokens"), tree.get("added_tokens_decoder")
        entries += added if isinstance(added, list) else []
        entries += decoded.values() if isinstance(decoded, dict) else []
    texts = {entry["content"] for entry in entries if isinstance(entry, dict) and entry.get("special")}
    for name in ("bos_token", "eos_token"):
        for value in [tree.get(name) for tree in trees]:
            texts.add(value.get("content") if isinstance(value, dict) else value)
    shown = [text for text in texts if isinstance(text, str) and text.strip()]
    return tuple(sorted(shown, key=lambda text: (-len(text), text)))
