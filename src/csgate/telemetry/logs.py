"""Structured logs by structlog: one JSON object a line on standard error, or coloured text for a person.

Connection, conversation and turn ids travel as bound context variables; Trio gives each task its own copy.
"""

import logging
import sys
from contextlib import suppress
from typing import Literal, TextIO, cast

import structlog
from structlog.typing import FilteringBoundLogger, Processor

Logger = FilteringBoundLogger

# Local variables stay out: tokens and what customers wrote are among them.
_EXCEPTIONS = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False, max_frames=30)
)
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class _Writer(structlog.WriteLogger):
    """Loses a line that cannot be written, and nothing else: the disk is full, the reader has gone, the file is closed.

    Whoever sees to it that nothing ends a task or a thread says so to the log first.
    """

    def msg(self, message: str) -> None:
        with suppress(OSError, ValueError):
            super().msg(message)

    log = debug = info = warn = warning = msg
    fatal = failure = err = error = critical = exception = msg


def open_logger(
    level: Literal["debug", "info", "warning", "error"] = "info",
    format: Literal["json", "console"] = "json",
    stream: TextIO | None = None,
) -> Logger:
    """A logger that writes to ``stream`` (standard error by default). Touches no global logging state."""
    target = stream or sys.stderr
    render: list[Processor] = (
        [_EXCEPTIONS, structlog.processors.JSONRenderer(ensure_ascii=False)]
        if format == "json"
        else [structlog.dev.ConsoleRenderer(colors=target.isatty(), exception_formatter=structlog.dev.plain_traceback)]
    )
    return cast(
        Logger,
        structlog.wrap_logger(
            _Writer(target),
            processors=[
                structlog.contextvars.merge_contextvars,
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                *render,
            ],
            wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
            cache_logger_on_first_use=True,
        ),
    )
