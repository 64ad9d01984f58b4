"""csgate: a customer-service chat gateway for text and pictures."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("csgate")
except PackageNotFoundError:  # pragma: no cover - run from a source tree that was never installed
    __version__ = "0+unknown"
