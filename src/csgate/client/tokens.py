"""The token in use, and where the next one comes from."""

from collections.abc import Awaitable, Callable

import trio

from csgate.client.refusals import ChatRefused, ChatUnreachable

TokenSource = Callable[[], Awaitable[str]]
"""Gives a new token each time; ``guest(url)`` is one."""


class Tokens:
    """Shared by all connections of a client, so that two that need a new token get the same one."""

    __slots__ = ("_lock", "_source", "_token")

    def __init__(self, token: str | TokenSource) -> None:
        self._source = None if isinstance(token, str) else token
        self._token = token if isinstance(token, str) else None
        self._lock = trio.Lock()

    @property
    def renewable(self) -> bool:
        """Whether there is somebody to ask for another."""
        return self._source is not None

    async def current(self) -> str:
        """The token to connect with; the first one, and one after :meth:`drop`, is asked for here.

        Raises:
            ChatUnreachable: none can be had for now.
            ChatRefused: none can be had.
        """
        async with self._lock:
            if self._token is None:
                self._token = await self._ask()
            return self._token

    async def after(self, used: str) -> str:
        """One that is newer than ``used``.

        Raises:
            ChatUnreachable, ChatRefused: as :meth:`current`.
        """
        self.drop(used)
        return await self.current()

    def drop(self, used: str | None) -> None:
        """``used`` is no longer good, unless there is a newer one already."""
        if self._token == used and self._source is not None:
            self._token = None

    def replace(self, token: str) -> None:
        """From now on this one."""
        self._token = token

    async def _ask(self) -> str:
        assert self._source is not None
        try:
            return await self._source()
        except (ChatRefused, ChatUnreachable):
            raise
        except (OSError, trio.TooSlowError) as error:
            raise ChatUnreachable(f"There is no token for now ({type(error).__name__}: {error}).") from error
        except Exception as error:
            raise ChatRefused(f"There is no token ({type(error).__name__}: {error}).") from error
