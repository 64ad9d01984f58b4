"""The models that read text in pictures: PP-OCR through rapidocr, on the CPU. Blocking; one thread at a time.

rapidocr's wheel brings its models along. They are named to it by path, and what it would otherwise fetch from the
network is checked to be there before it is asked: nothing is ever downloaded. Only this module knows rapidocr.
"""

import hashlib
import importlib
import importlib.metadata
import importlib.util
import os
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from csgate.config import InferenceSettings
from csgate.errors import ConfigError
from csgate.inference.results import Corners, ModelInfo, TextLine
from csgate.inference.runner import CPU_PROVIDER
from csgate.pictures import DecodedPicture, Pixels
from csgate.telemetry import Logger

NICENESS: Final = 10
"""How far threads that read stand back behind those that answer."""

MAX_SIDE: Final = 1280
"""Pictures are read at no more than so many pixels on their longer side."""
DETECTION_SIDE: Final = 960
"""Lines are looked for at no more than so many pixels. 736 do for screenshots, but miss small print in photos."""

LONG: Final = 2.5
"""So many times as high as wide is a long screenshot: read in pieces, as scaled down it would be illegible."""
LONG_WIDTH: Final = 720
PIECE_ROWS: Final = 1280
OVERLAP_ROWS: Final = 64
MAX_PIECES: Final = 4

LEAST_PIXELS: Final = 24
"""Pictures smaller than this either way are not read."""
LEAST_LINE_PIXELS: Final = 6
MAX_LINE_SHAPE: Final = 60
"""What is longer than so many times its height is a ruler and no line of text."""
MAX_SHARE: Final = 0.5
LINE_SHAPE: Final = 3
"""What fills more of a picture than that share is no line, unless it has the shape of one."""
LEAST_SCORE: Final = 0.5
LEAST_CHARS: Final = 2
"""A single letter or digit is mostly an icon."""
MAX_LINE_CHARS: Final = 200

# ONNX metadata ends a file: the entry with the alphabet that rapidocr fetches from the network where it is missing.
_ALPHABET: Final = b"\n\tcharacter\x12"


class Region(NamedTuple):
    """Where a line of text seems to be: its pixels, and its corners as shares of the picture's width and height."""

    pixels: Pixels
    corners: Corners


def model_files() -> tuple[Path, Path]:
    """The detection and the recognition model that came with rapidocr.

    Raises:
        ConfigError: rapidocr is not installed, or came without them.
    """
    spec = importlib.util.find_spec("rapidocr")
    if spec is None or spec.origin is None:
        raise ConfigError("Reading text in pictures needs rapidocr; run pip install 'csgate[ocr]'.")
    folder = Path(spec.origin).parent / "models"
    try:
        shipped = {file.name for file in importlib.metadata.files("rapidocr") or ()}
    except importlib.metadata.PackageNotFoundError:
        shipped = set()
    found = []
    for part, what in (("det", "detection"), ("rec", "recognition")):
        files = sorted(folder.glob(f"*_{part}*.onnx"))
        # Somebody else's use of rapidocr may have put further models there.
        files = [file for file in files if file.name in shipped] or files
        if len(files) != 1:
            raise ConfigError(
                f"rapidocr came with {len(files) or 'no'} {what} models in {folder}, where csgate needs one and "
                "downloads none; install the wheel anew with pip install --force-reinstall 'csgate[ocr]'."
            )
        found += files
    return found[0], found[1]


