"""What a ``model.toml`` may say, as typed frozen structs, and the sentence that tells how to mend a wrong one."""

import math
import re
from pathlib import Path, PurePosixPath
from typing import Final, Literal

import msgspec

from csgate.errors import ModelError

TaskName = Literal["intent", "sentiment", "fusion", "tagger"]
Precision = Literal["int8", "fp32", "fp16"]
DType = Literal["float32", "float16", "uint8", "int64", "int32"]

MANIFEST_NAME: Final = "model.toml"
MAX_MANIFEST_BYTES: Final = 256 * 1024
MAX_BUCKET: Final = 1024
_LENGTHS_RULE: Final = "tokenizer.lengths must rise and end at max_tokens or above"
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A TOML table in which an unknown key is an error."""


class FileEntry(_Table, frozen=True):
    """A file of the folder, pinned by its SHA-256."""

    path: str
    sha256: str


class BatchEntry(_Table, frozen=True):
    """Batch sizes that are warmed up and run; rising."""

    buckets: tuple[int, ...] = (1, 2, 4, 8, 16, 32)


class InputEntry(_Table, frozen=True):
    """The graph's main input. Everything below ``mask`` is for pictures only."""

    name: str
    dtype: DType = "float32"
    mask: str | None = None
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    height: int = 0
    width: int = 0
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    scale: float = 1 / 255
    resize: Literal["crop", "letterbox", "stretch"] = "letterbox"
    filter: Literal["bilinear", "area"] = "area"
    background: tuple[int, int, int] = (255, 255, 255)


class TokenizerEntry(_Table, frozen=True):
    """A Hugging Face ``tokenizers`` file; ``lengths`` are the padded lengths, the last one at least ``max_tokens``."""

    file: str
    sha256: str
    max_tokens: int
    lengths: tuple[int, ...]
    pad_id: int = 0


class OutputEntry(_Table, frozen=True):
    """``name`` holds logits (text, fusion) or tag scores; probabilities are softmax(logits / ``temperature``).

    ``vector`` names a tagger's feature output, which the fusion model takes; ``kind`` its float32[N, 3], the chances
    that the picture is a sticker, a photo, a screenshot.
    """

    name: str
    temperature: float = 1.0
    vector: str | None = None
    kind: str | None = None


class TextEntry(_Table, frozen=True):
    """The text encoder of a zero-shot tagger, whose [output] is a picture's embedding: it embeds the labels, once.

    ``labels``: the list that is embedded (``en``, ``zh``, or ``names``); ``prompt`` has ``{}`` where a label goes.
    ``scale`` is the factor on the cosine, which CLIP models learn (100 in OpenAI's).
    """

    file: str
    sha256: str
    input: str = "input_ids"
    mask: str | None = None
    output: str = "text_embeds"
    labels: Literal["names", "en", "zh"] = "en"
    prompt: str = "a photo of a {}"
    scale: float = 100.0


class LabelsEntry(_Table, frozen=True):
    """``{"names": [...], "en": [...], "zh": [...]}`` in output order."""

    file: str
    sha256: str | None = None


class Manifest(_Table, frozen=True):
    """A whole ``model.toml``."""

    name: str
    version: str
    task: TaskName
    licence: str
    files: dict[Precision, FileEntry]
    output: OutputEntry
    description: str = ""
    attribution: tuple[str, ...] = ()
    cpu: Precision | None = None
    cuda: Precision | None = None
    batch: BatchEntry = BatchEntry()
    input: InputEntry | None = None
    tokenizer: TokenizerEntry | None = None
    text: TextEntry | None = None
    labels: LabelsEntry | None = None

    @property
    def is_text(self) -> bool:
        return self.task in ("intent", "sentiment")


def parse_manifest(text: bytes, where: Path) -> Manifest:
    """Reads and checks a manifest; ``where`` is only named in errors.

    Raises:
        ModelError: not TOML, an unknown key, a wrong type or a value that makes no sense; one sentence each.
    """
    if len(text) > MAX_MANIFEST_BYTES:
        raise ModelError(f"{where} is larger than {MAX_MANIFEST_BYTES} bytes; a manifest is a short TOML file.")
    try:
        manifest = msgspec.toml.decode(text, type=Manifest)
    except msgspec.ValidationError as error:
        raise ModelError(f"{where} is wrong: {error}; mend that key (docs/models.md lists them all).") from None
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        raise ModelError(f"{where} is not valid TOML: {error}.") from None
    for problem in _problems(manifest, where):
        raise ModelError(f"{where}: {problem}.")
    return manifest


