"""Why a chat ended: in one sentence, for the person who wanted it."""

from csgate.errors import CsgateError


class ChatUnreachable(CsgateError):
    """Nobody answered at the address, before there was any conversation to come back to."""

    code = "unreachable"


class ChatRefused(CsgateError):
    """The gateway does not want this client, and coming back would not change that.

    ``close_code`` of the connection, or the HTTP status, is in ``number``.
    """

    code = "refused"

    def __init__(self, sentence: str, number: int = 0) -> None:
        super().__init__(sentence)
        self.number = number
