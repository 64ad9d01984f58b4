"""Zero-shot tags: labels in words, embedded once by a text encoder, compared with every picture's embedding.

CLIP (Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision", section 3.1.2):
scores = softmax(scale · cos(picture, label)) over all labels.
"""

import hashlib
import os
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from csgate.errors import ModelError
from csgate.inference.manifest import TextEntry, TokenizerEntry
from csgate.inference.repository import Model
from csgate.inference.results import Vector
from csgate.inference.runner import import_runtime
from csgate.inference.texts import TextEncoder
from csgate.telemetry import Logger

LABELS_A_RUN: Final = 32
SUFFIX: Final = ".npy"

Matrix = NDArray[np.float32]


class ZeroShot:
    """From picture embeddings to tag scores. Safe from any thread: nothing in it changes."""

    def __init__(self, labels: Matrix, scale: float) -> None:
        """``labels``: float32[L, D], each row of length 1."""
        self._columns: Final = np.ascontiguousarray(labels.T)
        self._scale: Final = scale

    @property
    def width(self) -> int:
        """D, the size of an embedding."""
        return int(self._columns.shape[0])

    def __call__(self, pictures: NDArray[Any]) -> Matrix:
        """Scores float32[N, L] of embeddings [N, D] in any float type; each row adds up to 1."""
        logits = (unit_rows(pictures) @ self._columns) * self._scale
        np.exp(logits - logits.max(axis=1, keepdims=True), out=logits)
        scores: Matrix = logits / logits.sum(axis=1, keepdims=True)
        return scores


def unit_rows(rows: NDArray[Any]) -> Matrix:
    """The rows as float32, each divided by its length (a row of zeros stays one)."""
    wide = rows.astype(np.float32)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    unit: Matrix = wide / np.maximum(lengths, np.finfo(np.float32).tiny)
    return unit


def embed_labels(model: Model, cache: Path | None, log: Logger, runtime: Any = None) -> ZeroShot:
    """The labels of a tagger that has a text encoder, from ``cache`` where the same were embedded before.

    Raises:
        ModelError: the text encoder is not the file that the manifest names, or does not fit it.
    """
    entry, tokenizer = model.manifest.text, model.manifest.tokenizer
    assert entry is not None  # the caller has looked
    assert tokenizer is not None  # parse_manifest has seen to it
    assert model.tokenizer is not None
    words = model.labels.shown(entry.labels)
    texts = [entry.prompt.replace("{}", word) for word in words]
    key = _key(entry, tokenizer, texts)
    file = None if cache is None else cache / f"{key}{SUFFIX}"
    rows = _kept(file, len(texts), log)
    if rows is None:
        encoder = TextEncoder(model.tokenizer, tokenizer, model.name)
        rows = _embed(runtime or import_runtime(), model, entry, encoder, texts)
        _keep(file, rows, log)
        log.info("inference.labels_embedded", model=model.name, labels=len(texts))
    return ZeroShot(rows, entry.scale)


def _key(entry: TextEntry, tokenizer: TokenizerEntry, texts: list[str]) -> str:
    """Everything that the embeddings depend on. Lengths go in, so no two lists run together."""
    digest = hashlib.sha256(f"{entry.sha256}:{tokenizer.sha256}:{tokenizer.max_tokens}:{tokenizer.pad_id}".encode())
    digest.update(f":{entry.input}:{entry.mask}:{entry.output}".encode())
    for text in texts:
        content = text.encode("utf-8", "surrogatepass")
        digest.update(b"%d:" % len(content) + content)
    return digest.hexdigest()


def _kept(file: Path | None, labels: int, log: Logger) -> Matrix | None:
    if file is None or not file.is_file():
        return None
    try:
        rows = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        log.warning("inference.embeddings_unreadable", file=str(file), reason=str(error))
        return None
    fits = rows.ndim == 2 and rows.shape[0] == labels and rows.dtype == np.float32 and bool(np.isfinite(rows).all())
    return rows if fits else None


def _keep(file: Path | None, rows: Matrix, log: Logger) -> None:
    """Written beside its place and moved there, so that another process never reads half a file."""
    if file is None:
        return
    unfinished = file.with_name(f"{file.stem}.{os.getpid()}.tmp")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("wb") as out:
            np.save(out, rows, allow_pickle=False)
        unfinished.replace(file)
    except OSError as error:
        # Embedding takes seconds: it is done again at the next start.
        log.warning("inference.embeddings_not_kept", file=str(file), reason=str(error))


def _embed(runtime: Any, model: Model, entry: TextEntry, encoder: TextEncoder, texts: list[str]) -> Matrix:
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = runtime.InferenceSession(
            model.text_graph_bytes(), sess_options=options, providers=["CPUExecutionProvider"]
        )
    except ModelError:
        raise
    except Exception as error:  # the runtime's own exception classes are not public
        raise ModelError(
            f"{model.folder / entry.file} cannot be loaded: {str(error).splitlines()[0]}; export the model again."
        ) from error
    kinds = {node.name: np.int32 if node.type == "tensor(int32)" else np.int64 for node in session.get_inputs()}
    if set(kinds) != {name for name in (entry.input, entry.mask) if name}:
        raise ModelError(
            f"Model '{model.name}': the text encoder's inputs are {sorted(kinds)}; "
            "name them in [text] as input and mask."
        )
    found: list[Matrix] = []
    for at in range(0, len(texts), LABELS_A_RUN):
        tokens = [encoder.encode(text) for text in texts[at : at + LABELS_A_RUN]]
        length = encoder.length(max(map(len, tokens)))
        ids = np.full((len(tokens), length), encoder.pad_id, kinds[entry.input])
        for row, own in enumerate(tokens):
            ids[row, : len(own)] = own
        feeds = {entry.input: ids}
        if entry.mask:
            lengths = np.array([len(own) for own in tokens])
            feeds[entry.mask] = (np.arange(length) < lengths[:, None]).astype(kinds[entry.mask])
        try:
            (rows,) = session.run([entry.output], feeds)
        except Exception as error:
            raise ModelError(
                f"Model '{model.name}': the text encoder does not run: {str(error).splitlines()[0]}."
            ) from error
        if rows.ndim != 2 or len(rows) != len(tokens):
            raise ModelError(
                f"Model '{model.name}': the text encoder's output '{entry.output}' has shape {rows.shape}; "
                "name the one with an embedding a text."
            )
        found.append(unit_rows(rows))
    return np.concatenate(found)


def check_width(model: Model, zero_shot: ZeroShot, picture: tuple[int, ...]) -> None:
    """Pictures and labels must be embedded in the same space.

    Raises:
        ModelError: their sizes differ. ``picture`` is the shape of a row of the picture encoder's output.
    """
    if picture != (zero_shot.width,):
        raise ModelError(
            f"Model '{model.name}': a picture's embedding has shape {picture}, a label's ({zero_shot.width},); "
            "the two encoders do not belong together."
        )


def as_scores(zero_shot: ZeroShot | None, rows: NDArray[Any]) -> Vector:
    """What a tagger's output says: scores as they are, or embeddings compared with the labels."""
    return rows if zero_shot is None else zero_shot(rows)