class TextModel:
    """Finds and reads lines of text. ``info`` tells what it is made of."""

    def __init__(self, threads: int) -> None:
        """Loads the models and runs each once; sessions start their threads with the priority of this one.

        Raises:
            ConfigError: rapidocr or its models are not there, or do not load.
        """
        detection, recognition = model_files()
        hashes = hashlib.sha256()
        for file in (detection, recognition):
            content = file.read_bytes()
            hashes.update(content)
        if _ALPHABET not in content:
            raise ConfigError(f"The recognition model {recognition} has no alphabet in it, and csgate downloads none.")
        try:
            self._cv2: Any = importlib.import_module("cv2")
            self._cv2.setNumThreads(1)
            threads = min(threads, os.cpu_count() or 1)  # rapidocr takes every core for a number that it finds too high
            self._ocr: Any = importlib.import_module("rapidocr").RapidOCR(
                params={
                    "Global.log_level": "critical",
                    "Global.use_preprocess_img": False,  # the picture has its size already
                    "EngineConfig.onnxruntime.intra_op_num_threads": threads,
                    "EngineConfig.onnxruntime.inter_op_num_threads": 1,
                    "Det.model_path": str(detection),
                    "Det.limit_side_len": DETECTION_SIDE,
                    "Det.limit_type": "max",
                    "Rec.model_path": str(recognition),
                }
            )
            blank = np.zeros((64, 64, 3), np.uint8)
            self._detect(blank)
            self._recognise(blank)
        except Exception as error:
            raise ConfigError(
                f"rapidocr does not load ({error!r}); run pip install --force-reinstall 'csgate[ocr]', or set "
                "inference.ocr to 'off'."
            ) from error
        self.info: Final = ModelInfo(
            name="rapidocr",
            version=importlib.metadata.version("rapidocr"),
            task="reader",
            precision="fp32",
            provider=CPU_PROVIDER,
            sha256=hashes.hexdigest(),
            labels=(),
            licence="Apache-2.0",
        )

    def find(self, decoded: DecodedPicture, most: int) -> list[Region]:
        """The first ``most`` lines, by piece of the picture from the top."""
        picture = _bgr(decoded)
        height, width = picture.shape[:2]
        if min(height, width) < LEAST_PIXELS:
            return []
        long = height > LONG * width
        picture = self._shrunk(picture, LONG_WIDTH / width if long else MAX_SIDE / max(height, width))
        regions: list[Region] = []
        for top, core_top, core_end in pieces(picture.shape[0]) if long else ((0, 0, picture.shape[0]),):
            piece = picture[top : top + PIECE_ROWS]
            for box in self._detect(piece):
                middle = top + float(box[:, 1].mean())
                if core_top <= middle < core_end and len(regions) < most:
                    regions += self._region(piece, box, top, picture.shape)
        return regions

    def read(self, region: Region) -> TextLine | None:
        """What a line says; None where that is anybody's guess."""
        text, score = self._recognise(region.pixels)
        text = " ".join("".join(c if c.isprintable() else " " for c in text[:MAX_LINE_CHARS]).split())
        telling = sum(map(str.isalnum, text)) >= LEAST_CHARS and score >= LEAST_SCORE
        return TextLine(text, score, region.corners) if telling else None

    def _region(self, piece: Pixels, box: Any, top: int, shape: tuple[int, ...]) -> list[Region]:
        (pixels,) = self._ocr.crop_text_regions(piece, box[None])
        high, wide = pixels.shape[:2]
        if high < LEAST_LINE_PIXELS or wide > MAX_LINE_SHAPE * high:
            return []
        if wide * high > MAX_SHARE * shape[0] * shape[1] and wide < LINE_SHAPE * high:
            return []
        corners = [
            (min(1.0, max(0.0, float(x) / shape[1])), min(1.0, max(0.0, (float(y) + top) / shape[0]))) for x, y in box
        ]
        return [Region(pixels, (corners[0], corners[1], corners[2], corners[3]))]

    def _detect(self, picture: Pixels) -> Any:
        """float32[N, 4, 2]: corners in pixels, from the upper left clockwise."""
        found = self._ocr(picture, use_det=True, use_cls=False, use_rec=False)
        return () if found.boxes is None else np.asarray(found.boxes, np.float32)

    def _recognise(self, line: Pixels) -> tuple[str, float]:
        read = self._ocr(line, use_det=False, use_cls=False, use_rec=True)
        return str(read.txts[0]), float(read.scores[0])

    def _shrunk(self, picture: Pixels, scale: float) -> Pixels:
        if scale >= 1:
            return picture
        size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
        shrunk: Pixels = self._cv2.resize(picture, size, interpolation=self._cv2.INTER_AREA)
        return shrunk


def load_text_model(settings: InferenceSettings, log: Logger) -> TextModel | None:
    """The models, where ``settings.ocr`` is not ``off``; None for ``auto`` where they cannot be had.

    Raises:
        ConfigError: ``on``, and they cannot be had.
    """
    if settings.ocr == "auto" and importlib.util.find_spec("rapidocr") is None:
        return None
    try:
        return TextModel(settings.ocr_threads)
    except ConfigError as error:
        if settings.ocr == "on":
            raise
        log.warning("inference.reader_unusable", reason=str(error))
        return None


def pieces(height: int) -> list[tuple[int, int, int]]:
    """A long picture in overlapping pieces: the first row of each, and the rows whose lines are its own.

    A line across a piece's end lies whole in the next one; each belongs to the piece that has its middle.
    """
    step = PIECE_ROWS - OVERLAP_ROWS
    starts = [0]
    while starts[-1] + PIECE_ROWS < height and len(starts) < MAX_PIECES:
        starts.append(starts[-1] + step)
    half = OVERLAP_ROWS // 2
    return [
        (start, start + half if start else 0, start + step + half if start != starts[-1] else start + PIECE_ROWS)
        for start in starts
    ]


def _bgr(decoded: DecodedPicture) -> Pixels:
    """uint8[H, W, 3] in the order that the models were trained with; what shows through is white."""
    pixels = decoded.pixels
    if decoded.alpha:
        alpha = pixels[:, :, 3:].astype(np.uint16)
        pixels = ((pixels[:, :, :3] * alpha + 255 * (255 - alpha)) // 255).astype(np.uint8)
    return np.ascontiguousarray(pixels[:, :, 2::-1])
