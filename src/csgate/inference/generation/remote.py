"""Answers by a remote server: any that speaks OpenAI's ``POST /v1/chat/completions``, streamed.

    generate ──> Places (so many at once, bounded queue) ──> tries ──> Breaker ──> httpx ──> AnswerReader ──> on_text
                                                               ^                                  │
                                                               └── jitter, Retry-After <──────────┘ no text given yet

Every way through ends in one ``Generated`` or one typed error, by the request's deadline. A try that failed is repeated
only while no text was given to anybody. Leaving early, for whatever reason, closes the connection, which is how such
servers are told to stop.
"""

import math
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final

import httpx
import msgspec
import trio

from csgate.config import GenerationSettings
from csgate.errors import CsgateError, EngineUnavailable, Overloaded, PeerError, TurnTimeout
from csgate.inference.generation.breaker import Breaker, BreakerState, Permit
from csgate.inference.generation.remote_answer import AnswerReader
from csgate.inference.generation.remote_places import Places
from csgate.inference.generation.remote_request import request_body
from csgate.inference.generation.remote_retry import pause_s
from csgate.inference.generation.remote_target import chat_url, is_exposed, open_transport, origin, read_key
from csgate.inference.generation.remote_upstream import Answer, Failure, Upstream
from csgate.inference.generation.request import Generated, GenerationRequest, GeneratorInfo, Sampling
from csgate.telemetry import Telemetry

LARGE_PICTURES_BYTES: Final = 128 * 1024
"""From here on the request's body is made in a thread: about half a millisecond's work."""
ASCII_PER_TOKEN: Final = 4
TELL_AGAIN_S: Final = 3600.0
"""How often the log names the same mistake in the settings."""

_OPERATORS_PROBLEM: Final = frozenset({400, 401, 402, 403, 404, 405, 413, 415, 422})


