"""The store that the settings ask for."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from csgate.config import SessionSettings
from csgate.session.memory import MemoryStore
from csgate.session.sqlite import open_sqlite_store
from csgate.session.store import Store
from csgate.telemetry import Telemetry


@asynccontextmanager
async def open_store(data_dir: Path, settings: SessionSettings, telemetry: Telemetry) -> AsyncIterator[Store]:
    """Opens ``session.store``; leaving the block closes it, with all that was asked of it done.

    Raises:
        ConfigError: the file in ``data_dir`` cannot be used, or another process serves from it.
    """
    if settings.store == "memory":
        yield MemoryStore(settings.max_events)
    else:
        async with open_sqlite_store(data_dir, settings, telemetry) as store:
            yield store
