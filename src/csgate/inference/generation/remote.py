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
from contextlib import aclosing, asynccontextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Final, cast

import httpx
import msgspec
import trio

from csgate.config import GenerationSettings
from csgate.errors import CsgateError, EngineUnavailable, Overloaded, TurnTimeout
from csgate.inference.generation.breaker import Breaker, BreakerState, Permit
from csgate.inference.generation.remote_answer import AnswerReader, describe_error
from csgate.inference.generation.remote_places import Places
from csgate.inference.generation.remote_request import request_body
from csgate.inference.generation.remote_retry import parse_retry_after, pause_s
from csgate.inference.generation.remote_target import chat_url, is_exposed, open_transport, origin, read_key
from csgate.inference.generation.request import Generated, GenerationRequest, GeneratorInfo
from csgate.telemetry import Telemetry

LINGER_S: Final = 0.25
"""After the answer's last word: for [DONE], the token counts and the response's end, which keeps the connection."""
MAX_BEYOND_BYTES: Final = 16 * 1024
"""What may come after [DONE] before the connection is given up."""
ERROR_BODY_S: Final = 1.0
MAX_ERROR_BODY_BYTES: Final = 16 * 1024
MAX_REASON_CHARS: Final = 300
MAX_CAUSES: Final = 8
LARGE_PICTURES_BYTES: Final = 128 * 1024
"""From here on the request's body is made in a thread: about half a millisecond's work."""
ASCII_PER_TOKEN: Final = 4
TELL_AGAIN_S: Final = 3600.0
"""How often the log names the same mistake in the settings."""

_OK: Final = 200
_OPERATORS_PROBLEM: Final = frozenset({400, 401, 402, 403, 404, 405, 413, 415, 422})
_PASSING: Final = frozenset({408, 425, 429})
_TOO_MANY: Final = 429


