"""Two generators as one: the second is asked where the first could not even begin."""

from collections.abc import Callable

import trio

from csgate.errors import CsgateError, PeerError
from csgate.inference.generation.request import Generated, GenerationRequest, Generator, GeneratorInfo
from csgate.telemetry import Telemetry


class FallbackGenerator:
    """Asks ``first``; if it fails before any text was given, ``second``, within what is left until the deadline.

    Once there was text the error stands: a customer must not read the beginning of one answer and the end of another.
    """

    def __init__(self, first: Generator, second: Generator, telemetry: Telemetry | None = None) -> None:
        self._first = first
        self._second = second
        self._log = telemetry.log if telemetry is not None else None

    @property
    def info(self) -> GeneratorInfo:
        """The first one's: prompts are built for it."""
        return self._first.info

    def count_tokens(self, text: str) -> int:
        """By the first one's count."""
        return self._first.count_tokens(text)

    async def generate(self, request: GenerationRequest, on_text: Callable[[str], None]) -> Generated:
        """See ``Generator.generate``. ``Generated.model`` tells who answered.

        Raises:
            CsgateError: what the first one raised, where it had given text, the request is at fault or its deadline
                has passed; else what the second one raised.
        """
        began = trio.current_time()
        given = False

        def give(text: str) -> None:
            nonlocal given
            given = True
            on_text(text)

        try:
            return await self._first.generate(request, give)
        except PeerError:
            raise
        except CsgateError as error:
            if given or trio.current_time() >= request.deadline:
                raise
            if self._log is not None:
                first, second = self._first.info.name, self._second.info.name
                self._log.info("generation.fallback", model=first, fallback=second, code=error.code)
        lost_s = trio.current_time() - began
        answer = await self._second.generate(request, on_text)
        return _counted_from(answer, lost_s)


def _counted_from(answer: Generated, lost_s: float) -> Generated:
    """Times from the caller's call, not from the second generator's."""
    first = answer.first_token_s
    return Generated(
        text=answer.text,
        finish=answer.finish,
        model=answer.model,
        prompt_tokens=answer.prompt_tokens,
        completion_tokens=answer.completion_tokens,
        first_token_s=None if first is None else first + lost_s,
        total_s=answer.total_s + lost_s,
    )
