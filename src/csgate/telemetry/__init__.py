"""Metrics and structured logs: objects that are passed in, never global."""

from csgate.telemetry.logs import Logger, open_logger
from csgate.telemetry.metrics import Metrics

__all__ = ["Logger", "Metrics", "Telemetry", "open_logger"]


class Telemetry:
    """What every part is handed: its metrics and its log."""

    __slots__ = ("log", "metrics")

    def __init__(self, metrics: Metrics | None = None, log: Logger | None = None) -> None:
        self.metrics = metrics or Metrics()
        self.log = log or open_logger()
