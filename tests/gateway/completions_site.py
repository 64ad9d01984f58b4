"""csgate's OpenAI-compatible endpoint with a scripted generator and a scripted dialog, for tests."""

import io
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import trio

from csgate.auth import Authenticator
from csgate.config import Config, load_config
from csgate.errors import BadEnvelope, BadImage, EngineUnavailable, Overloaded, TurnTimeout
from csgate.events import Draft, Intent, Sentiment, Tag
from csgate.gateway.admission import Buckets
from csgate.gateway.completions import Completions, Room
from csgate.gateway.door import Door, Readiness
from csgate.gateway.http import build_app
from csgate.inference.generation import Generated, GenerationRequest, GeneratorInfo
from csgate.session import Turn
from csgate.telemetry import Metrics, Telemetry, open_logger

SECRET = "a-secret-for-tests-of-more-than-thirty-two-bytes"
NOW = 1_800_000_000.0
NAME = "org/tiny-writer"

ERRORS: dict[str, Callable[[], Exception]] = {
    "overloaded": lambda: Overloaded("full", retry_after=2.5),
    "unavailable": lambda: EngineUnavailable("the inner reason"),
    "late": lambda: TurnTimeout(),
    "too much": lambda: BadEnvelope("longer than the context"),
    "broken": lambda: RuntimeError("the inner reason"),
    "bad picture": lambda: BadImage("the inner reason"),
}


class ScriptedGenerator:
    """Does what the last message says: fails, holds after its first piece, or repeats the words."""

    def __init__(self, name: str = NAME, pictures: bool = False) -> None:
        self.info = GeneratorInfo(name, "local", "chat", "CPUExecutionProvider", 1024, pictures)
        self.requests: list[GenerationRequest] = []
        self.cancelled = trio.Event()
        self.held = trio.Event()

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    async def generate(self, request: GenerationRequest, on_text: Callable[[str], None]) -> Generated:
        self.requests.append(request)
        said = request.utterances[-1].text
        first, _, rest = said.partition(": ")
        if first in ERRORS:
            raise ERRORS[first]()
        words = said.split()[: request.sampling.max_tokens]
        finish = "stop" if len(words) == len(said.split()) else "length"
        for number, word in enumerate(words):
            on_text(word if number == 0 else f" {word}")
            await trio.lowlevel.checkpoint()
            if first == "fail" and number == 1:
                raise ERRORS[rest.split(" ")[0]]()
            if word == "hold" and number == 0:
                self.held.set()
                try:
                    await trio.sleep_forever()
                finally:
                    self.cancelled.set()
        counted = (sum(self.count_tokens(one.text) for one in request.utterances), len(words))
        if first == "uncounted":
            counted = (0, 0)
        return Generated(" ".join(words), finish, "fallback" if first == "fall back" else self.info.name, *counted)


