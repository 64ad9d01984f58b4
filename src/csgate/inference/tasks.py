"""What each task does with a batch row: the lanes that ``batcher`` drives, and the arithmetic after a run."""

import hashlib
from bisect import bisect_left
from collections.abc import Sequence
from typing import Final, cast

import msgspec
import numpy as np

from csgate import _fast
from csgate.errors import Internal
from csgate.events import Intent, Picture, Sentiment, SentimentLabel, Tag
from csgate.inference.bindings import Array, Bindings
from csgate.inference.cache import ResultCache
from csgate.inference.manifest import InputEntry
from csgate.inference.results import KINDS, PictureKind, Vector
from csgate.inference.texts import TextEncoder
from csgate.inference.zero_shot import ZeroShot, as_scores
from csgate.pictures import DecodedPicture, Format, decode, file_bytes, sample_frames

HASHED_ON_LOOP_BYTES: Final = 64 * 1024
"""Up to this size a picture is hashed where it arrives (about 40 microseconds); above it, in a worker thread."""

COPIED_AT_ONCE_BYTES: Final = 128 * 1024
"""Up to this size a ready row is copied without letting go of the interpreter's lock."""

_NEVER_MOVES: Final = b"\xff\xd8"
"""A JPEG, which can be decoded at the scale that is needed."""

BEST_BYTES: Final = 112
"""A tuple of an index and a score."""


class Seen(msgspec.Struct, frozen=True, gc=False):
    """What the tagger found in a picture: the ``best`` (tag index, score) first to last, and ``vector`` float32[F].

    ``kind`` is the likeliest kind of picture and its probability, where the model says.
    """

    best: tuple[tuple[int, float], ...]
    vector: Vector | None
    width: int
    height: int
    format: Format
    animated: bool
    kind: tuple[PictureKind, float] | None = None

    @property
    def nbytes(self) -> int:
        """About what it takes in memory."""
        return BEST_BYTES * len(self.best) + (self.vector.nbytes if self.vector is not None else 0)


class PictureJob(msgspec.Struct, frozen=True, gc=False):
    """A picture to tag; ``key`` is its cache key where that was worked out already."""

    picture: Picture
    key: bytes | None


class TensorJob(msgspec.Struct, frozen=True, gc=False):
    """A row that is ready: an array of the model's input row shape and dtype."""

    row: Array


def picture_key(model_sha256: str, picture: Picture) -> bytes:
    """The cache key of a picture as it came; the same file in Base64 and as bytes has two."""
    digest = hashlib.sha256(f"{model_sha256}:{picture.encoding}:".encode(), usedforsecurity=True)
    digest.update(picture.data)
    return digest.digest()


def text_key(model_sha256: str, share: str, text: str) -> bytes:
    """The cache key of a tenant's text. Lengths go in, so no two (share, text) pairs run together."""
    digest = hashlib.sha256(f"{model_sha256}:{len(share)}:{share}:".encode("utf-8", "surrogatepass"))
    digest.update(text.encode("utf-8", "surrogatepass"))
    return digest.digest()


