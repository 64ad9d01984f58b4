"""Logs: JSON lines with ids and without secrets of ours, or text for a person."""

import io
import json
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Literal, TextIO

import pytest
import structlog

from csgate.telemetry import Telemetry, open_logger


def test_a_json_line_has_event_level_time_and_fields() -> None:
    stream = io.StringIO()
    open_logger(stream=stream).info("listening", port=8080, name="客服")
    entry = json.loads(stream.getvalue())
    assert entry.pop("timestamp").endswith("Z")
    assert entry == {"event": "listening", "level": "info", "port": 8080, "name": "客服"}


def test_bound_ids_travel_with_the_task() -> None:
    stream = io.StringIO()
    log = open_logger(stream=stream)
    with structlog.contextvars.bound_contextvars(connection="c1", conversation="v1"):
        log.info("message")
    log.info("later")
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (first["connection"], first["conversation"]) == ("c1", "v1")
    assert "connection" not in second


def test_an_exception_is_data_on_the_same_line() -> None:
    stream = io.StringIO()
    log = open_logger(stream=stream)
    try:
        raise ValueError("inside")
    except ValueError:
        log.exception("failed", ref="r1")
    (line,) = stream.getvalue().splitlines()
    entry = json.loads(line)
    assert entry["ref"] == "r1"
    assert entry["exception"][0]["exc_type"] == "ValueError"


def test_the_log_of_an_exception_holds_no_local_variables() -> None:
    stream = io.StringIO()
    log = open_logger(stream=stream)
    token = "eyJ-a-token-of-somebody"
    try:
        raise ValueError("inside")
    except ValueError:
        log.exception("failed")
    assert token not in stream.getvalue()


@pytest.mark.parametrize(("level", "count"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_the_level_filters(level: str, count: int) -> None:
    stream = io.StringIO()
    log = open_logger(level, stream=stream)  # type: ignore[arg-type]
    for name in ("debug", "info", "warning", "error"):
        getattr(log, name)("said")
    assert len(stream.getvalue().splitlines()) == count


def test_the_console_format_is_text() -> None:
    stream = io.StringIO()
    open_logger(format="console", stream=stream).warning("careful", port=1)
    assert "careful" in stream.getvalue()
    assert "port=1" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


def test_what_json_cannot_hold_does_not_break_the_line() -> None:
    stream = io.StringIO()
    open_logger(stream=stream).info("odd", value=object(), raw=b"\xff")
    assert json.loads(stream.getvalue())["event"] == "odd"


def test_a_line_break_from_a_stranger_stays_inside_its_line() -> None:
    stream = io.StringIO()
    open_logger(stream=stream).info("path", path='/\n{"event": "forged"}')
    assert len(stream.getvalue().splitlines()) == 1


@contextmanager
def lost(file: str | int) -> Iterator[TextIO]:
    stream = open(file, "w")  # noqa: SIM115  closing it fails as well
    try:
        yield stream
    finally:
        with suppress(OSError):
            stream.close()


def a_full_disk() -> AbstractContextManager[TextIO]:
    return lost("/dev/full")


def a_reader_that_has_gone() -> AbstractContextManager[TextIO]:
    reading, writing = os.pipe()
    os.close(reading)
    return lost(writing)


@contextmanager
def a_closed_file() -> Iterator[TextIO]:
    stream = io.StringIO()
    stream.close()
    yield stream


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error", "exception"])
@pytest.mark.parametrize("opened", [a_full_disk, a_reader_that_has_gone, a_closed_file])
def test_a_log_that_cannot_be_written_ends_nothing(
    opened: Callable[[], AbstractContextManager[TextIO]], level: str
) -> None:
    with opened() as stream:
        log = open_logger("debug", stream=stream)
        try:
            raise LookupError("what there was to tell")
        except LookupError:
            for _ in range(3):
                getattr(log, level)("failed", padding="x" * 10_000)


@pytest.mark.parametrize("failing", ["write", "flush"])
def test_a_log_goes_on_once_it_can_be_written(failing: Literal["write", "flush"]) -> None:
    class Full(io.StringIO):
        full = True

        def write(self, text: str) -> int:
            self._refuse("write")
            return super().write(text)

        def flush(self) -> None:
            self._refuse("flush")

        def _refuse(self, what: str) -> None:
            if self.full and what == failing:
                raise OSError("no space left")

    stream = Full()
    log = open_logger(stream=stream)
    log.error("during")
    stream.full = False
    log.error("after")
    assert json.loads(stream.getvalue().splitlines()[-1])["event"] == "after"


def test_telemetry_makes_what_it_is_not_given(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = Telemetry(), Telemetry()
    assert first.metrics is not second.metrics
    first.log.info("hello")
    assert json.loads(capsys.readouterr().err)["event"] == "hello"