class Site:
    """The app of one node, its client, and what was asked of it."""

    def __init__(self, config: Config, generator: ScriptedGenerator | None, settings: dict[str, Any]) -> None:
        self.stream_io = io.StringIO()
        self.telemetry = Telemetry(Metrics(), open_logger("debug", stream=self.stream_io))
        self.config = config
        self.auth = Authenticator(config.auth, secret=SECRET)
        self.generator = generator
        self.turns: list[Turn] = []
        self.draining = False
        self.request_wait: float | None = None
        self.cancelled = trio.Event()
        clock = trio.current_time
        limits = config.limits
        self.completions = Completions(
            config=config,
            auth=self.auth,
            telemetry=self.telemetry,
            answer=self.answer,
            generator=generator,
            messages=Buckets(limits.messages_per_second, limits.messages_burst, clock),
            picture_bytes=Buckets(limits.picture_bytes_per_second, limits.picture_bytes_burst, clock),
            room=settings.get("room") or Room(config.session.max_open_turns, config.session.max_open_bytes),
            draining=lambda: self.draining,
            now=lambda: NOW,
            started=int(NOW),
        )
        door = Door(
            config=config,
            auth=self.auth,
            telemetry=self.telemetry,
            trusted=(),
            readiness=lambda: Readiness(True, (), {}),
            allow_guest=lambda _: None,
            allow_request=lambda _: self.request_wait,
            now=lambda: NOW,
            completions=self.completions,
        )
        self.app = build_app(door)
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        headers = {"Authorization": f"Bearer {self.token()}"}
        self.client = httpx.AsyncClient(transport=transport, base_url="http://gate.example", headers=headers)

    def token(self, subject: str = "crm", role: Any = "service", lifetime: float = 60, **claims: Any) -> str:
        return self.auth.mint(subject, role=role, lifetime_s=lifetime, now=NOW, **claims)

    async def answer(self, turn: Turn) -> Draft:
        """The dialog: fails, streams, holds, or answers in one piece, as the message says."""
        self.turns.append(turn)
        first, _, rest = turn.text.partition(": ")
        if first in ERRORS:
            raise ERRORS[first]()
        if first == "hold":
            try:
                await trio.sleep_forever()
            finally:
                self.cancelled.set()
        if first in ("stream", "stream and change", "stream and escape", "stream part"):
            for piece in rest.split():
                turn.delta(piece)
                await trio.lowlevel.checkpoint()
            whole = "".join(rest.split())
            text = {"stream": whole, "stream part": f"{whole}, and more"}.get(first, "Other words.")
            return Draft(text, source="generated" if first == "stream and escape" else "canned")
        return Draft(
            f"re: {turn.text}",
            intent=Intent("track_order", 0.9),
            sentiment=Sentiment("negative", -0.5),
            tags=(Tag("angry", "angry", 0.8),) if turn.picture is not None else (),
            analysis="An angry one.",
            source="ask",
            quick_replies=("Yes",),
        )

    async def ask(self, *said: Any, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
        """Posts a completion; ``said``: the user's and the assistant's messages in turn, or whole messages."""
        speakers = ("user", "assistant")
        messages = [
            one if isinstance(one, dict) else {"role": speakers[number % 2], "content": one}
            for number, one in enumerate(said)
        ]
        body = {"model": "csgate", "messages": messages} | fields
        return await self.client.post("/v1/chat/completions", json=body, headers=headers)

    async def stream(self, *said: Any, **fields: Any) -> list[Any]:
        """The chunks of a streaming answer, ``"[DONE]"`` as it is."""
        response = await self.ask(*said, stream=True, **fields)
        assert response.status_code == 200, response.text
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        return read_events(response.text)

    async def post(self, chunks: list[bytes]) -> httpx.Response:
        """Posts a body of unannounced length, piece by piece, until the answer is there."""
        pieces = iter(chunks)
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            piece = next(pieces, None)
            return {"type": "http.request", "body": piece or b"", "more_body": piece is not None}

        async def send(message: Any) -> None:
            sent.append(message)

        await self.app(self.scope(), receive, send)
        return httpx.Response(sent[0]["status"], headers=sent[0]["headers"], content=sent[1]["body"])

    def scope(self) -> dict[str, Any]:
        """Of a request for a completion."""
        return {
            "type": "http",
            "method": "POST",
            "path": "/v1/chat/completions",
            "headers": [(b"authorization", f"Bearer {self.token()}".encode())],
            "query_string": b"",
            "client": ("192.0.2.7", 1),
            "server": ("gate.example", 80),
            "scheme": "http",
            "http_version": "1.1",
        }

    def metric(self, name: str, **labels: str) -> float:
        return self.telemetry.metrics.registry.get_sample_value(name, labels) or 0.0

    @property
    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream_text.splitlines()]

    @property
    def stream_text(self) -> str:
        return self.stream_io.getvalue()


def read_events(text: str) -> list[Any]:
    events = text.split("\n\n")
    assert events.pop() == ""
    assert all(one.startswith("data: ") for one in events)
    return [one[6:] if one == "data: [DONE]" else json.loads(one[6:]) for one in events]


@asynccontextmanager
async def open_site(
    generator: ScriptedGenerator | None = None, *, room: Room | None = None, **sections: Any
) -> AsyncIterator[Site]:
    """A site; takes sections of the configuration by name. Fails if a place is still taken at the end."""
    config = load_config(None, sections, environ={})
    with trio.fail_after(60):
        site = Site(config, generator, {"room": room})
        async with site.client:
            yield site
            await site.completions.room.empty()


def said_in(chunks: list[Any]) -> str:
    """The text of a stream."""
    return "".join(
        choice["delta"].get("content", "") for chunk in chunks if chunk != "[DONE]" for choice in chunk["choices"]
    )
