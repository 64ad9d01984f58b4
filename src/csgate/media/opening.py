"""Opens the store that ``media.store`` names."""

from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, LocalStore, MemoryStore, S3Store

from csgate.config import MediaSettings
from csgate.errors import ConfigError
from csgate.media.folder import remove_unfinished
from csgate.media.store import Backend

FOLDER_MODE = 0o700
_RETRIES = 2


def open_backend(settings: MediaSettings, data_dir: Path) -> Backend:
    """The folder (made where there is none, mode 0700), bucket or memory. A bucket is not asked for yet.

    Raises:
        ConfigError: it names nothing that can be opened.
    """
    # obstore makes its Tokio runtime when it is first asked, and never again if that fails: before anybody comes, while
    # there are descriptors and threads to be had.
    with suppress(FileNotFoundError):
        obstore.head(MemoryStore(), "nothing")
    place = settings.store or str(data_dir / "media")
    scheme, found, _ = place.partition("://")
    try:
        data_dir.mkdir(FOLDER_MODE, parents=True, exist_ok=True)  # where uploads are spooled
    except OSError as error:
        raise ConfigError(f"server.data_dir '{data_dir}' cannot be used: {error.strerror or error}.") from error
    try:
        if not found or scheme == "file":
            return _folder(Path(urlsplit(place).path if found else place))
        if scheme == "memory":
            return MemoryStore()
        return _bucket(place, scheme, settings)
    except OSError as error:
        raise ConfigError(f"media.store: the folder '{place}' cannot be used: {error.strerror or error}.") from error
    except (BaseError, ValueError) as error:
        detail = str(error).partition("\n")[0]
        raise ConfigError(f"media.store: '{place}' cannot be opened: {detail}") from error


def _folder(folder: Path) -> LocalStore:
    folder.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
    remove_unfinished(folder)
    return LocalStore(folder.absolute(), automatic_cleanup=True)


def _bucket(place: str, scheme: str, settings: MediaSettings) -> Backend:
    seconds = timedelta(seconds=settings.store_seconds)
    common: dict[str, Any] = {
        "client_options": {
            "timeout": seconds,
            "connect_timeout": seconds / 2,
            "allow_http": settings.endpoint.startswith("http://"),
        },
        "retry_config": {
            "max_retries": _RETRIES,
            "retry_timeout": seconds,
            "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=1), "base": 2},
        },
    }
    access = settings.access_key.get_secret_value() if settings.access_key else None
    secret = settings.secret_key.get_secret_value() if settings.secret_key else None
    endpoint = settings.endpoint or None
    given: dict[str, Any]
    if scheme == "s3":
        given = {
            "access_key_id": access,
            "secret_access_key": secret,
            "endpoint": endpoint,
            "region": settings.region or None,
            # Not every S3-compatible server knows it.
            "disable_bulk_delete": True,
        }
        return S3Store.from_url(place, config=_present(given), **common)
    if scheme == "gs":
        return GCSStore.from_url(place, **common)
    if scheme == "az":
        given = {"account_name": access, "account_key": secret, "endpoint": endpoint}
        return AzureStore.from_url(place, config=_present(given), **common)
    raise ConfigError(f"media.store: '{scheme}://' is not known; it may be s3, gs, az, memory or a folder.")


def _present(given: dict[str, Any]) -> Any:
    return {name: value for name, value in given.items() if value is not None}