class _Failure(Exception):
    """One try came to nothing.

    ``blamed``: it counts against the server. ``transient``: worth another try. ``status`` is the HTTP status, where
    there was one.
    """

    def __init__(
        self,
        detail: str,
        *,
        transient: bool = False,
        blamed: bool = True,
        retry_after: float | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.transient = transient
        self.blamed = blamed
        self.retry_after = retry_after
        self.status = status

    def typed(self) -> CsgateError:
        """What the caller is told."""
        if self.status == _TOO_MANY:
            return Overloaded(f"the remote server: {self}", retry_after=self.retry_after or 1.0)
        return EngineUnavailable(f"the remote server: {self}", retry_after=self.retry_after)


class _Body(httpx.AsyncByteStream):
    """A request's body. httpx's own is an async generator, left behind half-way where the server closes early."""

    def __init__(self, body: bytes) -> None:
        self._parts = iter((body,))

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            return next(self._parts)
        except StopIteration:
            raise StopAsyncIteration from None


class _Answer:
    """One answer in the making, over all its tries."""

    def __init__(self, request: GenerationRequest, on_text: Callable[[str], None], began: float) -> None:
        self.sampling = request.sampling
        self.began = began
        self.pieces: list[str] = []
        self.first_token_s: float | None = None
        self._on_text = on_text

    def give(self, text: str) -> None:
        if self.first_token_s is None:
            self.first_token_s = trio.current_time() - self.began
        self.pieces.append(text)
        self._on_text(text)


class RemoteGenerator:
    """A ``Generator`` (see ``request``). Made by ``open_remote_generator``."""

    def __init__(
        self,
        url: httpx.URL,
        http: httpx.AsyncClient,
        settings: GenerationSettings,
        telemetry: Telemetry,
        *,
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
        self._url = url
        self._http = http
        self._settings = settings
        self._log = telemetry.log.bind(model=name, server=origin(url))
        self._metrics = telemetry.metrics
        self._jitter = jitter
        self._unix_time = unix_time
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
        """See ``Generator.generate``.

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
            generated = await self._by(deadline, request, _Answer(request, on_text, began))
            outcome = generated.finish
        except CsgateError as error:
            outcome = error.code
            raise
        else:
            self._measure(generated)
            return generated
        finally:
            self._metrics.generations.labels(self._info.name, outcome).inc()

    async def _by(self, deadline: float, request: GenerationRequest, answer: _Answer) -> Generated:
        with trio.move_on_at(deadline):
            await trio.lowlevel.checkpoint_if_cancelled()
            async with self._places.place(request.principal, request.priority, deadline):
                body = await self._body(request)
                reader = await self._tries(body, answer, deadline)
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

    async def _body(self, request: GenerationRequest) -> bytes:
        pictures = self._info.pictures
        model = self._settings.model
        size = sum(len(picture.data) for utterance in request.utterances for picture in utterance.pictures)
        if pictures and size > LARGE_PICTURES_BYTES:
            return await trio.to_thread.run_sync(
                lambda: request_body(request, model, pictures=True), abandon_on_cancel=True
            )
        return request_body(request, model, pictures=pictures)

    async def _tries(self, body: bytes, answer: _Answer, deadline: float) -> AnswerReader:
        attempt = 0
        while True:
            try:
                return await self._try(body, answer, deadline)
            except _Failure as failure:
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

    async def _try(self, body: bytes, answer: _Answer, deadline: float) -> AnswerReader:
        """One request, under the breaker's eyes."""
        began = trio.current_time()
        if self._closed:
            raise _Failure("the generator is closed", blamed=False)
        permit = self._breaker.admit(began)
        if permit is None:
            # While the one probe is out nobody knows; a second is soon enough to ask again.
            rest = self._breaker.retry_after(began) or 1.0
            raise EngineUnavailable("the remote server is left alone by the circuit breaker", retry_after=rest)
        reader = AnswerReader(answer.sampling.max_tokens)
        try:
            await self._patiently(body, answer, reader)
        except _Failure as failure:
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

    async def _patiently(self, body: bytes, answer: _Answer, reader: AnswerReader) -> None:
        """Bounds the silence: before the first piece of text, between two, and after the last."""
        with trio.move_on_after(self._settings.first_token_seconds) as patience:
            try:
                await self._exchange(body, answer, reader, patience)
            except httpx.HTTPError as error:
                if reader.finish is None and reader.fault is None:
                    where = "broke off" if answer.pieces else "no answer"
                    raise _Failure(f"{where}: {_reason(error)}", transient=True) from None
        fault = reader.fault
        if fault is not None:
            raise _Failure(str(fault), transient=fault.transient, blamed=fault.blamed)
        if reader.finish is None:
            if not patience.cancelled_caught:
                raise _Failure("broke off: the stream ended before the answer did", transient=True)
            if answer.pieces:
                raise _Failure(f"stalled: no text for {self._settings.silence_seconds:g} s")
            raise _Failure(f"stalled: no text within {self._settings.first_token_seconds:g} s", transient=True)
        if not answer.pieces:
            raise _Failure("an empty answer", blamed=False)

    async def _exchange(self, body: bytes, answer: _Answer, reader: AnswerReader, patience: trio.CancelScope) -> None:
        request = self._http.build_request("POST", self._url, content=body)
        request.stream = _Body(body)
        response = await self._http.send(request, stream=True)
        async with aclosing(response):
            await self._check_head(response)
            beyond = 0
            async for chunk in _body_of(response):
                if reader.over:
                    # Some servers say a little more, and a body read to its end keeps the connection. One that goes on
                    # is left by cancelling: the generators within httpx must not be abandoned half-way.
                    beyond += len(chunk)
                    if reader.fault is not None or beyond > MAX_BEYOND_BYTES:
                        patience.cancel()
                    continue
                reader.feed(chunk)
                ending = reader.finish is not None
                while (text := reader.next_text()) is not None:
                    answer.give(text)
                    patience.deadline = trio.current_time() + self._settings.silence_seconds
                if reader.fault is not None:
                    patience.cancel()
                elif reader.finish is not None and not ending:
                    patience.deadline = trio.current_time() + LINGER_S

    async def _check_head(self, response: httpx.Response) -> None:
        status = response.status_code
        if status != _OK:
            raise _Failure(
                f"HTTP {status}{await _reported(response)}",
                transient=status >= 500 or status in _PASSING,
                # Whoever says 429 or 401 is up and well.
                blamed=status >= 500 or status < 400,
                retry_after=parse_retry_after(response.headers.get("Retry-After"), self._unix_time()),
                status=status,
            )
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind != "text/event-stream":
            raise _Failure(f"the answer is no event stream but {kind[:64]!r}")
        if response.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
            raise _Failure("a compressed answer, which was not asked for")

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

    def _report(self, failure: _Failure, again: bool) -> None:
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


def _reason(error: BaseException) -> str:
    """The kind of ``error``, and the words of what is nearest its root: httpx leaves out why TLS or the system failed."""
    kind, words = type(error).__name__, ""
    cause: BaseException | None = error
    for _ in range(MAX_CAUSES):
        if cause is None:
            break
        words = str(cause) or words
        cause = cause.__cause__ or cause.__context__
    return f"{kind}: {words}"[:MAX_REASON_CHARS]


def _body_of(response: httpx.Response) -> AsyncIterator[bytes]:
    """The body as it comes, undecoded: ``aiter_raw``, also of a response that came whole (by a transport for tests)."""
    return aiter(cast(httpx.AsyncByteStream, response.stream))


async def _reported(response: httpx.Response) -> str:
    """Type and code out of an error's body, if it is short and comes soon."""
    content = bytearray()
    error: Any = None
    with trio.move_on_after(ERROR_BODY_S) as patience:
        async for chunk in _body_of(response):
            content += chunk[: MAX_ERROR_BODY_BYTES - len(content)]
            if len(content) == MAX_ERROR_BODY_BYTES:
                patience.cancel()
    try:
        error = msgspec.json.decode(bytes(content))
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return ""
    return describe_error(error.get("error") if isinstance(error, dict) else None)


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
        generator = RemoteGenerator(url, client, settings, telemetry, jitter=jitter, unix_time=unix_time)
        try:
            yield generator
        finally:
            generator.close()
