"""What waits for an answer: in memory, and in a file that outlives the process."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from csgate.client import ChatUnreachable, Connected, Place
from csgate.client import journal as journal_module
from csgate.client import outbox as outbox_module
from csgate.client.journal import Journal
from csgate.client.outbox import Entry, Outbox, Sent
from csgate.errors import ConfigError
from csgate.events import AckEvent, ErrorEvent

from .scripted import Net, Peer, next_of, welcome
from .test_client import greeted, reply, said


def entry(name: str) -> Entry:
    return Entry(name, name, Sent(name))


async def test_the_outbox_keeps_order_until_the_final_event() -> None:
    outbox = Outbox(3, 100)
    for name in "abc":
        outbox.add(entry(name))
    assert not outbox.has_room(1)
    assert outbox.acknowledge("a")
    assert not outbox.acknowledge("a")
    assert not outbox.acknowledge("unknown")
    assert (outbox.unacked, outbox.awaited, len(outbox)) == (2, 1, 3)
    assert [one.id for one in outbox.to_resend(log_lost=False)] == ["b", "c"]
    assert outbox.finish("b", reply("b", 1))
    assert not outbox.finish("b", reply("b", 1))
    assert not outbox.finish(None, None)
    assert outbox.get(None) is None
    assert outbox.get("c") is not None
    assert [one.id for one in outbox.to_resend(log_lost=True)] == ["a", "c"]
    assert [one.id for one in outbox.to_resend(log_lost=False)] == ["a", "c"]
    assert outbox.is_own("b")
    assert [one.id for one in outbox] == ["a", "c"]


async def test_its_bytes_are_bounded_but_for_one() -> None:
    outbox = Outbox(3, 10)
    assert outbox.has_room(1000)
    outbox.add(Entry("a", "123456", Sent("a")))
    assert outbox.has_room(4)
    assert not outbox.has_room(5)
    outbox.finish("a", None)
    assert outbox.has_room(1000)


async def test_ones_own_ids_are_forgotten_at_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "MAX_OWN", 2)
    outbox = Outbox(10, 100)
    for name in "abc":
        outbox.add(entry(name))
        outbox.finish(name, None)
    assert [outbox.is_own(name) for name in "abc"] == [False, True, True]


async def test_there_is_one_end() -> None:
    sent = Sent("a")
    sent.settle(reply("a", 1))
    sent.settle(None, ChatUnreachable("too late"))
    await sent.acked()
    assert await sent.final() == reply("a", 1)


# --- The file --------------------------------------------------------------------------------------------------------


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_messages_survive_the_process(autojump_clock: Any, tmp_path: Path) -> None:
    path = tmp_path / "outbox"
    got: list[Any] = []

    async def first(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome())
        one, two, three = [await peer.read() for _ in range(3)]
        await peer.send(AckEvent(one["id"], 1), reply(one["id"], 2), AckEvent(two["id"], 3))
        got.extend([two["id"], three["id"]])
        await peer.until_closed()

    async def second(peer: Peer) -> None:
        assert await peer.read() == {"type": "hello", "conversation": "c1", "epoch": "e1", "offset": 2}
        await peer.send(welcome(recovered=True, offset=3))
        again = [await peer.read(), await peer.read()]
        assert [message["id"] for message in again] == got
        assert again[1]["image"] == b"\x00\xff"
        await peer.send(said(got[0], 3), reply(got[0], 4), AckEvent(got[1], 5))
        await peer.send(ErrorEvent("bad_image", "No.", "r", got[1], 6))
        await peer.until_closed()

    net = Net(a=[first, second])
    async with net.connect(outbox=path) as client:
        sent = [await client.send("one"), await client.send("two"), await client.send("three", b"\x00\xff")]
        await sent[0].final()
        await sent[1].acked()
        with pytest.raises(ConfigError, match="in use by another program"):
            async with net.connect(outbox=path):
                pass
    with pytest.raises(ChatUnreachable, match="closed"):
        await sent[2].final()
    assert os.stat(path).st_mode & 0o777 == 0o600
    async with net.connect(outbox=path) as client:
        assert (await next_of(client, Connected)).resumed
        assert [waiting.id for waiting in client.unfinished] == got
        finals = [await waiting.final() for waiting in client.unfinished]
        assert [final.offset for final in finals] == [4, 6]
    async with net.connect(outbox=path) as client:
        assert client.unfinished == []
        assert client.place == Place("c1", "e1", 6)
    assert lines(path) == [{"conversation": "c1", "epoch": "e1", "offset": 6}]


async def test_a_file_that_has_grown_is_written_anew(
    autojump_clock: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "REWRITE_BYTES", 200)
    path = tmp_path / "outbox"
    async with Net(a=[greeted]).connect(outbox=path) as client:
        for _ in range(20):
            await (await client.send("hello")).final()
        assert path.stat().st_size < 600
    journal = Journal(path)
    assert (journal.frames, journal.place) == ({}, Place("c1", "e1", 40))
    journal.close()


async def test_a_line_that_was_cut_off_was_never_sent(tmp_path: Path) -> None:
    path = tmp_path / "outbox"
    path.write_bytes(b'{"id":"a","text":"A"}\n{"id":"b","te')
    journal = Journal(path)
    assert journal.frames == {"a": "A"}
    journal.close()
    assert lines(path) == [{"id": "a", "text": "A"}]


@pytest.mark.parametrize("content", [b"something else\n", b'{"id": 1}\n{}\n'])
async def test_a_file_that_is_something_else_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "outbox"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"is not an outbox .line 1"):
        Journal(path)
    assert path.read_bytes() == content


async def test_a_place_where_no_file_can_be(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be used: No such file"):
        Journal(tmp_path / "no" / "outbox")


async def test_a_message_that_cannot_be_kept_is_not_sent(
    autojump_clock: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    net = Net(a=[greeted])
    async with net.connect(outbox=tmp_path / "outbox") as client:
        await next_of(client, Connected)
        monkeypatch.setattr(Journal, "add", full)
        with pytest.raises(OSError, match="No space"):
            await client.send("hello")
        await client.flush()
        assert len(net.peers) == 1
