"""A Redis 6.2: the oldest that is served, and without what came later."""

from typing import Any

import pytest

from csgate.cluster import safety
from csgate.errors import StoreUnavailable
from csgate.events import DeltaEvent, Principal, ReplyEvent

from ..redis_server import RedisServer
from ..session.conftest import Recorder
from .conftest import Town
from .test_cluster_sharing import Script, finals, log_of, until

OLD = "6.2.14"


async def newer_commands(town: Town) -> list[str]:
    """What this server knows that 6.2 did not, by its own account; nothing where it cannot tell, being old itself."""
    async with town.store() as cluster:
        store: Any = cluster.store
        try:
            docs = await store._link.one((b"COMMAND DOCS",))
        except StoreUnavailable:
            return []
    found = dict(docs)
    for about in docs.values():
        found |= about.get(b"subcommands", {})
    return [
        name.decode()
        for name, about in found.items()
        if [int(part) for part in about[b"since"].decode().split(".")[:2]] > [6, 2]
    ]


async def test_two_nodes_on_a_redis_that_knows_nothing_newer(
    redis: RedisServer, town: Town, ann: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = await newer_commands(town)
    assert not newer or {"spublish", "ssubscribe", "pubsub|shardnumsub"} <= set(newer)
    redis.ask("ACL", "SETUSER", "old", "on", ">pass", "allkeys", "allchannels", "+@all", *(f"-{one}" for one in newer))
    fields = safety._fields
    monkeypatch.setattr(safety, "_fields", lambda info: {**fields(info), "redis_version": OLD})
    old = {"url": f"redis://old:pass@127.0.0.1:{redis.port}/0"}
    script, here, there = Script(), Recorder(), Recorder()
    async with town.node(script, redis=old) as one, town.node(redis=old) as two:
        assert one.store._fanout.publish_command == b"PUBLISH"
        first = await one.conversations.attach(ann, here)
        await first.submit("a", "hold", None)
        await here.wait(DeltaEvent)
        second = await two.conversations.attach(ann, there, conversation=first.conversation)
        await second.submit("b", "hi", None)
        script.go.set()
        for sink in (here, there):
            await sink.wait(ReplyEvent, count=2)
        assert [event.id for event in finals(await log_of(two, first.conversation))] == ["a", "b"]
        # What a node does now and then.
        assert await one.store.listened_elsewhere(first.conversation)
        assert await two.store.may_give_back(first.conversation)
        await second.detach()
        await first.detach()
        await until(lambda: one.conversations.live == two.conversations.live == 0)
        assert await two.store.count() == 1
        assert await one.store.prune((), now="2026-01-02", before="~", at_most=9) == 1
        assert await two.store.count() == 0
        for node in (one, two):
            assert not [line for line in node.rig.logged() if line["event"] == "redis_refused"]