class RemoteGenerator:
    """A ``Generator`` (see ``request``). Made by ``open_remote_generator``."""

    def __init__(
        self,
        url: httpx.URL,
        http: httpx.AsyncClient,
        settings: GenerationSettings,
        telemetry: Telemetry,
        *,
        key: str | None,
        jitter: Callable[[], float],
        unix_time: Callable[[], float],
    ) -> None:
        name = settings.model or url.host
        self._info = GeneratorInfo(
            name=name,
            kind="remote",
            style="chat",
            provider="openai-compatible",
            prompt_tokens=settings.prompt_tokens,
            pictures=settings.pictures,
        )
        self._upstream = Upstream(url, http, settings, unix_time)
        self._key = key
        self._settings = settings
        self._log = telemetry.log.bind(model=name, server=origin(url))
        self._metrics = telemetry.metrics
        self._jitter = jitter
        self._places = Places(settings.concurrency, settings.queue_items)
        self._breaker = Breaker(settings.breaker_failures, settings.breaker_seconds)
        self._told: dict[int, float] = {}
        self._closed = False
        self._metrics.generating.labels(name).set_function(lambda: self._places.taken)
        self._metrics.generation_waiting.labels(name).set_function(lambda: self._places.waiting)

    @property
    def info(self) -> GeneratorInfo:
        return self._info

    @property
    def breaker_state(self) -> BreakerState:
        """Whether the server is being asked at all."""
        return self._breaker.state

    def count_tokens(self, text: str) -> int:
        """A guess: four ASCII characters a token, one for every other character. Chinese comes out a little high."""
        plain = sum(map(str.isascii, text))
        return math.ceil(plain / ASCII_PER_TOKEN) + len(text) - plain

    async def generate(self, request: GenerationRequest, on_text: Callable[[str], None]) -> Generated:
        """See ``Generator.generate``. ``max_tokens`` of the request is cut to that of the settings.

        Raises:
            Overloaded: the queue here is full, or the server answers 429 to every try.
            TurnTimeout: the request's deadline or ``total_seconds`` passed.
            EngineUnavailable: the server cannot be reached, fails, lies, stalls, breaks off, or is left alone by the
                circuit breaker.
            BadEnvelope: the request cannot be put into this interface.
            BadBase64, UnsupportedImage: one of its pictures cannot be sent on.
        """
        began = trio.current_time()
        deadline = min(request.deadline, began + self._settings.total_seconds)
        outcome = "cancelled"
        try:
            generated = await self._by(deadline, request, Answer(self._sampling(request.sampling), on_text, began))
            outcome = generated.finish
        except CsgateError as error:
            outcome = _outcome(error)
            raise
        else:
            self._measure(generated)
            return generated
        finally:
            self._metrics.generations.labels(self._info.name, outcome).inc()

    def _sampling(self, sampling: Sampling) -> Sampling:
        return msgspec.structs.replace(sampling, max_tokens=min(sampling.max_tokens, self._settings.max_tokens))

    async def _by(self, deadline: float, request: GenerationRequest, answer: Answer) -> Generated:
        with trio.move_on_at(deadline):
            await trio.lowlevel.checkpoint_if_cancelled()
            async with self._places.place(request.principal, request.priority, deadline):
                reader = await self._tries(await self._body(request, answer.sampling), answer, deadline)
                return Generated(
                    text="".join(answer.pieces),
                    finish=reader.finish or "stop",
                    model=self._info.name,
                    prompt_tokens=reader.prompt_tokens,
                    completion_tokens=reader.completion_tokens,
                    first_token_s=answer.first_token_s,
                    total_s=trio.current_time() - answer.began,
                )
        raise TurnTimeout(f"the deadline passed after {len(answer.pieces)} pieces from the remote server")

    async def _body(self, request: GenerationRequest, sampling: Sampling) -> bytes:
        pictures = self._info.pictures
        model = self._settings.model
        size = sum(len(picture.data) for utterance in request.utterances for picture in utterance.pictures)
        if pictures and size > LARGE_PICTURES_BYTES:
            return await trio.to_thread.run_sync(
                lambda: request_body(request.utterances, sampling, model, pictures=True), abandon_on_cancel=True
            )
        return request_body(request.utterances, sampling, model, pictures=pictures)

    async def _tries(self, body: bytes, answer: Answer, deadline: float) -> AnswerReader:
        attempt = 0
        while True:
            try:
                return await self._try(body, answer, deadline)
            except Failure as failure:
                pause = pause_s(attempt, self._jitter(), failure.retry_after)
                again = (
                    failure.transient
                    and not answer.pieces
                    and attempt < self._settings.retries
                    # A pause beyond the deadline would only make a certain failure a late one.
                    and trio.current_time() + pause < deadline
                )
                self._report(failure, again)
                if not again:
                    raise failure.typed() from None
            await trio.sleep(pause)
            attempt += 1

    async def _try(self, body: bytes, answer: Answer, deadline: float) -> AnswerReader:
        """One request, under the breaker's eyes."""
        began = trio.current_time()
        if self._closed:
            raise Failure("the generator is closed", blamed=False)
        permit = self._breaker.admit(began)
        if permit is None:
            # While the one probe is out nobody knows; a second is soon enough to ask again.
            rest = self._breaker.retry_after(began) or 1.0
            raise EngineUnavailable("the remote server is left alone by the circuit breaker", retry_after=rest)
        reader = AnswerReader(answer.sampling.max_tokens, answer.sampling.stop)
        try:
            await self._upstream.ask(body, answer, reader)
        except Failure as failure:
            failure.hide(self._key)
            self._verdict(permit, well=False if failure.blamed else None)
            raise
        except trio.Cancelled:
            # By our own deadline, after the server had time enough; a caller who left says nothing about the server.
            now = trio.current_time()
            if now >= deadline and now - began >= self._settings.first_token_seconds:
                self._verdict(permit, well=False)
            raise
        else:
            self._verdict(permit, well=True)
            return reader
        finally:
            permit.release(trio.current_time())

    # --- Telling ------------------------------------------------------------------------------------------------------

    def _verdict(self, permit: Permit, *, well: bool | None) -> None:
        before = self._breaker.state
        now = trio.current_time()
        if well is None:
            permit.release(now)
        elif well:
            permit.succeed(now)
        else:
            permit.fail(now)
        after = self._breaker.state
        if after is not before and after is BreakerState.OPEN:
            self._log.warning("generation.breaker_open", seconds=self._settings.breaker_seconds)
        elif after is not before:
            self._log.info("generation.breaker_closed")

    def _report(self, failure: Failure, again: bool) -> None:
        status = failure.status
        if status is None or not (status in _OPERATORS_PROBLEM or status < 400):
            self._log.warning("generation.remote_failed", reason=str(failure), again=again)
        elif trio.current_time() >= self._told.get(status, -math.inf):
            # Only the operator can mend it; every request would say the same.
            self._told[status] = trio.current_time() + TELL_AGAIN_S
            self._log.error("generation.remote_refuses", reason=str(failure), hint=_hint(status))

    def _measure(self, generated: Generated) -> None:
        name, metrics = self._info.name, self._metrics
        assert generated.first_token_s is not None
        metrics.first_token.labels(name).observe(generated.first_token_s)
        metrics.generated_tokens.labels(name).inc(generated.completion_tokens)
        took = generated.total_s - generated.first_token_s
        if generated.completion_tokens > 1 and took > 0:
            metrics.tokens_per_second.labels(name).observe((generated.completion_tokens - 1) / took)

    def close(self) -> None:
        """No more tries; those that run fail with their connections."""
        self._closed = True
        self._metrics.generating.labels(self._info.name).set_function(lambda: 0)
        self._metrics.generation_waiting.labels(self._info.name).set_function(lambda: 0)


