"""``csgate conversations`` on a Redis that nodes serve from."""

import json
from typing import Any

import pytest
import trio

from csgate.cli.main import main
from csgate.cluster import archive
from csgate.errors import NotFound, StoreUnavailable
from csgate.events import DeltaEvent, MessageEvent, Principal, ReplyEvent
from csgate.session import Attachment

from ..redis_server import RedisServer
from ..session.conftest import Recorder
from .conftest import Node, Town
from .test_cluster_sharing import Script, until

NAMESAKE = Principal("ann", tenant="t2", issuer="shop")


def run(town: Town, *arguments: str) -> int:
    settings = ("session.store=redis", f"redis.url={town.redis.url}", f"redis.prefix={town.prefix}", "media.keep=false")
    return main(["conversations", *arguments, *(part for setting in settings for part in ("--set", setting))])


async def say(node: Node, who: Principal, *texts: str) -> Attachment:
    sink = Recorder()
    attachment = await node.conversations.attach(who, sink)
    for number, text in enumerate(texts, start=1):
        await attachment.submit(f"m{number}", text, None)
        await sink.wait(ReplyEvent, count=number)
    return attachment


async def filled(town: Town, ann: Principal) -> dict[str, list[str]]:
    """The ids of what two nodes and three customers have said, by customer."""
    said: dict[str, list[str]] = {"ann": [], "namesake": [], "bob": []}
    async with town.node() as one, town.node() as two:
        said["namesake"].append((await say(one, NAMESAKE, "I am another Ann")).conversation)
        bob = await say(two, Principal("bob\x1b[31m"), "two\nlines \x1b[2J", "person")
        said["bob"].append(bob.conversation)
        await bob.handoff()
        for number in range(5):
            said["ann"].append((await say((one, two)[number % 2], ann, f"text {number}", "more")).conversation)
    return said


async def test_list_and_show(town: Town, ann: Principal, capsys: pytest.CaptureFixture[str]) -> None:
    said = await filled(town, ann)
    assert await trio.to_thread.run_sync(run, town, "list") == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["CONVERSATION", "SUBJECT", "TENANT"]
    assert [line.split()[0] for line in lines] == [*reversed(said["ann"]), *said["bob"], *said["namesake"]]
    assert lines[0].split()[1:5] == ["ann", "t1", "4", "bot"]
    assert " waiting " in lines[-2]
    assert "\x1b" not in "".join(lines)
    assert await trio.to_thread.run_sync(run, town, "list", "--subject", "ann", "--limit", "3") == 0
    assert len(capsys.readouterr().out.splitlines()) == 4
    assert await trio.to_thread.run_sync(run, town, "show", said["bob"][0]) == 0
    shown = capsys.readouterr().out
    assert "customer: two\n" in shown
    assert "state: waiting" in shown
    assert "\x1b" not in shown
    assert await trio.to_thread.run_sync(run, town, "show", "nobody") == 1
    assert "There is no conversation 'nobody'" in capsys.readouterr().err


async def test_export_and_erase_one_customer(
    town: Town, ann: Principal, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "SLICE", 3)  # everything takes several rounds
    said = await filled(town, ann)
    # What the index does not know is found all the same.
    town.redis.ask("ZREM", f"{town.prefix}:{{index}}:active", said["ann"][2])
    assert await trio.to_thread.run_sync(run, town, "export", "--subject", "ann") == 2
    assert "tenant 't1' of issuer 'shop', tenant 't2' of issuer 'shop'" in capsys.readouterr().err
    export = ("export", "--subject", "ann", "--tenant", "t1")
    assert await trio.to_thread.run_sync(run, town, *export) == 0
    entries = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(entries) == 5 * 5
    about = [entry for entry in entries if entry["type"] == "conversation"]
    assert sorted(one["id"] for one in about) == sorted(said["ann"])
    assert {(one["subject"], one["tenant"], one["issuer"], one["last"]) for one in about} == {("ann", "t1", "shop", 4)}
    events = [entry for entry in entries if entry.get("conversation") == said["ann"][0]]
    assert [event["offset"] for event in events] == [1, 2, 3, 4]
    assert [event["type"] for event in events] == ["message", "reply"] * 2
    assert (events[0]["text"], events[1]["text"]) == ("text 0", "re: text 0")
    assert await trio.to_thread.run_sync(run, town, "erase", "--subject", "ann", "--tenant", "t1") == 0
    assert capsys.readouterr().out == "erased 5 conversations of 'ann'\n"
    assert await trio.to_thread.run_sync(run, town, "erase", "--subject", "ann", "--tenant", "t1") == 0
    assert capsys.readouterr().out == "erased 0 conversations of 'ann'\n"
    assert await trio.to_thread.run_sync(run, town, *export) == 0
    assert capsys.readouterr().out == ""
    assert await trio.to_thread.run_sync(run, town, "list") == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 + 2