class PictureLane:
    """Pictures through a tagger, or rows that are ready: ``Lane[PictureJob | TensorJob, Seen | Vector]``.

    A picture's result is what was ``Seen``, kept in the cache; a ready row's is its scores, float32[T].
    """

    def __init__(
        self,
        bindings: Bindings,
        entry: InputEntry,
        outputs: tuple[str, str | None, str | None],
        *,
        model_sha256: str,
        cache: ResultCache[Seen],
        max_pixels: int,
        top: int,
        zero_shot: ZeroShot | None = None,
        buckets: Sequence[int] = (1,),
    ) -> None:
        """``outputs``: the names of the scores, the feature vector and the kinds; ``top``: how many tags are kept.

        ``buckets``: the batch sizes that the graph takes, ascending: frames of a sticker that moves are run beside the
        batch, and what the graph says of them is averaged.

        ``zero_shot`` makes scores of the first output where that is an embedding.
        """
        self._bindings = bindings
        self._entry = entry
        self._rows = bindings.inputs()[entry.name]
        self._places = [row.data.cast("B") for row in self._rows]
        self._scores = bindings.outputs[outputs[0]]
        self._vectors = bindings.outputs[outputs[1]] if outputs[1] else None
        self._kinds = bindings.outputs[outputs[2]] if outputs[2] else None
        self._sha256 = model_sha256
        self._cache = cache
        self._max_pixels = max_pixels
        self._top = top
        self._zero_shot = zero_shot
        self._buckets = buckets
        self._pictures: list[tuple[bytes, int, int, Format, bool] | None] = [None] * len(self._rows)
        # By row, the frames behind the first one, prepared.
        self._frames: list[list[Array]] = [[] for _ in self._rows]

    def prepare(self, row: int, payload: PictureJob | TensorJob) -> Seen | None:
        self._frames[row] = []
        if isinstance(payload, TensorJob):
            if payload.row.shape != self._rows.shape[1:]:
                raise Internal(f"a ready row has shape {payload.row.shape}, the model takes {self._rows.shape[1:]}")
            if payload.row.nbytes <= COPIED_AT_ONCE_BYTES:
                # As bytes, like _kept: NumPy would let go of the interpreter's lock for a microsecond or two, and
                # another thread take it.
                self._places[row][:] = np.ascontiguousarray(payload.row, self._rows.dtype).data.cast("B")
            else:
                self._rows[row] = payload.row
            self._pictures[row] = None
            return None
        # Looked up here as well: above the size hashed on arrival, and because an equal one may have run meanwhile.
        key = b""
        if self._cache.keeps:
            key = payload.key or picture_key(self._sha256, payload.picture)
            seen = self._cache.get(key)
            if seen is not None:
                return seen
        entry = self._entry
        data = file_bytes(payload.picture)
        if data.startswith(_NEVER_MOVES):
            frames = [decode(data, max_pixels=self._max_pixels, cover=(entry.height, entry.width))]
        else:
            frames = sample_frames(data, max_pixels=self._max_pixels)
        decoded = frames[0]
        self._write(decoded, self._rows[row])
        for frame in frames[1:]:
            prepared = np.empty_like(self._rows[row])
            self._write(frame, prepared)
            self._frames[row].append(prepared)
        # Not the pixels: they are done with, and may be large.
        self._pictures[row] = key, decoded.width, decoded.height, decoded.format, decoded.animated
        return None

    def run(self, rows: int, bucket: int) -> None:
        self._bindings.run(bucket)
        if any(self._frames[:rows]):
            self._run_frames(rows)

    def results(self, rows: int) -> list[Seen | Vector]:
        scores = as_scores(self._zero_shot, self._scores[:rows])
        if not any(self._pictures[:rows]):
            return [_kept(row) for row in scores]
        best = best_tags(scores, self._top)
        return [self._result(row, scores[row], best[row]) for row in range(rows)]

    def _write(self, decoded: DecodedPicture, row: Array) -> None:
        entry = self._entry
        _fast.prepare(
            decoded.pixels,
            row,
            layout=entry.layout,
            mode=entry.resize,
            filter=entry.filter,
            mean=entry.mean,
            std=entry.std,
            scale=entry.scale,
            fill=entry.background,
            alpha=decoded.alpha,
        )

    def _run_frames(self, rows: int) -> None:
        """Runs the frames that were left over, and puts the average over all frames in place of the first one's."""
        outputs = [output for output in (self._scores, self._vectors, self._kinds) if output is not None]
        sums = [output[:rows].astype(np.float32) for output in outputs]
        waiting = [(row, frame) for row in range(rows) for frame in self._frames[row]]
        most = self._buckets[-1]
        for start in range(0, len(waiting), most):
            batch = waiting[start : start + most]
            for place, (_, frame) in enumerate(batch):
                self._rows[place] = frame
            self._bindings.run(self._buckets[bisect_left(self._buckets, len(batch))])
            for output, total in zip(outputs, sums, strict=True):
                for place, (row, _) in enumerate(batch):
                    total[row] += output[place]
        for output, total in zip(outputs, sums, strict=True):
            for row in range(rows):
                output[row] = total[row] / (1 + len(self._frames[row]))

    def _result(self, row: int, scores: Vector, best: tuple[tuple[int, float], ...]) -> Seen | Vector:
        picture = self._pictures[row]
        if picture is None:
            return _kept(scores)
        key, width, height, format, animated = picture
        vector = None if self._vectors is None else _kept(self._vectors[row])
        kind = None if self._kinds is None else likeliest_kind(self._kinds[row])
        seen = Seen(best, vector, width, height, format, animated, kind)
        self._cache.put(key, seen, seen.nbytes)
        return seen


