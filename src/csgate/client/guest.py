"""Guest tokens over HTTP: the first one, and renewals that keep the subject and so the conversation."""

from collections.abc import Callable
from typing import Final

import httpx
import msgspec

from csgate.client.refusals import ChatRefused, ChatUnreachable, cause_of

TIMEOUT_S: Final = 10.0


class _Guest(msgspec.Struct):
    token: str


class _Refusal(msgspec.Struct):
    message: str


class GuestTokens:
    """Asks the gateway at ``base`` (``http://host:port``) for tokens; remembers the last one, to renew it."""

    __slots__ = ("_base", "_open", "token")

    def __init__(self, base: str, open_client: Callable[[], httpx.AsyncClient] | None = None) -> None:
        self._base = base
        self._open = open_client or (lambda: httpx.AsyncClient(timeout=TIMEOUT_S))
        self.token: str | None = None

    async def renew(self) -> str:
        """A token for the same guest as before, or for a new one where there was none or it cannot be renewed.

        Raises:
            ChatUnreachable: nobody answers, or too many ask.
            ChatRefused: the gateway gives no guest tokens.
        """
        if self.token is not None:
            status, body = await self._post({"token": self.token})
            if status in (400, 401, 403):
                # Too old, or signed by a gateway that is gone: start over as somebody new.
                self.token = None
        if self.token is None:
            status, body = await self._post({})
        if status == 200:
            try:
                self.token = msgspec.json.decode(body, type=_Guest).token
            except msgspec.DecodeError:
                raise ChatRefused(f"What answers at {self._base} is not csgate.", status) from None
            return self.token
        reason = _reason(body)
        if status == 429 or status >= 500:
            raise ChatUnreachable(f"{self._base} gives no guest token now (HTTP {status}): {reason}")
        raise ChatRefused(f"{self._base} gives no guest token ({reason}) Pass one with --token.", status)

    async def _post(self, body: dict[str, str]) -> tuple[int, bytes]:
        try:
            async with self._open() as client:
                response = await client.post(f"{self._base}/v1/guest", json=body)
        except (httpx.HTTPError, OSError) as error:
            raise ChatUnreachable(
                f"Nobody answers at {self._base} ({cause_of(error)}); is csgate running there?"
            ) from error
        return response.status_code, response.content


def _reason(body: bytes) -> str:
    try:
        return msgspec.json.decode(body, type=_Refusal).message
    except msgspec.DecodeError:
        return "it does not answer as csgate does."
