"""What many tasks ask of Redis at the same time travels together, and each gets its own answer or failure."""

import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from anyio import ClosedResourceError, EndOfStream, WouldBlock
from coredis.connection import BaseConnection
from pydantic import SecretStr

from csgate.cluster import fanout as fanout_module
from csgate.cluster.fanout import Fanout
from csgate.cluster.link import LOAD, Link, Script, open_link
from csgate.config import RedisSettings
from csgate.errors import StoreUnavailable

from ..redis_server import RedisServer
from ..session.conftest import Rig

ADD = Script(1, "return redis.call('INCRBY', KEYS[1], ARGV[1])")


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    yield server
    server.kill()


@asynccontextmanager
async def linked(redis: RedisServer, **settings: Any) -> AsyncIterator[tuple[Link, Rig]]:
    rig = Rig()
    chosen = RedisSettings(url=SecretStr(redis.url), **settings)
    async with open_link(chosen, rig.telemetry, [ADD]) as link:
        yield link, rig


async def stat(link: Link, name: str) -> int:
    text = (await link.one((b"INFO", b"stats"))).decode()
    return int(text.partition(f"{name}:")[2].split()[0])


async def test_many_tasks_share_a_few_writes_and_each_has_its_own_answer(redis: RedisServer) -> None:
    got: dict[int, Any] = {}
    async with linked(redis, connections=2) as (link, _):

        async def ask(number: int) -> None:
            key = f"link:{number}"
            got[number] = await link.ask((b"SET", key, number), (b"GET", key), (b"STRLEN", key))

        for size in (1, LOAD // 3 + 1, 4 * LOAD):  # the last are several loads
            got.clear()
            before = await stat(link, "total_reads_processed")
            async with trio.open_nursery() as nursery:
                for number in range(size):
                    nursery.start_soon(ask, number)
            reads = await stat(link, "total_reads_processed") - before
            assert got == {n: [b"OK", str(n).encode(), len(str(n))] for n in range(size)}
            assert size == 1 or reads < size / 4


async def test_a_failure_is_that_of_the_one_who_asked(redis: RedisServer) -> None:
    failed: list[str] = []
    async with linked(redis, connections=1) as (link, rig), trio.open_nursery() as nursery:
        await link.one((b"SET", "word", "x"))

        async def wrong() -> None:
            with pytest.raises(StoreUnavailable) as caught:
                await link.ask((b"PING",), (b"INCR", "word"))
            failed.append(caught.value.detail)

        async def right() -> None:
            assert await link.one((b"PING",)) in (b"PONG", "PONG")

        for task in (wrong, right, wrong, right):
            nursery.start_soon(task)
    assert len(failed) == 2
    assert "not an integer" in failed[0]
    assert [line["event"] for line in rig.logged()] == ["redis_refused", "redis_refused"]


async def test_scripts_that_redis_does_not_know_are_run_once_all_the_same(redis: RedisServer) -> None:
    redis.ask("SCRIPT", "FLUSH")
    redis.ask("DEL", "sum")
    async with linked(redis) as (link, _):
        first, pong, second = await link.ask(ADD.call(["sum"], 5), (b"PING",), ADD.call(["sum"], 6))
        assert (first, second) == (5, 11)
        assert pong in (b"PONG", "PONG")


async def test_something_large_travels_alone(redis: RedisServer) -> None:
    large = b"x" * (1 << 20)
    async with linked(redis, connections=1) as (link, _), trio.open_nursery() as nursery:
        await link.one((b"PING",))

        async def store(number: int) -> None:
            await link.ask((b"SET", f"large:{number}", large), bulky=number % 2 == 0)
            assert await link.one((b"STRLEN", f"large:{number}")) == len(large)

        for number in range(4):
            nursery.start_soon(store, number)


async def test_nobody_waits_much_longer_than_allowed_when_redis_says_nothing(own_redis: RedisServer) -> None:
    seconds = 0.3
    waited: list[float] = []
    async with linked(own_redis, connections=1, command_seconds=seconds) as (link, _):
        await link.one((b"PING",))
        own_redis.send(signal.SIGSTOP)

        async def ask(number: int) -> None:
            await trio.sleep(number * seconds / 10)
            began = trio.current_time()
            with pytest.raises(StoreUnavailable):
                await link.one((b"PING",))
            waited.append(trio.current_time() - began)

        async with trio.open_nursery() as nursery:
            for number in range(12):
                nursery.start_soon(ask, number)
        assert link.trouble is not None
        # Sent, or waiting for a connection that cannot be had either.
        assert max(waited) < 4 * seconds
        own_redis.send(signal.SIGCONT)
        with trio.fail_after(5):
            while True:
                try:
                    await link.one((b"PING",))
                    break
                except StoreUnavailable:
                    await trio.sleep(0.05)


async def test_what_was_asked_is_carried_out_although_nobody_waits_any_more(redis: RedisServer) -> None:
    redis.ask("DEL", "sum")
    async with linked(redis, connections=1) as (link, _):
        await link.one((b"PING",))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.one, ADD.call(["sum"], 7))
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert await link.one((b"GET", "sum")) == b"7"


FAILURES = [
    ClosedResourceError(),
    EndOfStream(),
    WouldBlock(),
    RuntimeError("it never began"),
    ExceptionGroup("", [OSError()]),
]


@pytest.mark.parametrize("failure", FAILURES, ids=repr)
async def test_whatever_a_lost_connection_raises_there_is_another_one(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise failure

    async with linked(redis, connections=1) as (link, _):
        await link.one((b"PING",))
        with monkeypatch.context() as patch:
            patch.setattr(BaseConnection, "create_request_batch", fail)
            with pytest.raises(StoreUnavailable):
                await link.one((b"PING",))
        assert link.trouble is not None
        assert await link.one((b"PING",)) == b"PONG"


async def test_a_connection_that_ends_before_it_begins_is_a_redis_that_does_not_answer(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def end_at_once(*_: Any, **__: Any) -> None:
        pass

    async with linked(redis, connections=1) as (link, _):
        with monkeypatch.context() as patch:
            patch.setattr(BaseConnection, "run", end_at_once)
            with pytest.raises(StoreUnavailable):
                await link.one((b"PING",))
            with pytest.raises(StoreUnavailable):
                await link.connect()
        assert await link.one((b"PING",)) == b"PONG"


@pytest.mark.parametrize("failure", FAILURES, ids=repr)
async def test_a_subscriber_lives_through_whatever_its_connection_raises(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    failed = trio.Event()

    def fail(*_: Any, **__: Any) -> Any:
        failed.set()
        raise failure

    monkeypatch.setattr(fanout_module, "PROBE_S", 0.05)
    monkeypatch.setattr(fanout_module, "RETRY_S", 0.01)
    async with linked(redis, connections=1) as (link, rig), trio.open_nursery() as nursery:
        fanout = Fanout(link, "0123456789abcdef", "x", sharded=False)
        nursery.start_soon(fanout.hear)
        await fanout.join(b"before")
        with monkeypatch.context() as patch, trio.fail_after(5):
            patch.setattr(BaseConnection, "create_request", fail)
            await failed.wait()
            await trio.testing.wait_all_tasks_blocked()
        with trio.fail_after(5):
            await fanout.join(b"after")
            await fanout.join(b"before")
        assert "subscriber_lost" in {line["event"] for line in rig.logged()}
        nursery.cancel_scope.cancel()
