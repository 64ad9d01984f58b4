"""Text in pictures: rapidocr's own models over four fixed screenshots, and the queue around them with stand-ins."""

import importlib.util
import io
import json
import os
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from csgate.config import InferenceSettings
from csgate.errors import BadImage, ConfigError, EngineUnavailable, Overloaded, TurnTimeout
from csgate.events import Picture
from csgate.inference import engine as engine_module
from csgate.inference import open_engine, reading_model
from csgate.inference.cache import ResultCache
from csgate.inference.reading import MAX_LINES, ReadJob, ReadLane, open_reader
from csgate.inference.reading_model import (
    NICENESS,
    OVERLAP_ROWS,
    PIECE_ROWS,
    Region,
    TextModel,
    load_text_model,
    model_files,
    pieces,
)
from csgate.inference.results import ModelInfo, ReadText, TextLine, in_rows
from csgate.inference.tasks import HASHED_ON_LOOP_BYTES
from csgate.telemetry import Telemetry, open_logger

from .conftest import in_base64, picture_file

Make = Callable[..., InferenceSettings]
FOLDER = Path(__file__).parent / "screenshots"
TOLD: dict[str, dict[str, Any]] = json.loads((FOLDER / "told.json").read_text(encoding="utf-8"))
WHO: dict[str, Any] = {"principal": ("t", "p"), "priority": 1, "deadline": float("inf")}
WHITE = Picture(picture_file((255, 255, 255), size=200), "binary")


def box(x: float, y: float, width: float = 0.2, height: float = 0.05) -> Any:
    return ((x, y), (x + width, y), (x + width, y + height), (x, y + height))


def line(text: str, x: float, y: float, **size: float) -> TextLine:
    return TextLine(text, 0.9, box(x, y, **size))


def outcomes(telemetry: Telemetry) -> dict[str, float]:
    return {
        sample.labels["outcome"]: sample.value
        for metric in telemetry.metrics.pictures_read.collect()
        for sample in metric.samples
        if sample.name.endswith("_total")
    }


@pytest.fixture(scope="module")
def model() -> TextModel:
    """The real one; half a second of work."""
    loaded = load_text_model(InferenceSettings(ocr="on"), Telemetry().log)
    assert loaded is not None
    return loaded


@pytest.fixture
def readable(model: TextModel, settings: Make, monkeypatch: pytest.MonkeyPatch) -> InferenceSettings:
    """Settings of an engine that reads."""
    monkeypatch.setattr(engine_module, "load_text_model", lambda *_: model)
    return settings(ocr="on")


class Model:
    """Finds as many lines as it is told, and reads each when it is let."""

    info = ModelInfo("tiny-reader", "1", "reader", "fp32", "CPUExecutionProvider", "feed", ())

    def __init__(self, lines: int = 3, gate: threading.Event | None = None) -> None:
        self.lines = lines
        self.gate = gate
        self.begun = threading.Event()
        self.read_lines = 0
        self.looks = 0
        self.niceness = 0

    def find(self, decoded: Any, most: int) -> list[Region]:
        self.looks += 1
        self.niceness = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        return [Region(np.zeros((9, 9, 3), np.uint8), box(0.1, number / 100)) for number in range(self.lines)][:most]

    def read(self, region: Region) -> TextLine | None:
        self.begun.set()
        if self.gate is not None:
            assert self.gate.wait(10)
        self.read_lines += 1
        return TextLine(f"line {self.read_lines}", 0.9, region.corners) if self.read_lines != 2 else None


# --- What is read ----------------------------------------------------------------------------------------------------


async def test_reads_english_and_chinese_screenshots(readable: InferenceSettings, telemetry: Telemetry) -> None:
    async with open_engine(readable, telemetry) as engine:
        assert engine.can("reader")
        info = engine.info.models["reader"]
        assert (info.name, info.task, info.provider) == ("rapidocr", "reader", "CPUExecutionProvider")
        for name, told in TOLD.items():
            read = await engine.read_picture(Picture((FOLDER / name).read_bytes(), "binary"))
            # All of it, but for spaces and the width of signs.
            bare = ["".join(text.split()).replace(":", "：").replace("?", "？") for text in read.rows]
            assert bare == ["".join(text.split()).replace(":", "：").replace("?", "？") for text in told["lines"]]
            assert told["order"] in " ".join(read.rows)
            assert read.complete
            for one in read.lines:
                (left, top), (right, _), (_, bottom), _ = one.box
                assert 0 <= left < right <= 1
                assert 0 <= top < bottom <= 1
                assert one.score > 0.5
    assert outcomes(telemetry) == {"text": len(TOLD)}
    wanted = {"model": "rapidocr", "version": info.version, "provider": info.provider, "precision": "fp32"}
    assert telemetry.metrics.registry.get_sample_value("csgate_model_info", wanted) == 1


