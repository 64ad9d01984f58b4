"""The node's pictures: who signs for them, whose they are, and what clients should know before they send one."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

from csgate.auth.keys import shared_secret
from csgate.auth.secret import load_or_make_secret
from csgate.config import Config
from csgate.errors import ConfigError, MediaUnavailable
from csgate.media import Media, open_media
from csgate.session import Store
from csgate.telemetry import Telemetry

MIN_SECRET_BYTES: Final = 32
_BUCKETS: Final = ("s3://", "gs://", "az://")


@asynccontextmanager
async def open_album(
    config: Config, telemetry: Telemetry, store: Store, now: Callable[[], float]
) -> AsyncIterator[Media | None]:
    """Opens the store of pictures; None where they are neither kept nor uploaded.

    Args:
        store: that of the conversations, whose pictures are kept for as long as it knows them.

    Raises:
        ConfigError: a setting cannot be used.
    """
    media = config.media
    if not media.keep and not media.uploads:
        yield None
        return
    if config.session.store == "redis" and not media.store.startswith(_BUCKETS):
        telemetry.log.warning("media_store_of_this_node_only", store=media.store or "data_dir/media")

    async def known(conversation: str) -> bool:
        return await store.load(conversation) is not None

    async with open_media(
        media,
        config.server.data_dir,
        signing_secret(config),
        telemetry,
        max_pixels=config.inference.max_pixels,
        known=known,
        now=now,
        # As the conversations themselves.
        durable=config.session.store != "memory" and config.session.durability == "full",
    ) as opened:
        yield opened


def signing_secret(config: Config) -> bytes:
    """What addresses and names of uploads are signed with: ``media.secret``, or that of the tokens, or one made here.

    Raises:
        ConfigError: it is too short; or the node is one of several, and nothing is configured that they share.
    """
    if config.media.secret is not None:
        configured = config.media.secret.get_secret_value().encode()
        if len(configured) < MIN_SECRET_BYTES:
            raise ConfigError(f"media.secret is too short: it must have {MIN_SECRET_BYTES} bytes or more.")
        return configured
    shared = shared_secret(config.auth, config.server.data_dir)
    if shared is None:
        if config.session.store == "redis":
            raise ConfigError("Nodes that share conversations have to sign alike: set media.secret, the same for all.")
        shared = load_or_make_secret(config.server.data_dir)
    return shared.encode()


class Places(NamedTuple):
    """``limits``: what ``welcome`` says of pictures. ``origins``: URLs at other servers that they are read from."""

    limits: Mapping[str, int]
    origins: tuple[str, ...]


async def places_of(config: Config, media: Media | None) -> Places:
    """What clients and pages should know before the first picture."""
    if media is None:
        return Places({}, ())
    try:
        elsewhere = await media.elsewhere()
    except MediaUnavailable:
        elsewhere = None
    limits = {
        "inline_bytes": config.media.inline_bytes,
        "upload_bytes": config.media.upload_bytes,
        "presign": int(elsewhere is not None),
    }
    origins = tuple(url for url in (config.media.cdn_base_url, elsewhere) if url)
    return Places(limits if config.media.uploads else {}, origins)