class TextLane:
    """Texts to logits: ``Lane[str, Vector]``. Rows are gathered as id lists, then padded to one length."""

    def __init__(
        self, bindings: Bindings, encoder: TextEncoder, most: int, *, ids: str, mask: str | None, output: str
    ) -> None:
        self._bindings = bindings
        self._encoder = encoder
        self._ids = ids
        self._mask = mask
        self._logits = bindings.outputs[output]
        self._gathered: list[list[int]] = [[] for _ in range(most)]

    def prepare(self, row: int, payload: str) -> Vector | None:
        self._gathered[row] = self._encoder.encode(payload)
        return None

    def run(self, rows: int, bucket: int) -> None:
        gathered = self._gathered[:rows]
        length = self._encoder.length(max(map(len, gathered)))
        arrays = self._bindings.inputs(length)
        ids = arrays[self._ids]
        mask = arrays[self._mask] if self._mask else None
        ids[:bucket] = self._encoder.pad_id
        if mask is not None:
            mask[:bucket] = 0
            mask[rows:bucket, 0] = 1  # a padding row attends to something, or its softmax divides by zero
        for row, tokens in enumerate(gathered):
            ids[row, : len(tokens)] = tokens
            if mask is not None:
                mask[row, : len(tokens)] = 1
        self._bindings.run(bucket, length)

    def results(self, rows: int) -> list[Vector]:
        return [_kept(row) for row in self._logits[:rows]]


class FusionLane:
    """Text logits and picture features to logits: ``Lane[tuple[Vector, Vector], Vector]``."""

    def __init__(self, bindings: Bindings, output: str) -> None:
        self._bindings = bindings
        arrays = bindings.inputs()
        self._text = arrays["text_logits"]
        self._features = arrays["features"]
        self._logits = bindings.outputs[output]

    def prepare(self, row: int, payload: tuple[Vector, Vector]) -> Vector | None:
        text, features = payload
        if features.shape != self._features.shape[1:]:
            raise Internal(
                f"the fusion model takes {self._features.shape[1:]} features, the tagger gave {features.shape}"
            )
        self._text[row] = text
        self._features[row] = features
        return None

    def run(self, rows: int, bucket: int) -> None:
        self._bindings.run(bucket)

    def results(self, rows: int) -> list[Vector]:
        return [_kept(row) for row in self._logits[:rows]]


def softmax(logits: Vector, temperature: float) -> Vector:
    """Probabilities, float32 of the same shape."""
    scaled = logits.astype(np.float64) / temperature
    scaled = np.exp(scaled - scaled.max())
    shares: Vector = (scaled / scaled.sum()).astype(np.float32)
    return shares


def rank_intents(probabilities: Vector, names: tuple[str, ...]) -> tuple[Intent, ...]:
    """Every intent, the likeliest first."""
    order = np.argsort(-probabilities, kind="stable").tolist()
    values = probabilities.tolist()
    return tuple(Intent(names[index], values[index]) for index in order)


def read_sentiment(probabilities: Vector, names: tuple[str, ...]) -> Sentiment:
    """The likeliest label, and P(positive) - P(negative)."""
    by_name: dict[str, float] = dict(zip(names, probabilities.tolist(), strict=True))
    label = max(by_name, key=by_name.__getitem__)
    return Sentiment(cast(SentimentLabel, label), by_name["positive"] - by_name["negative"])


def best_tags(scores: Array, count: int) -> list[tuple[tuple[int, float], ...]]:
    """Of each row of ``scores``, float[rows, tags], index and score of the ``count`` best; scores are cut to [0, 1]."""
    best = _fast.top_k(np.ascontiguousarray(scores, np.float32), count)
    return [tuple((index, min(max(score, 0.0), 1.0)) for index, score in row) for row in best]


def likeliest_kind(chances: Vector) -> tuple[PictureKind, float]:
    """The kind with the highest of ``chances``, float[3], and that chance."""
    best = int(chances.argmax())
    return KINDS[best], float(chances[best])


def name_tags(best: tuple[tuple[int, float], ...], names: tuple[str, ...], shown: tuple[str, ...]) -> tuple[Tag, ...]:
    """The tags by stable name, and by the label to show."""
    return tuple(Tag(names[index], shown[index], score) for index, score in best)


def _kept(values: Array) -> Vector:
    """A read-only float32 copy: the buffer they lie in is about to be used again.

    By way of bytes, since a NumPy copy of more than 500 elements lets go of the interpreter's lock, for less time than
    it takes to get it back beside a busy event loop.
    """
    return np.frombuffer(values.astype(np.float32, copy=False).tobytes(), np.float32)