async def test_a_picture_is_read_once(readable: InferenceSettings, telemetry: Telemetry) -> None:
    picture = Picture((FOLDER / "parcel-en-720.jpg").read_bytes(), "binary")
    large = Picture(bytes(picture.data) + bytes(HASHED_ON_LOOP_BYTES), "binary")
    async with open_engine(readable, telemetry) as engine:
        for sent in (picture, large):
            first = await engine.read_picture(sent, principal="anna")
            again = await engine.read_picture(sent, principal="bert")
            assert first.lines == again.lines
            assert first.lines
            assert (first.timing.cached, again.timing.cached) == (False, True)
            assert first.timing.total_ms > first.timing.run_ms > 0
    hits = telemetry.metrics.registry.get_sample_value("csgate_inference_cache_hits_total", {"model": "rapidocr"})
    assert hits == 2


@pytest.mark.parametrize("size", [8, 200, 2000])
async def test_in_a_picture_without_text_nothing_is_read(
    readable: InferenceSettings, telemetry: Telemetry, size: int
) -> None:
    picture = in_base64(picture_file((90, 140, 60), size=size))
    async with open_engine(readable, telemetry) as engine:
        assert (await engine.read_picture(picture)).lines == ()
    assert outcomes(telemetry) == {"none": 1}


async def test_a_photo_of_text_is_read(readable: InferenceSettings, telemetry: Telemetry) -> None:
    photo = Image.new("RGB", (1600, 1200), (70, 110, 60))
    photo.paste(Image.open(FOLDER / "parcel-en-720.jpg").rotate(2, fillcolor=(70, 110, 60)), (300, 200))
    file = io.BytesIO()
    photo.save(file, "JPEG", quality=80)
    async with open_engine(readable, telemetry) as engine:
        read = await engine.read_picture(Picture(file.getvalue(), "binary"))
    assert "Parcel tracking" in read.rows
    assert "ORD-182962" in " ".join(read.rows)


async def test_what_shows_through_is_white(readable: InferenceSettings, telemetry: Telemetry) -> None:
    grey = Image.open(FOLDER / "parcel-en-720.jpg").convert("L")
    glyphs = Image.new("RGBA", grey.size, (0, 0, 0, 0))
    glyphs.putalpha(grey.point(lambda value: 255 - value))
    file = io.BytesIO()
    glyphs.save(file, "PNG")
    async with open_engine(readable, telemetry) as engine:
        read = await engine.read_picture(Picture(file.getvalue(), "binary"))
    assert "Parcel tracking" in read.rows


async def test_a_long_screenshot_is_read_in_pieces(readable: InferenceSettings, telemetry: Telemetry) -> None:
    names = ["payment-zh-480.jpg", "payment-en-480-dark.jpg", "payment-zh-480.jpg"]
    long = Image.new("RGB", (480, 854 * len(names)))
    for number, name in enumerate(names):
        long.paste(Image.open(FOLDER / name), (0, 854 * number))
    file = io.BytesIO()
    long.save(file, "JPEG", quality=85)
    async with open_engine(readable, telemetry) as engine:
        read = await engine.read_picture(Picture(file.getvalue(), "binary"))
    rows = [row.partition("：")[0].partition(":")[0] for row in read.rows]
    zh = ["支付失败", "错误6933", "您的账户没有被扣款。", "订单号", "合计", "联系客服"]
    en = ["Payment failed", "Error 8959", "Your account was not charged.", "Order number", "Total", "Contact support"]
    assert rows == [*zh, *en, *zh]


