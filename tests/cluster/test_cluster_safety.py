"""What is asked of a Redis before anything is entrusted to it, and what its refusals become."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from csgate.cluster import safety
from csgate.errors import ConfigError, StoreUnavailable
from csgate.events import MessageEvent, Principal
from csgate.session import Header, OpenTurn

from ..redis_server import RedisServer
from .conftest import Town


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path, "--repl-diskless-sync-delay", "0")
    yield server
    server.kill()


def sentence(group: BaseException) -> str:
    while isinstance(group, BaseExceptionGroup):
        (group,) = group.exceptions
    assert isinstance(group, ConfigError), group
    return str(group)


async def refusal(town: Town, **settings: Any) -> str:
    with pytest.raises(BaseException) as caught:
        async with town.store(**settings):
            pass
    return sentence(caught.value)


async def test_a_redis_that_may_lose_a_write_is_refused(own_redis: RedisServer) -> None:
    town = Town(own_redis)
    for setting, value, good, words in (
        ("appendfsync", "everysec", "always", "appendfsync is 'everysec'"),
        ("appendonly", "no", "yes", "appendonly is off"),
        ("maxmemory-policy", "allkeys-lru", "noeviction", "maxmemory-policy is 'allkeys-lru'"),
    ):
        own_redis.ask("CONFIG", "SET", "maxmemory", "1gb")
        own_redis.ask("CONFIG", "SET", setting, value)
        told = await refusal(town)
        assert words in told
        assert "redis.accept_loss" in told
        async with town.store(redis={"accept_loss": True}):
            pass
        own_redis.ask("CONFIG", "SET", setting, good)
    async with town.store():
        pass


async def test_where_config_is_forbidden_a_sentence_says_so(own_redis: RedisServer) -> None:
    own_redis.ask("ACL", "SETUSER", "gate", "on", ">secret", "allkeys", "allchannels", "+@all", "-config")
    town = Town(own_redis)
    url = f"redis://gate:secret@127.0.0.1:{own_redis.port}/0"
    told = await refusal(town, redis={"url": url})
    assert "CONFIG GET being refused" in told
    assert "secret" not in told
    async with town.store(redis={"url": url, "accept_loss": True}):
        pass
    assert "cannot be used" in await refusal(town, redis={"url": url.replace("secret", "wrong")})


async def test_a_replica_and_nobody_at_all_are_refused(own_redis: RedisServer) -> None:
    own_redis.ask("REPLICAOF", "127.0.0.1", "1")
    town = Town(own_redis)
    assert "replica" in await refusal(town)
    assert "cannot be used" in await refusal(town, redis={"url": "redis://127.0.0.1:1/0"})
    for url in ("redis://", "http://127.0.0.1:x"):
        assert "redis.url" in await refusal(town, redis={"url": url})


async def test_a_full_redis_takes_nothing_by_halves_and_goes_on_when_there_is_room(own_redis: RedisServer) -> None:
    town = Town(own_redis)
    async with town.store() as cluster:
        store: Any = cluster.store
        header = Header("c", "epoch", "shop", "t", "ann")
        event = MessageEvent("m1", 0, "customer", "hi", "2026-01-01T00:00:00.000Z")
        turn = OpenTurn("m1", "hi", None, Principal("ann"), "en")
        own_redis.ask("CONFIG", "SET", "maxmemory", "1mb")
        for change in (
            lambda: store.accept(header, event, b"1" * 16, turn),
            lambda: store.append(header, event),
        ):
            with pytest.raises(StoreUnavailable):
                await change()
        assert store.trouble is not None
        assert "maxmemory" in store.trouble
        assert await store.load("c") is None
        assert await store.read("c") is None
        own_redis.ask("CONFIG", "SET", "maxmemory", "0")
        assert (await store.accept(header, event, b"1" * 16, turn)).offset == 1
        with trio.fail_after(5):
            while store.trouble is not None:  # noqa: ASYNC110  the next sign of life tells
                await trio.sleep(0.02)


async def test_scripts_are_loaded_again_where_redis_has_forgotten_them(own_redis: RedisServer) -> None:
    async with Town(own_redis).store() as cluster:
        header = Header("c", "epoch", "shop", "t", "ann")
        for number in range(2):
            own_redis.ask("SCRIPT", "FLUSH")
            event = MessageEvent(f"m{number}", 0, "customer", "hi", "2026-01-01T00:00:00.000Z")
            accepted = await cluster.store.accept(header, event, b"1" * 16, None)
            assert accepted.offset == number + 1


async def test_what_is_no_single_redis_of_today_is_refused(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    fields = safety._fields
    for said, words in (
        ({"redis_version": "6.0.16"}, "Redis 6.0.16 is too old"),
        ({"redis_version": "unknown"}, "too old"),
        ({"cluster_enabled": "1"}, "leads to a Redis Cluster"),
    ):
        monkeypatch.setattr(safety, "_fields", lambda info, said=said: {**fields(info), **said})
        assert words in await refusal(town)
