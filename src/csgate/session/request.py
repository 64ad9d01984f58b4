"""A job in an actor's inbox that somebody waits for."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Generic, TypeVar

import trio

from csgate.errors import Overloaded

if TYPE_CHECKING:
    from csgate.session.actor import Actor

T = TypeVar("T")


class Request(Generic[T]):
    """``coming`` is the id of the message that it brings, if it does. ``done`` is set with ``value`` or ``error``."""

    __slots__ = ("coming", "done", "error", "job", "value")

    def __init__(self, job: Callable[["Actor"], Awaitable[T]], coming: str | None) -> None:
        self.job = job
        self.coming = coming
        self.done = trio.Event()
        self.value: T | None = None
        self.error: Exception | None = Overloaded("the conversations were closed")
