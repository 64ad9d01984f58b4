"""The body of a request as it comes: bounded in bytes and in time, whatever was announced."""

import math
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Final, TypeVar

import msgspec
import trio
from starlette.requests import Request

from csgate.config import LimitSettings
from csgate.errors import BadEnvelope, BadJson, TooLarge, TurnTimeout

MAX_BODY_BYTES: Final = 64 * 1024
BODY_TIMEOUT_S: Final = 10.0
_Body = TypeVar("_Body")


def announced_bytes(request: Request) -> int | None:
    """What ``Content-Length`` says; None where it says nothing."""
    text = request.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() else None


@asynccontextmanager
async def timed_body(request: Request, limits: LimitSettings, most: int) -> AsyncIterator[AsyncIterator[bytes]]:
    """The body, piece by piece; while the block is busy with one, the client waits.

    The client has ``limits.message_seconds``, and a second more for each ``limits.message_bytes_per_second``; what the
    block does with a piece counts, what it does after the last does not.

    Raises:
        TooLarge: more than ``most`` bytes came.
        TurnTimeout: it was not whole in time.
    """
    with trio.move_on_after(limits.message_seconds) as scope:
        # Starlette gives an async generator; one that is left half-way has to be closed by hand.
        async with (
            aclosing(request.stream()) as stream,
            aclosing(_bounded(stream, scope, most, 1 / limits.message_bytes_per_second)) as chunks,
        ):
            yield chunks
    if scope.cancelled_caught:
        raise _too_slow()


async def _bounded(
    stream: AsyncIterator[bytes], scope: trio.CancelScope, most: int, second_per_byte: float
) -> AsyncGenerator[bytes, None]:
    size = 0
    async for chunk in stream:
        size += len(chunk)
        if size > most:
            raise body_too_large(most)
        scope.deadline += len(chunk) * second_per_byte
        if chunk:
            yield chunk
    scope.deadline = math.inf


async def read_body(request: Request, kind: type[_Body]) -> _Body:
    """The request's JSON body as a ``kind``; an empty body is an empty object.

    Raises:
        TooLarge: more than ``MAX_BODY_BYTES`` came, announced or not.
        TurnTimeout: it was not whole within ``BODY_TIMEOUT_S``.
        BadJson, BadEnvelope: it is not JSON, or not a ``kind``.
    """
    body = bytearray()
    with trio.move_on_after(BODY_TIMEOUT_S) as scope:
        async with aclosing(request.stream()) as chunks:
            async for chunk in chunks:
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise body_too_large(MAX_BODY_BYTES)
    if scope.cancelled_caught:
        raise _too_slow()
    try:
        return msgspec.json.decode(bytes(body).strip() or b"{}", type=kind)
    except msgspec.ValidationError as error:
        raise BadEnvelope(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadJson(str(error)) from None


def body_too_large(most: int) -> TooLarge:
    """The refusal of a body above ``most`` bytes."""
    return TooLarge(
        f"body above {most} bytes",
        public=f"A request here may have at most {most // 1024} KiB.",
        public_zh=f"请求不得超过 {most // 1024} KiB。",
        max_bytes=most,
    )


def _too_slow() -> TurnTimeout:
    return TurnTimeout("body not whole in time", public="The request did not arrive in time.", public_zh="请求超时。")