def test_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading and reading, with the network and rapidocr's own downloads closed."""

    def refuse(*_: Any, **__: Any) -> None:
        pytest.fail("tried to reach the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr("rapidocr.utils.download_file.DownloadFile.run", refuse)
    model = TextModel(2)
    detection, recognition = model_files()
    assert detection.parent == recognition.parent == Path(importlib.util.find_spec("rapidocr").origin).parent / "models"  # type: ignore[union-attr, arg-type]
    assert len(model.info.sha256) == 64


# --- Where it cannot be had ------------------------------------------------------------------------------------------


def installed_at(folder: Path | None, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = None if folder is None else SimpleNamespace(origin=str(folder / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: spec)


def test_without_rapidocr_nothing_is_read_unless_it_must(monkeypatch: pytest.MonkeyPatch) -> None:
    installed_at(None, monkeypatch)
    log = io.StringIO()
    assert load_text_model(InferenceSettings(ocr="auto"), open_logger("debug", "json", log)) is None
    assert not log.getvalue()
    with pytest.raises(ConfigError, match=r"pip install 'csgate\[ocr\]'"):
        load_text_model(InferenceSettings(ocr="on"), open_logger("debug", "json", log))


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ((), "no detection models"),
        (("a_det.onnx", "b_det.onnx", "a_rec.onnx"), "2 detection models"),
        (("a_det.onnx",), "no recognition models"),
        (("a_det.onnx", "a_rec.onnx"), "no alphabet"),
    ],
)
def test_a_rapidocr_without_its_models_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: tuple[str, ...], said: str
) -> None:
    installed_at(tmp_path, monkeypatch)
    (tmp_path / "models").mkdir()
    for name in files:
        (tmp_path / "models" / name).write_bytes(b"no model")
    with pytest.raises(ConfigError, match=said):
        load_text_model(InferenceSettings(ocr="on"), Telemetry().log)
    log = io.StringIO()
    assert load_text_model(InferenceSettings(ocr="auto"), open_logger("debug", "json", log)) is None
    assert "inference.reader_unusable" in log.getvalue()


def test_models_that_do_not_load_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a_det.onnx", "a_rec.onnx"):
        (tmp_path / name).write_bytes(b"no model\n\tcharacter\x12")
    monkeypatch.setattr(reading_model, "model_files", lambda: (tmp_path / "a_det.onnx", tmp_path / "a_rec.onnx"))
    with pytest.raises(ConfigError, match="rapidocr does not load"):
        TextModel(1)


def test_models_that_others_put_there_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = model_files()
    installed_at(tmp_path, monkeypatch)
    (tmp_path / "models").mkdir()
    for name in (*(file.name for file in shipped), "zz_det.onnx", "aa_rec.onnx"):
        (tmp_path / "models" / name).touch()
    assert [file.name for file in model_files()] == [file.name for file in shipped]
    monkeypatch.setattr(importlib.metadata, "files", absent)
    with pytest.raises(ConfigError, match="2 detection models"):
        model_files()


def absent(name: str) -> None:
    raise importlib.metadata.PackageNotFoundError(name)


async def test_an_engine_that_does_not_read(settings: Make, telemetry: Telemetry) -> None:
    async with open_engine(settings(ocr="off"), telemetry) as engine:
        assert not engine.can("reader")
        with pytest.raises(EngineUnavailable, match="no reader"):
            await engine.read_picture(WHITE)


# --- The queue around it ---------------------------------------------------------------------------------------------


async def test_a_bad_picture_is_refused(settings: Make, telemetry: Telemetry) -> None:
    async with open_reader(Model(), settings(), telemetry) as reader:  # type: ignore[arg-type]
        with pytest.raises(BadImage):
            await reader.read(Picture(b"\xff\xd8\xff no picture", "binary"), **WHO)
        assert len((await reader.read(WHITE, **WHO)).lines) == 2


async def test_too_many_pictures_are_refused_and_one_that_is_let_go_of_leaves(
    settings: Make, telemetry: Telemetry
) -> None:
    """One is being read and one waits; a third is refused, until the one that waits is let go of."""
    gate = threading.Event()
    model = Model(gate=gate)
    async with open_reader(model, settings(ocr_queue=1), telemetry) as reader, trio.open_nursery() as nursery:  # type: ignore[arg-type]

        async def read(size: int, scope: trio.CancelScope) -> None:
            with scope:
                await reader.read(Picture(picture_file(size=size), "binary"), **WHO)

        scopes = [trio.CancelScope() for _ in range(2)]
        nursery.start_soon(read, 30, scopes[0])
        assert await trio.to_thread.run_sync(model.begun.wait, 10)
        nursery.start_soon(read, 31, scopes[1])
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(Overloaded):
            await reader.read(Picture(picture_file(size=32), "binary"), **WHO)
        scopes[1].cancel()
        await trio.testing.wait_all_tasks_blocked()
        scopes[0].cancel()  # and the one that is being read stops before its next line
        await trio.testing.wait_all_tasks_blocked()
        gate.set()
        await reader.read(Picture(picture_file(size=33), "binary"), **WHO)
    assert model.read_lines == 1 + 3
    assert model.looks == 2
    assert outcomes(telemetry) == {"refused": 1, "text": 1}


