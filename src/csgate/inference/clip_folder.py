"""From a CLIP-type model in the layout of Hugging Face's ONNX exports to a model folder of csgate's.

vision_model.onnx (or onnx/vision_model.onnx)   pixel_values -> image_embeds
text_model.onnx                                 input_ids [, attention_mask] -> text_embeds
tokenizer.json, preprocessor_config.json        (tokenizer_config.json and config.json are read where they are)
"""

import hashlib
import json
import math
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from csgate.errors import ModelError
from csgate.inference.manifest import (
    MANIFEST_NAME,
    BatchEntry,
    DType,
    FileEntry,
    InputEntry,
    LabelsEntry,
    Manifest,
    OutputEntry,
    Precision,
    TextEntry,
    TokenizerEntry,
    parse_manifest,
)
from csgate.inference.runner import import_runtime

MAX_JSON_BYTES: Final = 64 * 1024 * 1024
CLIP_TOKENS: Final = 77
NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")

_VISION: Final[dict[Precision, tuple[str, ...]]] = {
    "fp32": ("vision_model.onnx",),
    "fp16": ("vision_model_fp16.onnx",),
    "int8": ("vision_model_int8.onnx", "vision_model_quantized.onnx"),
}
_TEXT: Final = ("text_model.onnx", "text_model_fp16.onnx", "text_model_quantized.onnx", "text_model_int8.onnx")
_DTYPES: Final[dict[str, DType]] = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(uint8)": "uint8",
}


@dataclass(frozen=True, slots=True)
class ClipChoices:
    """What the folder does not say. ``labels``: a labels file; ``embedded``: which of its lists; ``prompt`` with {}."""

    name: str
    labels: Path
    licence: str = "unknown"
    embedded: str = "en"
    prompt: str = "a photo of a {}"
    scale: float = 100.0


def add_clip(source: Path, models: Path, choices: ClipChoices, runtime: Any = None) -> Path:
    """Copies what is needed from ``source`` to ``models``/name and writes its manifest. Returns the new folder.

    Raises:
        ModelError: a file is missing or unfit, or the new folder exists already; nothing is left behind.
    """
    if not NAME.fullmatch(choices.name):
        raise ModelError(f"'{choices.name}' cannot name a model: use a-z, 0-9, '.', '_' and '-', 64 at most.")
    target = models / choices.name
    if target.exists():
        raise ModelError(f"{target} exists already; choose another --name, or delete it.")
    files, manifest = _describe(source, choices, runtime or import_runtime())
    target.mkdir(parents=True)
    try:
        for name, path in files.items():
            shutil.copyfile(path, target / name)
        (target / MANIFEST_NAME).write_bytes(msgspec.toml.encode(_told(manifest)))
        parse_manifest((target / MANIFEST_NAME).read_bytes(), (target / MANIFEST_NAME).absolute())
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise
    return target


def _describe(source: Path, choices: ClipChoices, runtime: Any) -> tuple[dict[str, Path], Manifest]:
    """The files to copy, by their new names, and the manifest that goes with them."""
    vision = {kind: path for kind, names in _VISION.items() if (path := _find(source, names)) is not None}
    text = _find(source, _TEXT)
    tokenizer = _find(source, ("tokenizer.json",))
    if not vision or text is None or tokenizer is None:
        wanted = "vision_model.onnx" if not vision else "text_model.onnx" if text is None else "tokenizer.json"
        raise ModelError(
            f"{source} has no {wanted}; a CLIP folder has vision_model.onnx and text_model.onnx (or both in onnx/), "
            "tokenizer.json and preprocessor_config.json."
        )
    files = {path.name: path for path in (*vision.values(), text, tokenizer)} | {"labels.json": choices.labels}
    pixels, embedding, most = _graph(runtime, next(iter(vision.values())), ("image_embeds",))
    entry = _preprocessing(_json(source, "preprocessor_config.json"), pixels)
    tokens, _, _ = _graph(runtime, text, ())
    text_names = {node.name for node in tokens}
    _, text_output, _ = _graph(runtime, text, ("text_embeds",))
    max_tokens, pad = _tokens(source, tokenizer)
    manifest = Manifest(
        name=choices.name,
        version="1",
        task="tagger",
        licence=choices.licence,
        description="A vision and a text encoder: pictures are tagged with the labels whose words are nearest",
        files={kind: FileEntry(path.name, _digest(path)) for kind, path in vision.items()},
        input=entry,
        output=OutputEntry(name=embedding),
        batch=BatchEntry((most,)) if most else BatchEntry((1, 2, 4, 8, 16, 32)),
        tokenizer=TokenizerEntry(tokenizer.name, _digest(tokenizer), max_tokens, (max_tokens,), pad),
        text=TextEntry(
            file=text.name,
            sha256=_digest(text),
            input=_one(text, text_names, "input_ids"),
            mask="attention_mask" if "attention_mask" in text_names else None,
            output=text_output,
            labels=choices.embedded,  # type: ignore[arg-type]  # parse_manifest judges it, once it is written
            prompt=choices.prompt,
            scale=choices.scale,
        ),
        labels=LabelsEntry("labels.json", _digest(choices.labels)),
    )
    return files, manifest


def _find(source: Path, names: tuple[str, ...]) -> Path | None:
    for name in names:
        for path in (source / name, source / "onnx" / name):
            if path.is_file():
                return path
    return None


