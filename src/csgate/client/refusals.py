"""Why a chat ended: in one sentence, for the person who wanted it."""

from csgate.errors import CsgateError


def cause_of(error: BaseException) -> str:
    """What the system said in the end: libraries wrap it several times over."""
    while True:
        inner = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error.__cause__ or error.__context__
        if inner is None:
            break
        error = inner
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


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