def choose_precision(manifest: Manifest, device: Literal["cpu", "cuda"]) -> Precision:
    """The file to run: what the manifest names for the device, else the fastest kind usual there that it has."""
    named = manifest.cpu if device == "cpu" else manifest.cuda
    if named is not None:
        return named
    order: tuple[Precision, ...] = ("int8", "fp32", "fp16") if device == "cpu" else ("fp16", "fp32", "int8")
    return next(precision for precision in order if precision in manifest.files)


def _rising(values: tuple[int, ...], most: int) -> bool:
    return bool(values) and values[0] >= 1 and values[-1] <= most and list(values) == sorted(set(values))


def _problems(m: Manifest, where: Path) -> list[str]:
    found: list[str] = []
    if m.name != where.parent.name:
        found.append(f"name is '{m.name}' but the folder is '{where.parent.name}'; make them the same")
    if not m.files:
        found.append("it lists no file; add [files.fp32] with path and sha256")
    for device, named in (("cpu", m.cpu), ("cuda", m.cuda)):
        if named is not None and named not in m.files:
            found.append(f"{device} = '{named}' names a precision without a [files.{named}] table; add one")
    entries = [(entry.path, entry.sha256) for entry in m.files.values()]
    if m.tokenizer is not None:
        entries.append((m.tokenizer.file, m.tokenizer.sha256))
    if m.text is not None:
        entries.append((m.text.file, m.text.sha256))
    if m.labels is not None:
        entries.append((m.labels.file, m.labels.sha256 or "0" * 64))
    for path, digest in entries:
        if not _inside(path):
            found.append(f"path '{path}' leaves the folder; give a relative path inside it")
        if not _SHA256.fullmatch(digest):
            found.append(f"the sha256 of '{path}' is not 64 lower-case hexadecimal digits; run sha256sum on the file")
    if not _rising(m.batch.buckets, MAX_BUCKET):
        found.append(f"batch.buckets must rise, from 1 up to at most {MAX_BUCKET}")
    if not (math.isfinite(m.output.temperature) and m.output.temperature > 0):
        found.append("output.temperature must be a positive number")
    if m.task != "fusion":
        if m.input is None:
            found.append("it has no [input] table; add one with the input's name and dtype")
        if m.labels is None:
            found.append("it has no [labels] table; add one with file = 'labels.json'")
    if m.text is not None:
        found += _zero_shot_problems(m, m.text)
    if m.is_text:
        found += _text_problems(m)
    if m.task == "tagger" and m.input is not None:
        found += _picture_problems(m.input)
    return found


def _zero_shot_problems(m: Manifest, entry: TextEntry) -> list[str]:
    found: list[str] = []
    if m.task != "tagger":
        found.append("a [text] table is for taggers; take it out")
    if m.tokenizer is None:
        found.append("a [text] table needs a [tokenizer] table; add file, sha256, max_tokens and lengths")
    elif not _tokens_fit(m.tokenizer):
        found.append(_LENGTHS_RULE)
    if entry.prompt.count("{}") != 1:
        found.append("text.prompt must have one {}, where the label goes")
    if not (math.isfinite(entry.scale) and entry.scale > 0):
        found.append("text.scale must be a positive number")
    return found


def _text_problems(m: Manifest) -> list[str]:
    found: list[str] = []
    if m.input is not None and m.input.dtype not in ("int64", "int32"):
        found.append("input.dtype of a text model must be int64 or int32")
    if m.tokenizer is None:
        found.append("a text model needs a [tokenizer] table; add file, sha256, max_tokens and lengths")
    elif not _tokens_fit(m.tokenizer):
        found.append(_LENGTHS_RULE)
    return found


def _tokens_fit(entry: TokenizerEntry) -> bool:
    return _rising(entry.lengths, 1 << 16) and 1 <= entry.max_tokens <= entry.lengths[-1]


def _picture_problems(entry: InputEntry) -> list[str]:
    found: list[str] = []
    if not (1 <= entry.height <= 4096 and 1 <= entry.width <= 4096):
        found.append("input.height and input.width must be between 1 and 4096")
    if entry.dtype not in ("float32", "float16", "uint8"):
        found.append("input.dtype of a tagger must be float32, float16 or uint8")
    if not all(math.isfinite(value) for value in (*entry.mean, *entry.std, entry.scale)) or 0 in entry.std:
        found.append("input.mean, input.std and input.scale must be finite, and no std may be 0")
    if not all(0 <= value <= 255 for value in entry.background):
        found.append("input.background must be three values from 0 to 255")
    return found


def _inside(path: str) -> bool:
    pure = PurePosixPath(path)
    drive = "\\" in path or ":" in path or "\0" in path
    return bool(path) and not pure.is_absolute() and ".." not in pure.parts and not drive
