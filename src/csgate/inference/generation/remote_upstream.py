"""One request to a remote server: its bytes go out, its head is checked, its body is read within bounds of time.

What a server can do wrong ends here as a ``Failure``, which says whether it is worth another try and who is to blame.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any, Final, cast

import httpx
import msgspec
import trio

from csgate.config import GenerationSettings
from csgate.errors import CsgateError, EngineUnavailable, Overloaded
from csgate.inference.generation.remote_answer import AnswerReader, describe_error
from csgate.inference.generation.remote_retry import parse_retry_after
from csgate.inference.generation.request import Sampling

LINGER_S: Final = 0.25
"""After the answer's last word: for [DONE], the token counts and the response's end, which keeps the connection."""
MAX_BEYOND_BYTES: Final = 16 * 1024
"""What may come after [DONE] before the connection is given up."""
ERROR_BODY_S: Final = 1.0
MAX_ERROR_BODY_BYTES: Final = 16 * 1024
MAX_REASON_CHARS: Final = 300
MAX_CAUSES: Final = 8

_OK: Final = 200
_PASSING: Final = frozenset({408, 425, 429})
_TOO_MANY: Final = 429


class Failure(Exception):
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

    def hide(self, secret: str | None) -> None:
        """Takes ``secret`` out of the words, then cuts them: some may be the server's, which was told it."""
        words = str(self) if secret is None else str(self).replace(secret, "[key]")
        self.args = (words[:MAX_REASON_CHARS],)

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


class Answer:
    """One answer in the making, over all its tries."""

    def __init__(self, sampling: Sampling, on_text: Callable[[str], None], began: float) -> None:
        self.sampling = sampling
        self.began = began
        self.pieces: list[str] = []
        self.first_token_s: float | None = None
        self._on_text = on_text

    def give(self, text: str) -> None:
        if self.first_token_s is None:
            self.first_token_s = trio.current_time() - self.began
        self.pieces.append(text)
        self._on_text(text)


class Upstream:
    """The server at ``url``, by one HTTP client."""

    def __init__(
        self, url: httpx.URL, http: httpx.AsyncClient, settings: GenerationSettings, unix_time: Callable[[], float]
    ) -> None:
        self._url = url
        self._http = http
        self._settings = settings
        self._unix_time = unix_time

    async def ask(self, body: bytes, answer: Answer, reader: AnswerReader) -> None:
        """One try: sends ``body``, gives the text to ``answer``.

        Silence is bounded: before the first piece of text, between two, and after the last.

        Raises:
            Failure: it came to nothing.
        """
        with trio.move_on_after(self._settings.first_token_seconds) as patience:
            try:
                await self._exchange(body, answer, reader, patience)
            except httpx.HTTPError as error:
                if reader.finish is None and reader.fault is None:
                    where = "broke off" if answer.pieces else "no answer"
                    raise Failure(f"{where}: {_reason(error)}", transient=True) from None
        fault = reader.fault
        if fault is not None:
            raise Failure(str(fault), transient=fault.transient, blamed=fault.blamed)
        if reader.finish is None:
            if not patience.cancelled_caught:
                raise Failure("broke off: the stream ended before the answer did", transient=True)
            if answer.pieces:
                raise Failure(f"stalled: no text for {self._settings.silence_seconds:g} s")
            raise Failure(f"stalled: no text within {self._settings.first_token_seconds:g} s", transient=True)
        if not answer.pieces:
            raise Failure("an empty answer", blamed=False)

    async def _exchange(self, body: bytes, answer: Answer, reader: AnswerReader, patience: trio.CancelScope) -> None:
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
                    if reader.fault is not None or reader.stopped or beyond > MAX_BEYOND_BYTES:
                        patience.cancel()
                    continue
                reader.feed(chunk)
                ending = reader.finish is not None
                while (text := reader.next_text()) is not None:
                    answer.give(text)
                    patience.deadline = trio.current_time() + self._settings.silence_seconds
                if reader.fault is not None or reader.stopped:
                    patience.cancel()
                elif reader.finish is not None and not ending:
                    patience.deadline = trio.current_time() + LINGER_S

    async def _check_head(self, response: httpx.Response) -> None:
        status = response.status_code
        if status != _OK:
            raise Failure(
                f"HTTP {status}{await _reported(response)}",
                transient=status >= 500 or status in _PASSING,
                # Whoever says 429 or 401 is up and well.
                blamed=status >= 500 or status < 400,
                retry_after=parse_retry_after(response.headers.get("Retry-After"), self._unix_time()),
                status=status,
            )
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind != "text/event-stream":
            raise Failure(f"the answer is no event stream but {kind!r}")
        if response.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
            raise Failure("a compressed answer, which was not asked for")


def _reason(error: BaseException) -> str:
    """The kind of ``error``, and the words of what is nearest its root: httpx leaves out what TLS said."""
    kind, words = type(error).__name__, ""
    cause: BaseException | None = error
    for _ in range(MAX_CAUSES):
        if cause is None:
            break
        words = str(cause) or words
        cause = cause.__cause__ or cause.__context__
    return f"{kind}: {words}"


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
