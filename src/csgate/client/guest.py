"""Guest tokens over HTTP: the first one, and renewals that keep the subject and so the conversation."""

from collections.abc import Callable
from typing import Final

import httpx
import msgspec

from csgate.client.address import parse_address
from csgate.client.refusals import ChatRefused, ChatUnreachable, cause_of

TIMEOUT_S: Final = 10.0

OpenClient = Callable[[], httpx.AsyncClient]


class _Guest(msgspec.Struct):
    token: str


class _Refusal(msgspec.Struct):
    message: str


def guest(*urls: str, token: str | None = None, open_client: OpenClient | None = None) -> "GuestTokens":
    """Tokens for somebody who is not signed in, for ``connect(token=guest(url))``; or ``await guest(url)()`` for one.

    Args:
        urls: addresses of the gateway as for ``connect``; the next one is asked where nobody answers.
        token: an earlier token of the same guest, to be renewed: up to seven days after its end that keeps the name,
            and with it the conversations.
        open_client: makes the HTTP client.

    Raises:
        ConfigError: an address is none.
    """
    return GuestTokens([parse_address(url).http for url in urls], token, open_client)


class GuestTokens:
    """Asks the gateway for tokens; remembers the last one, to renew it."""

    __slots__ = ("_bases", "_open", "token")

    def __init__(self, bases: list[str], token: str | None = None, open_client: OpenClient | None = None) -> None:
        self._bases = bases
        self._open = open_client or (lambda: httpx.AsyncClient(timeout=TIMEOUT_S))
        self.token = token

    async def __call__(self) -> str:
        """A token for the same guest as before, or for a new one where there was none or it cannot be renewed.

        Raises:
            ChatUnreachable: nobody answers anywhere, or too many ask.
            ChatRefused: the gateway gives no guest tokens.
        """
        failure: ChatUnreachable | None = None
        for base in self._bases:
            try:
                return await self._renew(base)
            except ChatUnreachable as error:
                failure = failure or error
        assert failure is not None
        raise failure

    async def _renew(self, base: str) -> str:
        if self.token is not None:
            status, body = await self._post(base, {"token": self.token})
            if status in (400, 401, 403):
                # Too old, or signed by a gateway that is gone: start over as somebody new.
                self.token = None
        if self.token is None:
            status, body = await self._post(base, {})
        if status == 200:
            try:
                self.token = msgspec.json.decode(body, type=_Guest).token
            except msgspec.DecodeError:
                raise ChatRefused(f"What answers at {base} is not csgate.", status) from None
            return self.token
        reason = _reason(body)
        if status == 429 or status >= 500:
            raise ChatUnreachable(f"{base} gives no guest token now (HTTP {status}): {reason}")
        raise ChatRefused(f"{base} gives no guest token ({reason}) Pass one with --token.", status)

    async def _post(self, base: str, body: dict[str, str]) -> tuple[int, bytes]:
        try:
            async with self._open() as client:
                response = await client.post(f"{base}/v1/guest", json=body)
        except (httpx.HTTPError, OSError) as error:
            raise ChatUnreachable(f"Nobody answers at {base} ({cause_of(error)}); is csgate running there?") from error
        return response.status_code, response.content


def _reason(body: bytes) -> str:
    try:
        return msgspec.json.decode(body, type=_Refusal).message
    except msgspec.DecodeError:
        return "it does not answer as csgate does."
