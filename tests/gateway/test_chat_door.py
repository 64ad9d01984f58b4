"""The way from an upgrade request to a chat: origin, mode, the node's going away."""

from typing import Any

import pytest
import trio
from tests.gateway.conftest import Gate
from tests.wire.client_frames import close
from trio.testing import memory_stream_pair

from csgate.gateway.chat import origin_allowed
from csgate.gateway.chat_simple import ChatSimple
from csgate.gateway.chat_v1 import ChatV1
from csgate.wire import HandshakeRefused


@pytest.mark.parametrize(
    ("origin", "host", "allowed", "passes"),
    [
        (None, "gate.example", ["https://shop.example"], True),
        ("https://shop.example", "gate.example", ["*"], True),
        ("https://SHOP.example/", "gate.example", ["https://shop.example"], True),
        ("https://shop.example", "gate.example", ["https://shop.example/"], True),
        ("https://shop.example.evil.example", "gate.example", ["https://shop.example"], False),
        ("https://gate.example", "gate.example", ["https://shop.example"], False),
        ("https://gate.example:8443", "Gate.example:8443", [], True),
        ("https://gate.example", "gate.example:8443", [], False),
        ("null", "gate.example", [], False),
        ("null", "", [], False),
        ("http://[", "gate.example", [], False),
    ],
)
def test_origins(origin: str | None, host: str, allowed: list[str], passes: bool) -> None:
    assert origin_allowed(origin, host, allowed) is passes


@pytest.mark.parametrize("host", ["gate.example", None])
async def test_a_wrong_origin_gets_a_code_that_its_page_can_see(
    autojump_clock: Any, gate: Gate, host: str | None
) -> None:
    client = await gate.open("csgate.v1", token=gate.token(), origin="https://evil.example", host=host)
    assert await client.close_code() == 4505
    await gate.until(lambda: gate.ended == 1)
    gate.assert_nothing_is_left()
    assert gate.metric("csgate_refused_total", reason="origin") == 1


async def test_the_page_of_the_same_host_may_connect(autojump_clock: Any, gate: Gate) -> None:
    client = await gate.open("csgate.v1", token=gate.token(), origin="https://gate.example")
    await client.say(type="hello")
    await client.expect("welcome")


@pytest.mark.parametrize(
    ("protocols", "kind"),
    [
        (("csgate.v1",), ChatV1),
        (("csgate.simple", "csgate.v1"), ChatV1),
        (("csgate.simple",), ChatSimple),
        ((), ChatSimple),
    ],
)
async def test_modes(autojump_clock: Any, gate: Gate, protocols: tuple[str, ...], kind: type) -> None:
    await gate.open(*protocols, token=gate.token())
    await gate.until(lambda: len(gate.services.live) == 1)
    (chat,) = gate.services.live
    assert type(chat) is kind


async def test_unknown_subprotocols_are_refused(autojump_clock: Any, gate: Gate) -> None:
    with pytest.raises(HandshakeRefused) as caught:
        await gate.door(gate.upgrade(memory_stream_pair()[0], "mqtt"))
    assert caught.value.status == 400


async def test_nobody_is_let_in_once_closed(autojump_clock: Any, gate: Gate) -> None:
    gate.door.close()
    with pytest.raises(HandshakeRefused) as caught:
        await gate.door(gate.upgrade(memory_stream_pair()[0], "csgate.v1"))
    assert caught.value.status == 503


async def test_who_was_on_the_way_in_is_sent_away(autojump_clock: Any, gate: Gate) -> None:
    ours, theirs = memory_stream_pair()
    assert isinstance(theirs.send_stream, trio.testing.MemorySendStream)
    seen = trio.Event()

    async def hook() -> None:  # between the answer to the handshake and the chat
        gate.door.close()
        seen.set()

    theirs.send_stream.send_all_hook = hook
    gate.nursery.start_soon(gate.door, gate.upgrade(theirs, "csgate.v1"))
    await seen.wait()
    data = b""
    while b"\x0f\xa1draining" not in data:  # 4001
        data += await ours.receive_some()
    assert len(gate.services.live) == 0


async def test_live_until_the_close_handshake_is_over(autojump_clock: Any, gate: Gate) -> None:
    """The drain must not cut off what is still on its way."""
    client, _ = await gate.v1()
    (chat,) = gate.services.live
    assert len(gate.services.live) == 1
    chat.ws.close(4001)
    await trio.testing.wait_all_tasks_blocked()
    assert len(gate.services.live) == 1
    with trio.fail_after(1):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(gate.services.live.empty)
            assert await client.close_code() == 4001
    assert len(gate.services.live) == 0
    await gate.services.live.empty()


@pytest.mark.parametrize(("code", "label"), [(1000, "1000"), (4321, "other")])
async def test_codes_that_peers_make_up_do_not_make_metrics(
    autojump_clock: Any, gate: Gate, code: int, label: str
) -> None:
    client, _ = await gate.v1()
    await client.send(close(code))
    assert await client.close_code() == code
    await gate.until(lambda: gate.ended == 1)
    assert gate.metric("csgate_closes_total", code=label) == 1
