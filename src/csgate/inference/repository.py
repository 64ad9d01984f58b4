"""The model repository: a folder of model folders, each read whole, hashed and checked before anything runs it."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import msgspec

from csgate.errors import ModelError
from csgate.inference.manifest import MANIFEST_NAME, Manifest, Precision, TaskName, choose_precision, parse_manifest

SENTIMENTS: Final = ("negative", "neutral", "positive")


class Labels(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Names in output order, and what to call them in each language."""

    names: tuple[str, ...]
    en: tuple[str, ...] = ()
    zh: tuple[str, ...] = ()

    def shown(self, language: str) -> tuple[str, ...]:
        """The labels in ``language``; the stable names where it has none."""
        return (self.zh if language == "zh" else self.en) or self.names


@dataclass(frozen=True, slots=True)
class Model:
    """A checked model folder. The ONNX file itself is read when a session opens it (``graph_bytes``)."""

    folder: Path
    manifest: Manifest
    labels: Labels
    tokenizer: bytes | None

    @property
    def name(self) -> str:
        return self.manifest.name

    def precision(self, device: Literal["cpu", "cuda"]) -> Precision:
        return choose_precision(self.manifest, device)

    def graph_bytes(self, precision: Precision) -> bytes:
        """The ONNX file, checked against its hash: what was hashed is what runs.

        Raises:
            ModelError: the file is missing or is not the one that the manifest names.
        """
        entry = self.manifest.files[precision]
        return _pinned(self.folder, entry.path, entry.sha256)

    def text_graph_bytes(self) -> bytes:
        """The text encoder's ONNX file of a zero-shot tagger, checked like ``graph_bytes``.

        Raises:
            ModelError: the file is missing or is not the one that the manifest names.
        """
        entry = self.manifest.text
        assert entry is not None  # only asked where there is one
        return _pinned(self.folder, entry.file, entry.sha256)


def load_model(folder: Path) -> Model:
    """Reads one model folder.

    Raises:
        ModelError: the manifest or one of the files it names is missing, wrong or not the one it names.
    """
    where = folder / MANIFEST_NAME
    try:
        text = where.read_bytes()
    except OSError as error:
        raise ModelError(f"Cannot read {where} ({error.strerror}); a model folder needs one.") from error
    manifest = parse_manifest(text, where.absolute())
    tokenizer = None
    if manifest.tokenizer is not None:
        tokenizer = _pinned(folder, manifest.tokenizer.file, manifest.tokenizer.sha256)
    return Model(folder, manifest, _labels(folder, manifest), tokenizer)


def load_repository(root: Path) -> dict[TaskName, Model]:
    """Every model folder under ``root`` (folders without a manifest are passed over), by task.

    Raises:
        ModelError: ``root`` is no folder, a model is wrong, or two models do the same task.
    """
    found: dict[TaskName, Model] = {}
    for folder in model_folders(root):
        model = load_model(folder)
        task = model.manifest.task
        if task in found:
            raise ModelError(
                f"Models '{found[task].name}' and '{model.name}' in {root} both do the task '{task}'; "
                "move one of them elsewhere."
            )
        found[task] = model
    return found


def model_folders(root: Path) -> list[Path]:
    """The folders under ``root`` that hold a manifest, by name.

    Raises:
        ModelError: ``root`` cannot be listed.
    """
    try:
        return sorted(path for path in root.iterdir() if path.is_dir() and (path / MANIFEST_NAME).is_file())
    except OSError as error:
        raise ModelError(
            f"Cannot read the models folder {root} ({error.strerror}); set inference.models_dir to the right one."
        ) from error


def _labels(folder: Path, manifest: Manifest) -> Labels:
    if manifest.labels is None:
        return Labels(SENTIMENTS)
    file = manifest.labels.file
    content = _pinned(folder, file, manifest.labels.sha256)
    try:
        labels = msgspec.json.decode(content, type=Labels)
    except msgspec.DecodeError as error:
        raise ModelError(f"{folder / file} is wrong: {error}; it holds lists names, en and zh.") from None
    for language in (labels.en, labels.zh):
        if language and len(language) != len(labels.names):
            raise ModelError(f"{folder / file}: names, en and zh differ in length; give each name one label.")
    if len(set(labels.names)) != len(labels.names) or not labels.names:
        raise ModelError(f"{folder / file}: names must be there and all different.")
    if manifest.task == "sentiment" and set(labels.names) != set(SENTIMENTS):
        raise ModelError(f"{folder / file}: the names of a sentiment model are {', '.join(SENTIMENTS)}.")
    return labels


def _pinned(folder: Path, name: str, sha256: str | None) -> bytes:
    path = folder / name
    # The manifest refuses '..'; a symbolic link can still lead out.
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ModelError(f"{path} leads out of its model folder; put the file itself there.")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"Cannot read {path} ({error.strerror}); fetch the file or mend its path in {MANIFEST_NAME}."
        ) from error
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise ModelError(
            f"{path} is not the file that {MANIFEST_NAME} names (its SHA-256 differs); "
            "fetch it again, or put its sha256sum into the manifest if you changed it on purpose."
        )
    return content