def _graph(runtime: Any, path: Path, outputs: tuple[str, ...]) -> tuple[list[Any], str, int]:
    """A graph's inputs, the first of ``outputs`` that it has (else its only matrix), its batch size where fixed."""
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = runtime.InferenceSession(path.read_bytes(), sess_options=options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's own exception classes are not public
        raise ModelError(
            f"{path} cannot be loaded: {str(error).splitlines()[0]}; export it as one file, its weights inside."
        ) from error
    found = {node.name: node for node in session.get_outputs()}
    matrices = [name for name, node in found.items() if len(node.shape) == 2]
    named = [name for name in outputs if name in found] or (matrices if len(matrices) == 1 else [])
    inputs = list(session.get_inputs())
    if outputs and not named:
        raise ModelError(
            f"{path} has no output '{outputs[0]}' (it has {sorted(found)}); export it with its projection."
        )
    size = inputs[0].shape[0] if inputs and inputs[0].shape else None
    return inputs, named[0] if named else "", size if isinstance(size, int) else 0


def _one(path: Path, names: set[str], usual: str) -> str:
    if usual in names:
        return usual
    raise ModelError(f"{path} has no input '{usual}' (it has {sorted(names)}); export it again.")


def _preprocessing(config: Mapping[str, Any], inputs: list[Any]) -> InputEntry:
    """The preparation that preprocessor_config.json describes.

    Its resampling filter is not copied: csgate averages over areas, which differs from bicubic by a level or two.
    """
    node = next((one for one in inputs if one.name == "pixel_values"), inputs[0])
    crop = _size(config.get("crop_size")) if config.get("do_center_crop", True) else None
    height, width = crop or _size(config.get("size")) or (0, 0)
    fixed = [size for size in node.shape[2:] if isinstance(size, int)]
    if len(fixed) == 2:
        height, width = fixed
    if not (height and width):
        raise ModelError("preprocessor_config.json names no size; add crop_size or size.")
    mean, std = (_triple(config.get(name), default) for name, default in (("image_mean", 0.0), ("image_std", 1.0)))
    scale = config.get("rescale_factor", 1 / 255) if config.get("do_rescale", True) else 1.0
    if not config.get("do_normalize", True):
        mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    if not isinstance(scale, int | float) or not math.isfinite(scale):
        raise ModelError("preprocessor_config.json: rescale_factor is no number.")
    return InputEntry(
        name=node.name,
        dtype=_DTYPES.get(node.type, "float32"),
        height=height,
        width=width,
        mean=mean,
        std=std,
        scale=float(scale),
        resize="crop" if crop or "shortest_edge" in (config.get("size") or {}) else "stretch",
    )


def _size(value: Any) -> tuple[int, int] | None:
    """(height, width) of a number, {height, width} or {shortest_edge}."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value, value
    if isinstance(value, dict):
        edge = value.get("shortest_edge")
        pair = (edge, edge) if edge is not None else (value.get("height"), value.get("width"))
        if all(isinstance(one, int) for one in pair):
            return pair  # type: ignore[return-value]  # just checked
    return None


def _triple(value: Any, default: float) -> tuple[float, float, float]:
    if value is None:
        return default, default, default
    if isinstance(value, list) and len(value) == 3 and all(isinstance(one, int | float) for one in value):
        return float(value[0]), float(value[1]), float(value[2])
    raise ModelError("preprocessor_config.json: image_mean and image_std are lists of three numbers.")


def _tokens(source: Path, tokenizer: Path) -> tuple[int, int]:
    """The longest text in tokens, and the padding id."""
    config = _json(source, "tokenizer_config.json", needed=False)
    content = _load(tokenizer)
    longest = config.get("model_max_length", CLIP_TOKENS)
    if not isinstance(longest, int) or not 1 <= longest <= 4096:
        longest = CLIP_TOKENS  # "no limit" is written as 10^30
    pad = config.get("pad_token")
    word = pad.get("content") if isinstance(pad, dict) else pad
    padding = content.get("padding")
    if isinstance(padding, dict) and isinstance(padding.get("pad_id"), int):
        return longest, padding["pad_id"]
    added = content.get("added_tokens")
    for token in added if isinstance(added, list) else []:
        if isinstance(token, dict) and token.get("content") == word and isinstance(token.get("id"), int):
            return longest, token["id"]
    return longest, 0


def _json(source: Path, name: str, *, needed: bool = True) -> dict[str, Any]:
    path = _find(source, (name,))
    if path is None:
        if needed:
            raise ModelError(f"{source} has no {name}; it comes with the model.")
        return {}
    return _load(path)


def _load(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise ModelError(f"{path} is larger than {MAX_JSON_BYTES} bytes.")
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise ModelError(f"Cannot read {path} ({error.strerror}).") from error
    except ValueError as error:
        raise ModelError(f"{path} is not JSON: {error}.") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} holds no JSON object.")
    return content


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ModelError(f"Cannot read {path} ({error.strerror}).") from error


def _told(manifest: Manifest) -> dict[str, Any]:
    """The manifest without what is absent, which TOML cannot say."""

    def told(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: told(one) for name, one in value.items() if one is not None}
        return value

    plain: dict[str, Any] = told(msgspec.to_builtins(manifest))
    # Simple keys first: in TOML what follows a table belongs to it.
    return dict(sorted(plain.items(), key=lambda item: isinstance(item[1], dict)))
