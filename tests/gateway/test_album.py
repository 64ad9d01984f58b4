"""The node's store of pictures: its secret, whose pictures, what clients are told."""

import io
from pathlib import Path
from typing import Any

import pytest

from csgate.config import Config, load_config
from csgate.errors import ConfigError, MediaUnavailable
from csgate.events import MessageEvent
from csgate.gateway.album import open_album, places_of, signing_secret
from csgate.session import Header, MemoryStore
from csgate.telemetry import Telemetry, open_logger

KEY = (
    "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n"
    "-----END PUBLIC KEY-----\n"
)


def config_of(tmp_path: Path, **sections: Any) -> Config:
    return load_config(None, {"server": {"data_dir": tmp_path}, **sections}, environ={})


def test_what_is_signed_with(tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    key.write_text(KEY)
    strangers = {"algorithms": ("EdDSA",), "public_key_file": key}
    assert signing_secret(config_of(tmp_path, media={"secret": "m" * 32})) == b"m" * 32
    assert signing_secret(config_of(tmp_path, auth={"secret": "a" * 40})) == b"a" * 40
    made = signing_secret(config_of(tmp_path))
    assert len(made) >= 32
    assert signing_secret(config_of(tmp_path, auth=strangers)) == made
    for wrong, told in (
        ({"media": {"secret": "short"}}, "media.secret is too short"),
        ({"auth": strangers, "session": {"store": "redis"}}, "set media.secret"),
    ):
        with pytest.raises(ConfigError, match=told):
            signing_secret(config_of(tmp_path, **wrong))


async def test_pictures_last_as_long_as_the_store_knows_the_conversation(tmp_path: Path) -> None:
    store = MemoryStore()
    event = MessageEvent("m1", 0, "customer", "hi", "2026-01-02T03:04:05Z")
    await store.accept(Header("c1", "e", "", "", "ann"), event, b"", None)
    async with open_album(config_of(tmp_path), Telemetry(), store, lambda: 0.0) as media:
        assert media is not None
        assert await media._keeping._known("c1")
        assert not await media._keeping._known("c2")
        assert (tmp_path / "media").is_dir()


async def test_no_store_where_nothing_is_kept(tmp_path: Path) -> None:
    config = config_of(tmp_path, media={"keep": False, "uploads": False})
    async with open_album(config, Telemetry(), MemoryStore(), lambda: 0.0) as media:
        assert media is None
        assert await places_of(config, media) == ({}, ())
    assert not (tmp_path / "media").exists()


async def test_nodes_with_pictures_of_their_own_are_warned(tmp_path: Path) -> None:
    for store, warnings in (("", 1), ("s3://bucket", 0)):
        log = io.StringIO()
        config = config_of(
            tmp_path,
            session={"store": "redis"},
            media={"store": store, "endpoint": "http://127.0.0.1:1", "access_key": "a", "secret_key": "s"},
        )
        async with open_album(config, Telemetry(log=open_logger(stream=log)), MemoryStore(), lambda: 0.0):
            assert log.getvalue().count("media_store_of_this_node_only") == warnings


async def test_what_clients_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    local = config_of(tmp_path, media={"cdn_base_url": "https://cdn.example"})
    async with open_album(local, Telemetry(), MemoryStore(), lambda: 0.0) as media:
        limits = {"inline_bytes": 5120, "upload_bytes": 16 * 1024 * 1024, "presign": 0}
        assert await places_of(local, media) == (limits, ("https://cdn.example",))
        off = config_of(tmp_path, media={"uploads": False})
        assert await places_of(off, media) == ({}, ())
    bucket = config_of(
        tmp_path,
        media={"store": "s3://bucket", "endpoint": "http://127.0.0.1:1", "access_key": "a", "secret_key": "s"},
    )
    async with open_album(bucket, Telemetry(), MemoryStore(), lambda: 0.0) as media:
        assert media is not None
        told, (origin,) = await places_of(bucket, media)
        assert told["presign"] == 1
        assert origin.startswith("http://127.0.0.1:1/")

        async def elsewhere() -> None:
            raise MediaUnavailable("no credentials")

        monkeypatch.setattr(media, "elsewhere", elsewhere)
        assert (await places_of(bucket, media)).limits["presign"] == 0
