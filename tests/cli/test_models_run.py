"""``csgate models run``: lines in, labels out, in order, whatever is in them."""

import io
import json
import os
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio

from csgate.cli import models_run
from csgate.cli.main import build_parser, main
from csgate.cli.models_run import MAX_LINE_BYTES, FoundLine, Labeller, LineSplitter, label_lines, lines_of
from csgate.cli.progress import Progress
from csgate.errors import BadImage, CsgateError, Overloaded
from csgate.events import Intent, Picture, Sentiment, Tag
from csgate.inference import IntentResult, PictureResult, SentimentResult
from csgate.inference.results import Timing

NAMES = {"hello": "greeting", "negative": "bad"}


class Engine:
    """Says what it was asked."""

    def __init__(self, kind: Any = None) -> None:
        self.kind = kind
        self.vectors: list[Any] = []

    async def classify_intent(self, text: str) -> IntentResult:
        if text == "bad":
            raise Overloaded("inner words")
        return IntentResult((Intent("hello", 0.75), Intent("other", 0.25)), Timing())

    async def judge_sentiment(self, text: str, vector: Any = None) -> SentimentResult:
        self.vectors.append(vector)
        return SentimentResult(Sentiment("negative", -0.5), Timing(), vector is not None)

    async def tag_picture(self, picture: Picture, *, language: str) -> PictureResult:
        if bytes(picture.data) == b"no picture":
            raise BadImage
        tag = Tag("angry", f"angry in {language}", 0.9)
        return PictureResult((tag,), np.ones(2, np.float32), 4, 3, "PNG", False, Timing(), kind=self.kind)


def labeller(task: str, engine: Engine | None = None, *, top: int = 5) -> Labeller:
    return Labeller(engine or Engine(), task, "zh", top, NAMES, max_image_bytes=10)


async def refused(task: str, line: dict[str, Any] | bytes | None) -> CsgateError:
    raw = json.dumps(line).encode() if isinstance(line, dict) else line
    with pytest.raises(CsgateError) as caught:
        await labeller(task)(raw)
    return caught.value


@pytest.fixture
def picture(tmp_path: Path) -> str:
    path = tmp_path / "p.png"
    path.write_bytes(b"picture")
    return str(path)


# --- One line --------------------------------------------------------------------------------------------------------


async def test_intents_by_rank() -> None:
    result = await labeller("intent")(b'{"text": "hi", "id": 7}')
    first = {"name": "hello", "label": "greeting", "score": 0.75}
    assert result == {**first, "labels": [first, {"name": "other", "label": "other", "score": 0.25}]}
    assert len((await labeller("intent", top=1)(b'{"text": "hi"}'))["labels"]) == 1


async def test_the_mood_of_text_with_and_without_a_picture(picture: str) -> None:
    engine = Engine()
    ask = labeller("sentiment", engine)
    alone = await ask(b'{"text": "hm"}')
    fused = await ask(json.dumps({"text": "hm", "image": picture}).encode())
    assert alone == {"name": "negative", "label": "bad", "score": -0.5, "fused": False}
    assert fused == {**alone, "fused": True}
    assert engine.vectors[0] is None
    assert engine.vectors[1].tolist() == [1, 1]


async def test_what_a_picture_shows(picture: str) -> None:
    line = json.dumps({"image": picture, "text": "hm"}).encode()
    result = await labeller("tagger")(line)
    assert result.pop("labels") == (Tag("angry", "angry in zh", 0.9),)
    assert result == {"width": 4, "height": 3, "animated": False}
    assert (await labeller("tagger", Engine("photo"))(line))["kind"] == "photo"


async def test_lines_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "large.png").write_bytes(b"x" * 11)
    (tmp_path / "bad.png").write_bytes(b"no picture")
    for task, line, code in [
        ("intent", b"nope", "bad_json"),
        ("intent", b'{"text": "\xff"}', "bad_json"),
        ("intent", b"[" * 100_000, "bad_envelope"),
        ("intent", b"[]", "bad_envelope"),
        ("intent", {"text": 7}, "bad_envelope"),
        ("intent", {"image": "p.png"}, "bad_envelope"),
        ("intent", {"text": " "}, "bad_envelope"),
        ("intent", {"text": "bad"}, "overloaded"),
        ("intent", None, "too_large"),
        ("sentiment", {"image": "p.png"}, "bad_envelope"),
        ("tagger", {"text": "hi"}, "bad_envelope"),
        ("tagger", {"image": str(tmp_path / "none.png")}, "not_found"),
        ("tagger", {"image": str(tmp_path)}, "not_found"),
        ("tagger", {"image": "a\0b"}, "not_found"),
        ("tagger", {"image": str(tmp_path / "large.png")}, "too_large"),
        ("tagger", {"image": str(tmp_path / "bad.png")}, "bad_image"),
    ]:
        error = await refused(task, line)
        assert (error.code, task, line) == (code, task, line)
        assert error.text()


# --- Many lines ------------------------------------------------------------------------------------------------------


def test_lines_come_out_whole_however_they_come_in() -> None:
    data = b"one\n\n  \ntwo\r\nthree"
    whole = [(1, b"one", 4), (4, b"two\r", 5), (5, b"three", 5)]
    for size in range(1, len(data) + 1):
        splitter = LineSplitter()
        found = [line for at in range(0, len(data), size) for line in splitter.feed(data[at : at + size])]
        assert found + splitter.end() == whole