def _outcome(error: CsgateError) -> str:
    match error:
        case Overloaded():
            return "overloaded"
        case TurnTimeout():
            return "timeout"
        case PeerError():
            return "refused"
        case _:
            return "failed"


def _hint(status: int) -> str:
    match status:
        case 401 | 403:
            return "check generation.api_key or generation.api_key_file"
        case 404 | 405:
            return "check the URL in generation.generator (usually it ends in /v1) and generation.model"
        case _ if status < 400:
            return "generation.generator must name the server itself; redirects are not followed"
        case _:
            return "check generation.model and the sampling settings against what the server takes"


@asynccontextmanager
async def open_remote_generator(
    base_url: str,
    settings: GenerationSettings,
    telemetry: Telemetry,
    *,
    transport: httpx.AsyncBaseTransport | None = None,
    jitter: Callable[[], float] = random.random,
    unix_time: Callable[[], float] = time.time,
) -> AsyncIterator[RemoteGenerator]:
    """A generator that asks the server at ``base_url`` (``https://host/v1``). The key is read once, here.

    ``transport`` replaces the connections, ``jitter`` (a number in [0, 1)) and ``unix_time`` (seconds) the randomness
    and the wall clock: for tests. Everything else goes by Trio's clock.

    Raises:
        ConfigError: the URL, the key, its file, the certificate authorities or the proxy cannot be used.
    """
    url = chat_url(base_url)
    key = read_key(settings)
    headers = {"Accept": "text/event-stream", "Accept-Encoding": "identity", "Content-Type": "application/json"}
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
        if is_exposed(url):
            telemetry.log.warning("generation.key_unencrypted", server=origin(url))
    client = httpx.AsyncClient(
        headers=headers,
        transport=transport or open_transport(settings),
        trust_env=False,
        follow_redirects=False,
        # None are kept: nobody would look at them, and a server could send ever more.
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        # Reading is bounded by the first piece's deadline and the silence after it, not by the socket.
        timeout=httpx.Timeout(None, connect=settings.connect_seconds),
    )
    async with client:
        generator = RemoteGenerator(url, client, settings, telemetry, key=key, jitter=jitter, unix_time=unix_time)
        try:
            yield generator
        finally:
            generator.close()