async def test_erased_while_it_is_in_use_at_two_nodes(
    town: Town, ann: Principal, capsys: pytest.CaptureFixture[str]
) -> None:
    script, here, there, other = Script(), Recorder(), Recorder(), Recorder()
    async with town.node(script) as one, town.node() as two:
        first = await one.conversations.attach(ann, here)
        await first.submit("a", "hold", None)
        await here.wait(DeltaEvent)
        await two.conversations.attach(ann, there, conversation=first.conversation)
        namesake = await say(two, NAMESAKE, "hi")
        erased = await trio.to_thread.run_sync(run, town, "erase", "--subject", "ann", "--tenant", "t1")
        assert erased == 0
        assert capsys.readouterr().out == "erased 1 conversation of 'ann'\n"
        await until(lambda: here.given_up == there.given_up == 1)
        script.go.set()
        await until(lambda: one.conversations.open_turns == 0)
        for node in (one, two):
            with pytest.raises(NotFound):
                await node.conversations.attach(ann, Recorder(), conversation=first.conversation)
        assert here.of(ReplyEvent) == there.of(ReplyEvent) == []
        assert (await namesake.submit("b", "hi", None)).offset == 3
        again = await one.conversations.attach(ann, other)
        assert (await again.submit("a", "hello", None)).offset == 1
        await other.wait(ReplyEvent)


async def test_a_node_that_has_not_heard_of_it_cannot_write_to_what_was_erased(
    town: Town, ann: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with town.node() as one:
        attachment = await say(one, ann, "hi")
        stored = await one.store.load(attachment.conversation)
        assert stored is not None
        monkeypatch.setattr(one.store._fanout, "_take", lambda message: None)
        assert await trio.to_thread.run_sync(run, town, "erase", "--subject", "ann") == 0
        with pytest.raises(NotFound):
            await attachment.submit("m2", "hi", None)
        with pytest.raises(NotFound):
            await one.store.append(stored.header, MessageEvent("x", 0, "human", "hi", "2026-01-01T00:00:00.000Z"))
        assert await one.store.load(attachment.conversation) is None
        assert await one.store.read(attachment.conversation) is None
        # Nothing is left but a note, which goes by itself.
        left = f"{town.prefix}:{{{attachment.conversation}}}:"
        assert town.redis.ask("HGETALL", f"{left}h") == "*2"
        assert int(town.redis.ask("PTTL", f"{left}h")[1:]) > 0
        assert [town.redis.ask("EXISTS", f"{left}{letter}") for letter in "erotl"] == [":0"] * 5


async def test_what_cannot_be_done_is_one_sentence(
    town: Town, ann: Principal, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = ["conversations", "list", "--set", "session.store=redis", "--set", "redis.url=redis://127.0.0.1:1/0"]
    assert await trio.to_thread.run_sync(main, nobody) == 2
    assert "Redis cannot be used" in capsys.readouterr().err

    async def refuse(*commands: Any) -> Any:
        raise StoreUnavailable("no", retry_after=1.0)

    monkeypatch.setattr(archive, "_asking", lambda link: lambda *commands: trio.from_thread.run(refuse, *commands))
    assert await trio.to_thread.run_sync(run, town, "list") == 1
    assert "The conversations in Redis cannot be read or changed: no." in capsys.readouterr().err


async def test_a_redis_that_may_lose_is_good_enough_for_reading(
    redis: RedisServer, town: Town, ann: Principal, capsys: pytest.CaptureFixture[str]
) -> None:
    await filled(town, ann)
    redis.ask("CONFIG", "SET", "appendfsync", "everysec")
    try:
        assert await trio.to_thread.run_sync(run, town, "list") == 0
    finally:
        redis.ask("CONFIG", "SET", "appendfsync", "always")
    assert len(capsys.readouterr().out.splitlines()) == 1 + 7