def test_a_line_that_is_too_long_is_not_kept() -> None:
    splitter = LineSplitter()
    found: list[FoundLine] = []
    for _ in range(20):
        found += splitter.feed(b"x" * (MAX_LINE_BYTES // 10))
    assert len(splitter._begun) == MAX_LINE_BYTES + 1
    found += splitter.feed(b"\n" + b"y" * MAX_LINE_BYTES + b"\n")
    assert [(number, content and len(content)) for number, content, _ in found] == [(1, None), (2, MAX_LINE_BYTES)]


async def test_lines_of_a_file() -> None:
    assert [line async for line in lines_of(io.BytesIO(b"a\nb"))] == [(1, b"a", 2), (2, b"b", 1)]
    assert [line async for line in lines_of(io.BytesIO(b""))] == []


async def lines(count: int, taken: list[int]) -> AsyncGenerator[FoundLine]:
    for number in range(1, count + 1):
        taken.append(number)
        yield number, b"%d" % number, 1


async def test_results_are_in_order_and_so_many_are_in_flight(autojump_clock: trio.abc.Clock) -> None:
    taken: list[int] = []
    running = most = 0

    async def label(raw: bytes | None) -> dict[str, Any]:
        nonlocal running, most
        assert raw is not None
        running += 1
        most = max(most, running)
        await trio.sleep(100 if raw == b"1" else 1 / int(raw))
        running -= 1
        if int(raw) % 10 == 0:
            raise BadImage
        return {"said": int(raw)}

    sink = io.BytesIO()
    wrong = await label_lines(lines(50, taken), label, sink, Progress(out=io.StringIO()), in_flight=8)
    results = [json.loads(line) for line in sink.getvalue().splitlines()]
    assert wrong == 5
    assert [result.get("line") or result["error"]["line"] for result in results] == list(range(1, 51))
    assert results[8] == {"line": 9, "said": 9}
    assert results[9]["error"]["code"] == "bad_image"
    assert set(results[9]["error"]) == {"code", "message", "line"}
    assert most <= 8


async def test_a_reader_that_leaves_ends_the_run() -> None:
    class Closed(io.BytesIO):
        def write(self, data: Any) -> int:
            raise BrokenPipeError

    async def label(raw: bytes | None) -> dict[str, Any]:
        return {}

    taken: list[int] = []
    with trio.fail_after(5):
        wrong = await label_lines(lines(10_000, taken), label, Closed(), Progress(out=io.StringIO()), in_flight=8)
    assert wrong is None
    assert len(taken) < 100


# --- The command -----------------------------------------------------------------------------------------------------


@contextmanager
def standard_input(path: Path) -> Iterator[None]:
    """Has file descriptor 0 read ``path``."""
    kept, mine = os.dup(0), os.open(path, os.O_RDONLY)
    os.dup2(mine, 0)
    try:
        yield
    finally:
        os.dup2(kept, 0)
        os.close(kept)
        os.close(mine)


def run(path: Path, *arguments: str) -> int:
    with standard_input(path):
        return main(["models", "run", *arguments])


def test_a_file_through_the_shipped_models(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('{"text": "我的订单12345在哪里？"}\n{"text": "Where is my order 12345?"}\n', encoding="utf-8")
    assert run(source, "intent", "--top", "2", "--language", "zh", "--device", "cpu") == 0
    out, err = capfdbinary.readouterr()
    results = [json.loads(line) for line in out.splitlines()]
    assert [(result["line"], result["name"], len(result["labels"])) for result in results] == [
        (1, "track_order", 2),
        (2, "track_order", 2),
    ]
    assert err == b""
    source.write_text("nope\n", encoding="utf-8")
    assert run(source, "sentiment") == 1
    assert json.loads(capfdbinary.readouterr().out)["error"]["line"] == 1


def test_failures_come_out_of_their_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: Any) -> int:
        raise ExceptionGroup("of a nursery", [Overloaded("inner words")])

    monkeypatch.setattr(models_run, "_run", refuse)
    source = tmp_path / "in.jsonl"
    source.write_text("{}\n", encoding="utf-8")
    assert run(source, "intent") == 1


def test_nobody_reads_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def gone(lines: AsyncGenerator[FoundLine], *_: Any, **__: Any) -> None:
        await lines.aclose()

    monkeypatch.setattr(models_run, "label_lines", gone)
    source = tmp_path / "in.jsonl"
    source.write_text("{}\n", encoding="utf-8")
    arguments = build_parser().parse_args(["models", "run", "intent"])
    with standard_input(source), pytest.raises(BrokenPipeError):
        arguments.run(arguments)


def test_a_task_without_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "run", "tagger", "--models-dir", str(tmp_path)]) == 2
    assert "no model for the task 'tagger'" in capsys.readouterr().err


def test_a_device_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "run", "tagger", "--device", "cuda"]) == 2
    assert "cuda" in capsys.readouterr().err.lower()


@pytest.mark.parametrize(
    "wrong", [["poetry"], ["intent", "--top", "0"], ["intent", "--top", "x"], ["intent", "--language", "de"]]
)
def test_wrong_usage(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["models", "run", *wrong])
    assert "usage: csgate models run" in capsys.readouterr().err
