"""``csgate models run``: labels JSON lines from standard input, for evaluation on anybody's own data."""

import argparse
import io
import os
import stat
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, BinaryIO, Final, Protocol

import msgspec
import trio

from csgate import shipped
from csgate.cli.flags import add_config_flag, add_device_flag, add_models_dir_flag, read_config
from csgate.cli.groups import one_reason
from csgate.cli.progress import Progress
from csgate.config import Config, InferenceSettings
from csgate.errors import BadEnvelope, BadJson, ConfigError, CsgateError, NotFound, TooLarge
from csgate.events import Language, Picture
from csgate.telemetry import Metrics, Telemetry, open_logger

TASKS: Final = ("intent", "sentiment", "tagger")
MAX_LINE_BYTES: Final = 1024 * 1024
READ_BYTES: Final = 64 * 1024
MAX_IN_FLIGHT: Final = 256

_DESCRIPTION = """\
Reads JSON lines from standard input, {"text": ...}, {"image": "<path>"} or both, and writes a JSON line with labels
and scores for each, in the same order. Nothing is stored or sent anywhere.

  intent     needs text; gives the likeliest intents
  sentiment  needs text, and takes an image along; gives the mood, its score from -1 to 1
  tagger     needs an image; gives what it shows

A line that cannot be used gives {"error": {"code", "message", "line"}} and the run goes on; the exit code is then 1.
"""


FoundLine = tuple[int, bytes | None, int]


class RawSource(Protocol):
    """What is read: an unbuffered file, whose ``read`` gives what is there, and nothing at its end."""

    def read(self, size: int, /) -> bytes: ...


class Line(msgspec.Struct, frozen=True):
    """What a line of input says; other fields are passed over."""

    text: str | None = None
    image: str | None = None


_LINE: Final = msgspec.json.Decoder(Line)


class Slot:
    """A line on its way: ``result`` is there once ``done`` is set."""

    __slots__ = ("bytes", "done", "number", "raw", "result")

    def __init__(self, number: int, raw: bytes | None, size: int) -> None:
        self.number = number
        self.raw = raw
        self.bytes = size
        self.done = trio.Event()
        self.result: dict[str, Any] = {}


def add_action(actions: Any) -> None:
    """Declares ``models run``."""
    action = actions.add_parser(
        "run",
        help="label JSON lines from standard input",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="""Example: echo '{"text": "Where is my order?"}' | csgate models run intent""",
        allow_abbrev=False,
    )
    action.add_argument("task", choices=TASKS, help="what to find out")
    action.add_argument(
        "--language", choices=("en", "zh"), default="en", help="language of the labels (default en); names are the same"
    )
    action.add_argument("--top", type=_top, default=5, metavar="N", help="labels for each line (default 5)")
    add_device_flag(action)
    add_models_dir_flag(action)
    add_config_flag(action)
    action.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Labels standard input. Returns 1 if a line could not be used.

    Raises:
        ConfigError: there is no model for the task, or a setting is wrong.
    """
    from csgate.inference.repository import load_repository

    config = read_config(arguments)
    settings = config.inference.model_copy(update={"top_tags": arguments.top})
    root = settings.models_dir or shipped.models_dir()
    model = load_repository(root).get(arguments.task)
    if model is None:
        raise ConfigError(f"There is no model for the task '{arguments.task}' in {root}.")
    names = dict(zip(model.labels.names, model.labels.shown(arguments.language), strict=True))
    # Unbuffered: a thread that waits for more must not hold a lock at the end of the process.
    with open(0, "rb", buffering=0, closefd=False) as source:
        try:
            return trio.run(_run, config, settings, arguments, names, source)
        except BaseExceptionGroup as group:
            raise one_reason(group) from None


async def _run(
    config: Config,
    settings: InferenceSettings,
    arguments: argparse.Namespace,
    names: dict[str, str],
    source: io.FileIO,
) -> int:
    from csgate.inference import open_engine

    telemetry = Telemetry(Metrics(), open_logger("error"))
    async with open_engine(settings, telemetry) as engine:
        labeller = Labeller(
            engine,
            arguments.task,
            arguments.language,
            arguments.top,
            names,
            max_image_bytes=config.limits.max_message_bytes,
        )
        progress = Progress(_size_of(source))
        in_flight = min(MAX_IN_FLIGHT, settings.queue_items)
        wrong = await label_lines(lines_of(source), labeller, sys.stdout.buffer, progress, in_flight=in_flight)
        progress.close()
    if wrong is None:
        raise BrokenPipeError
    return 1 if wrong else 0


class Labeller:
    """Answers one line with the engine."""

    def __init__(
        self, engine: Any, task: str, language: Language, top: int, names: dict[str, str], *, max_image_bytes: int
    ) -> None:
        """``names``: the task's labels by name; ``max_image_bytes``: the largest image file that is read."""
        self._engine = engine
        self._language: Language = language
        self._top = top
        self._names = names
        self._max_image_bytes = max_image_bytes
        self._ask: Callable[[Line], Awaitable[dict[str, Any]]] = {
            "intent": self._intent,
            "sentiment": self._sentiment,
            "tagger": self._tags,
        }[task]

    async def __call__(self, raw: bytes | None) -> dict[str, Any]:
        """What is found in a line; ``None`` stands for one that was too long to be kept.

        Raises:
            CsgateError: it cannot be used.
        """
        if raw is None:
            raise TooLarge(public=f"A line may have at most {MAX_LINE_BYTES} bytes.")
        try:
            line = _LINE.decode(raw)
        except msgspec.ValidationError as error:
            raise BadEnvelope(public=f"{error}.") from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadJson(public=f"The line is not valid JSON: {error}.") from None
        return await self._ask(line)

    async def _intent(self, line: Line) -> dict[str, Any]:
        found = await self._engine.classify_intent(_text(line))
        best = found.ranking[: self._top]
        labels = [self._label(intent.name, intent.confidence) for intent in best]
        return {**labels[0], "labels": labels}

    async def _sentiment(self, line: Line) -> dict[str, Any]:
        text = _text(line)
        vector = None
        if line.image is not None:
            picture = await self._picture(line.image)
            vector = (await self._engine.tag_picture(picture, language=self._language)).vector
        found = await self._engine.judge_sentiment(text, vector)
        return {**self._label(found.sentiment.label, found.sentiment.score), "fused": found.fused}

    async def _tags(self, line: Line) -> dict[str, Any]:
        if line.image is None:
            raise BadEnvelope(public="The line has no image.")
        found = await self._engine.tag_picture(await self._picture(line.image), language=self._language)
        result = {"labels": found.tags, "width": found.width, "height": found.height, "animated": found.animated}
        return result if found.kind is None else {**result, "kind": found.kind}

    def _label(self, name: str, score: float) -> dict[str, Any]:
        return {"name": name, "label": self._names.get(name, name), "score": score}

    async def _picture(self, path: str) -> Picture:
        most = self._max_image_bytes

        def read() -> bytes:
            with open(path, "rb") as file:
                return file.read(most + 1)

        try:
            data = await trio.to_thread.run_sync(read)
        except (OSError, ValueError) as error:  # ValueError: a null character in the path
            reason = getattr(error, "strerror", None) or error
            raise NotFound(public=f"The image cannot be read: {reason}.") from None
        if len(data) > most:
            raise TooLarge(public=f"The image has more than {most} bytes (limits.max_message_bytes).")
        return Picture(data, "binary")