async def test_what_takes_too_long_goes_unread(settings: Make, telemetry: Telemetry) -> None:
    gate = threading.Event()
    async with open_reader(Model(gate=gate), settings(ocr_seconds=0.05), telemetry) as reader:  # type: ignore[arg-type]
        with pytest.raises(TurnTimeout):
            await reader.read(WHITE, **WHO)
        gate.set()
    assert outcomes(telemetry) == {"late": 1}


def test_lines_read_in_time_are_kept_and_not_cached() -> None:
    clock = iter(range(10))
    cache: ResultCache[ReadText] = ResultCache(10, 10_000)
    model = Model(lines=5)
    lane = ReadLane(model, cache, 1_000_000, lambda: next(clock))  # type: ignore[arg-type]
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(lane.prepare, 0, ReadJob(WHITE, None, until=3)).result() is None
        lane.run(1, 1)
        assert model.niceness == min(19, os.getpriority(os.PRIO_PROCESS, 0) + NICENESS)
        (read,) = lane.results(1)
        assert not read.complete
        assert [one.text for one in read.lines] == ["line 1", "line 3"]
        assert len(cache) == 0
        assert thread.submit(lane.prepare, 0, ReadJob(WHITE, None, until=99)).result() is None
        lane.run(1, 1)
    assert lane.results(1)[0].complete
    assert len(cache) == 1
    assert lane.prepare(0, ReadJob(WHITE, None, until=99)) is not None


async def test_without_a_cache_every_picture_is_read(settings: Make, telemetry: Telemetry) -> None:
    model = Model(lines=MAX_LINES + 9)
    async with open_reader(model, settings(cache_items=0), telemetry) as reader:  # type: ignore[arg-type]
        for _ in range(2):
            assert not (await reader.read(WHITE, **WHO)).timing.cached
    assert model.looks == 2
    assert model.read_lines == 2 * MAX_LINES


# --- Pure parts ------------------------------------------------------------------------------------------------------


def test_what_stands_side_by_side_is_a_row() -> None:
    lines = [
        line("88213", 0.6, 0.101),
        line("Total", 0.1, 0.2),
        line("Order number", 0.1, 0.1),
        line("$ 12.00", 0.7, 0.215, height=0.02),
        line("Pay", 0.4, 0.3),
    ]
    assert ReadText(tuple(lines)).rows == ("Order number 88213", "Total $ 12.00", "Pay")
    assert in_rows([]) == []
    assert ReadText(()).rows == ()


@given(st.integers(1, 9000))
def test_every_row_belongs_to_one_piece(height: int) -> None:
    cut = pieces(height)
    assert cut[0][:2] == (0, 0)
    for (start, _, end), (following, core, _) in pairwise(cut):
        assert end == core
        assert following + OVERLAP_ROWS // 2 == core
        assert start + PIECE_ROWS - OVERLAP_ROWS // 2 == end
    last = cut[-1]
    assert last[2] == last[0] + PIECE_ROWS
    assert last[2] >= min(height, cut[0][2])


@pytest.mark.parametrize(
    ("size", "expected"), [((20, 20), True), ((2, 60), False), ((90, 300), True), ((4, 40), False), ((95, 100), False)]
)
def test_what_has_no_shape_of_a_line_is_none(model: TextModel, size: tuple[int, int], expected: bool) -> None:
    high, wide = size
    pixels = np.zeros((100, 400 if wide > 100 else 100, 3), np.uint8)
    corners = np.array([(0, 0), (wide - 1, 0), (wide - 1, high - 1), (0, high - 1)], np.float32)
    assert bool(model._region(pixels, corners, 0, pixels.shape)) is expected