def _text(line: Line) -> str:
    if line.text is None or not line.text.strip():
        raise BadEnvelope(public="The line has no text.")
    return line.text


async def label_lines(
    lines: AsyncGenerator[FoundLine],
    label: Callable[[bytes | None], Awaitable[dict[str, Any]]],
    sink: BinaryIO,
    progress: Progress,
    *,
    in_flight: int,
) -> int | None:
    """Labels ``lines`` side by side, at most ``in_flight`` and those not yet written, and writes results in order.

    Returns:
        How many could not be used; ``None`` where nobody reads the results any more.
    """
    wrong = 0
    broken = False
    send, receive = trio.open_memory_channel[Slot](max(0, in_flight - 2))  # and one at either end of it

    async def work(slot: Slot) -> None:
        try:
            slot.result = {"line": slot.number, **await label(slot.raw)}
        except CsgateError as error:
            told = {"code": error.code, "message": error.text(), "line": slot.number}
            slot.result = {"error": told}
        slot.raw = None
        slot.done.set()

    async def read() -> None:
        async with send, aclosing(lines):
            async for number, raw, size in lines:
                slot = Slot(number, raw, size)
                nursery.start_soon(work, slot)
                await send.send(slot)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        try:
            async for slot in receive:
                if not slot.done.is_set():
                    sink.flush()
                    await slot.done.wait()
                wrong += "error" in slot.result
                sink.write(msgspec.json.encode(slot.result) + b"\n")
                progress.advance(slot.bytes)
            sink.flush()
        except BrokenPipeError:
            broken = True
            nursery.cancel_scope.cancel()
    return None if broken else wrong


class LineSplitter:
    """Pieces of input to lines: number (from 1), content, size in bytes. Blank ones are left out."""

    __slots__ = ("_begun", "_number", "_size")

    def __init__(self) -> None:
        self._number = 0
        self._size = 0
        self._begun = bytearray()

    def feed(self, data: bytes) -> list[FoundLine]:
        """The lines that end in ``data``. The content of one above ``MAX_LINE_BYTES`` is ``None``, and is not kept."""
        *ends, rest = data.split(b"\n")
        found: list[FoundLine] = []
        for end in ends:
            self._keep(end)
            self._size += 1
            found += self.end()
        self._keep(rest)
        return found

    def end(self) -> list[FoundLine]:
        """The line that was begun, if any."""
        if not self._size:
            return []
        self._number += 1
        size, content = self._size, bytes(self._begun)
        self._size = 0
        self._begun.clear()
        if len(content) > MAX_LINE_BYTES:
            return [(self._number, None, size)]
        return [(self._number, content, size)] if content.strip() else []

    def _keep(self, data: bytes) -> None:
        self._size += len(data)
        self._begun += data[: MAX_LINE_BYTES + 1 - len(self._begun)]


async def lines_of(source: RawSource) -> AsyncGenerator[FoundLine]:
    """The lines of ``source``, as soon as each is whole."""
    splitter = LineSplitter()
    # Whoever stops the run does not wait for more input.
    while data := await trio.to_thread.run_sync(source.read, READ_BYTES, abandon_on_cancel=True):
        for line in splitter.feed(data):
            yield line
    for line in splitter.end():
        yield line


def _size_of(source: io.FileIO) -> int | None:
    """The bytes that will come, where that is known: of a file, not of a pipe."""
    found = os.fstat(source.fileno())
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def _top(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= 1000:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number from 1 to 1000")
    return int(text)
