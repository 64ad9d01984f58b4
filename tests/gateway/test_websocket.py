"""The Trio shell of a WebSocket, over memory streams and with a clock that jumps."""

import math

import pytest
import trio
import trio.testing
from tests.gateway.ws_peer import HANDSHAKE, Peer, echo, serving
from tests.wire.client_frames import BINARY, CONTINUATION, PING, PONG, TEXT, answer, close, closed, fragments, frame

from csgate.gateway.websocket import (
    BinaryMessage,
    CloseInfo,
    ReceiveBudget,
    TextMessage,
    TooLargeMessage,
    WebSocket,
    WebSocketClosed,
    WebSocketSettings,
)


async def wait_for_ever(ws: WebSocket) -> None:
    await trio.sleep_forever()


async def test_echoes_text_and_binary() -> None:
    async with serving(echo) as served:
        await served.peer.send(frame(TEXT, "grüß".encode()), frame(BINARY, b"\xff"))
        assert await served.peer.frame() == (0x81, "grüß".encode())
        assert await served.peer.frame() == (0x82, b"\xff")
        await served.peer.send(*fragments(TEXT, b"in three pieces", 6))
        assert await served.peer.frame() == (0x81, b"in three pieces")
        await served.peer.send(close(1000, "bye"))
        assert await served.peer.close_code() == 1000
        assert await served.peer.frame() == (0, b"")
        assert await served.ended() == CloseInfo(1000, "bye", by_peer=True)


async def test_what_the_app_sees() -> None:
    seen: list[object] = []

    async def app(ws: WebSocket) -> None:
        seen.extend([ws.subprotocol, ws.peer, ws.closed])
        for _ in range(3):
            seen.append(await ws.receive())
        with pytest.raises(WebSocketClosed) as info:
            await ws.receive()
        seen.extend([info.value.code, info.value.reason, str(info.value), ws.closed])

    async with serving(app, subprotocol="csgate.v1", max_message_bytes=10) as served:
        await served.peer.send(frame(TEXT, b"t"), frame(BINARY, b"b"), frame(TEXT, b"*" * 11), close(4001, "moved"))
        await served.ended()
    assert seen == [
        "csgate.v1",
        "198.51.100.7",
        None,
        TextMessage(bytearray(b"t")),
        BinaryMessage(bytearray(b"b")),
        TooLargeMessage(11),
        4001,
        "moved",
        "4001 moved",
        CloseInfo(4001, "moved", by_peer=True),
    ]


async def test_bytes_that_came_with_the_head() -> None:
    first = frame(TEXT, b"early") + frame(TEXT, b"half")[:4]
    async with serving(echo, initial=first) as served:
        assert await served.peer.frame() == (0x81, b"early")
        await served.peer.send(frame(TEXT, b"half")[4:])
        assert await served.peer.frame() == (0x81, b"half")


async def test_the_accepted_head_names_the_subprotocol() -> None:
    client, server = trio.testing.memory_stream_pair()
    from tests.gateway.ws_peer import SETTINGS, serve_websocket

    async with trio.open_nursery() as nursery:

        async def run() -> None:
            await serve_websocket(
                server, HANDSHAKE, echo, subprotocol="csgate.v1", settings=SETTINGS, budget=ReceiveBudget(1000)
            )

        nursery.start_soon(run)
        peer = Peer(client)
        assert b"sec-websocket-protocol: csgate.v1\r\n" in await peer.head()
        await peer.send(close(1000))
        assert await peer.close_code() == 1000
        await peer.leave()


async def test_a_subprotocol_that_was_not_offered() -> None:
    client, server = trio.testing.memory_stream_pair()
    from tests.gateway.ws_peer import SETTINGS, serve_websocket

    with pytest.raises(ValueError, match="not offered"):
        await serve_websocket(
            server, HANDSHAKE, echo, subprotocol="else", settings=SETTINGS, budget=ReceiveBudget(1000)
        )
    assert await client.receive_some() == b""


async def test_settings_from_limits() -> None:
    from csgate.config import LimitSettings

    limits = LimitSettings(max_message_bytes=1, max_frame_bytes=2, outbound_queue_bytes=3, ping_after_seconds=4)
    settings = WebSocketSettings.from_limits(limits)
    assert (settings.max_message_bytes, settings.max_frame_bytes) == (1, 2)
    assert (settings.outbound_queue_bytes, settings.ping_after_s) == (3, 4)


# --- closing ---


async def test_the_app_returns() -> None:
    async def app(ws: WebSocket) -> None:
        ws.send_text(b"that was all")

    async with serving(app) as served:
        assert await served.peer.frame() == (0x81, b"that was all")
        assert await served.peer.close_code() == 1000
        await served.peer.send(frame(TEXT, b"late"), close(1000))
        assert await served.ended() == CloseInfo(1000, "", by_peer=False)


async def test_close_wakes_the_reader_and_drops_what_is_sent_later(autojump_clock: trio.testing.MockClock) -> None:
    async def app(ws: WebSocket) -> None:
        async def closer() -> None:
            await trio.sleep(1)
            ws.close(4001, "draining")
            ws.close(1000)
            ws.send_text(b"dropped")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(closer)
            with pytest.raises(WebSocketClosed, match="4001 draining"):
                await ws.receive()

    async with serving(app) as served:
        assert await served.peer.frame() == (0x88, closed(4001, "draining")[2:])
        await served.peer.send(close(4001))
        assert await served.peer.frame() == (0, b"")
        assert await served.ended() == CloseInfo(4001, "draining", by_peer=False)
    assert trio.current_time() == pytest.approx(1)


async def test_close_before_receive() -> None:
    async def app(ws: WebSocket) -> None:
        ws.close(4505, "origin refused")
        await ws.receive()

    async with serving(app) as served:
        assert await served.peer.close_code() == 4505
        await served.peer.send(close(4505))
        assert (await served.ended()).code == 4505


async def test_a_close_code_that_may_not_be_sent() -> None:
    async def app(ws: WebSocket) -> None:
        with pytest.raises(ValueError, match="1006"):
            ws.close(1006)
        await echo(ws)

    async with serving(app) as served:
        await served.peer.send(frame(TEXT, b"still open"))
        assert await served.peer.frame() == (0x81, b"still open")


async def test_a_peer_that_never_answers_the_close(autojump_clock: trio.testing.MockClock) -> None:
    async def app(ws: WebSocket) -> None:
        ws.close(1001)

    async with serving(app, close_s=5.0) as served:
        assert await served.peer.close_code() == 1001
        assert (await served.ended()).code == 1001
    assert trio.current_time() == pytest.approx(5)


async def test_an_app_that_does_not_end(autojump_clock: trio.testing.MockClock) -> None:
    async def app(ws: WebSocket) -> None:
        await trio.sleep(2)
        ws.close(1001)
        await trio.sleep_forever()

    async with serving(app, close_s=5.0) as served:
        assert await served.peer.close_code() == 1001
        await served.ended()
    assert trio.current_time() == pytest.approx(7)


async def test_the_app_fails() -> None:
    async def app(ws: WebSocket) -> None:
        await ws.receive()
        raise KeyError("a bug")

    async with serving(app) as served:
        await served.peer.send(frame(TEXT, b"x"))
        assert await served.peer.close_code() == 1011
        await served.peer.send(close(1011))
        assert await served.peer.frame() == (0, b"")
        await served.finished()
        assert isinstance(served.error, KeyError)


async def test_the_end_inside_a_nursery_of_the_app_is_no_failure() -> None:
    async def app(ws: WebSocket) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            await echo(ws)

    async with serving(app) as served:
        await served.peer.send(close(1000))
        assert await served.ended() == CloseInfo(1000, "", by_peer=True)


async def test_a_failure_beside_the_end_is_a_failure() -> None:
    async def app(ws: WebSocket) -> None:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def fail_in_the_end() -> None:
                try:
                    await trio.sleep_forever()
                finally:
                    raise KeyError("a bug")

            await echo(ws)

    async with serving(app) as served:
        await served.peer.send(close(1000))
        await served.finished()
        assert isinstance(served.error, ExceptionGroup)


async def test_a_violation_is_told_and_what_follows_is_thrown_away(autojump_clock: trio.testing.MockClock) -> None:
    async with serving(echo) as served:
        await served.peer.send(frame(3), frame(TEXT, b"x" * 100_000), b"\xff" * 100_000)
        assert await served.peer.frame() == (0x88, closed(1002, "reserved opcode")[2:])
        assert await served.peer.frame() == (0, b"")  # the server's half is closed
        await trio.sleep(1)
        await served.peer.send(b"\xff" * 100_000)
        await served.peer.stream.aclose()
        assert await served.ended() == CloseInfo(1002, "reserved opcode", by_peer=False)
    assert trio.current_time() == pytest.approx(1)


async def test_a_violator_that_stays_is_dropped(autojump_clock: trio.testing.MockClock) -> None:
    async with serving(echo, close_s=5.0) as served:
        await served.peer.send(frame(TEXT, b"\xff"))
        assert await served.peer.close_code() == 1007
        await served.over.wait()
        assert served.info == CloseInfo(1007, "text is not UTF-8", by_peer=False)
    assert trio.current_time() == pytest.approx(5)


async def test_a_peer_that_stays_after_both_closes_is_dropped(autojump_clock: trio.testing.MockClock) -> None:
    async with serving(echo, close_s=5.0) as served:
        await served.peer.send(close(1000))
        assert await served.peer.close_code() == 1000
        assert await served.peer.frame() == (0, b"")
        await trio.sleep(1)
        await served.peer.send(frame(TEXT, b"late"))
        await served.over.wait()
    assert trio.current_time() == pytest.approx(5)


async def test_the_peer_vanishes() -> None:
    async with serving(echo) as served:
        await served.peer.send(frame(TEXT, b"whole"), frame(TEXT, b"half")[:8])
        assert await served.peer.frame() == (0x81, b"whole")
        await served.peer.stream.aclose()
        assert await served.ended() == CloseInfo(1006, "", by_peer=True)


async def test_the_peer_vanishes_before_the_answer() -> None:
    from tests.gateway.ws_peer import SETTINGS, serve_websocket

    client, server = trio.testing.memory_stream_pair()
    await client.aclose()
    info = await serve_websocket(server, HANDSHAKE, echo, settings=SETTINGS, budget=ReceiveBudget(1000))
    assert info.code == 1006


async def test_a_peer_that_does_not_take_the_answer(autojump_clock: trio.testing.MockClock) -> None:
    from tests.gateway.ws_peer import SETTINGS, serve_websocket

    _client, server = trio.testing.lockstep_stream_pair()
    info = await serve_websocket(server, HANDSHAKE, echo, settings=SETTINGS, budget=ReceiveBudget(1000))
    assert info.code == 1006
    assert trio.current_time() == pytest.approx(SETTINGS.send_s)


async def test_cancelled_from_outside(autojump_clock: trio.testing.MockClock) -> None:
    budget = ReceiveBudget(10**6)
    async with serving(echo, budget=budget) as served:
        await served.peer.send(frame(BINARY, b"x" * 1000)[:500])
        await trio.testing.wait_all_tasks_blocked()
        assert budget.used == 1000
        served.scope.cancel()
        assert await served.peer.frame() == (0, b"")
        await served.over.wait()
    assert budget.used == 0


async def test_receive_may_be_cancelled_and_called_again(autojump_clock: trio.testing.MockClock) -> None:
    async def app(ws: WebSocket) -> None:
        with trio.move_on_after(1) as scope:
            await ws.receive()
        assert scope.cancelled_caught
        await echo(ws)

    async with serving(app) as served:
        await served.peer.send(frame(TEXT, b"slow")[:7])
        await trio.sleep(2)
        await served.peer.send(frame(TEXT, b"slow")[7:])
        assert await served.peer.frame() == (0x81, b"slow")


# --- bounds ---


async def test_too_large_and_too_large_by_far() -> None:
    async with serving(echo, max_message_bytes=100, max_frame_bytes=200) as served:
        await served.peer.send(frame(TEXT, b"x" * 101), frame(TEXT, b"next"))
        assert await served.peer.frame() == (0x81, b"too large: 101")
        assert await served.peer.frame() == (0x81, b"next")
        await served.peer.send(frame(TEXT, b"x" * 201)[:8])
        assert await served.peer.close_code() == 1009


async def test_a_stranger_may_be_held_to_small_messages() -> None:
    async def app(ws: WebSocket) -> None:
        whole, ws.max_message_bytes = ws.max_message_bytes, 10
        assert await ws.receive() == TooLargeMessage(11)
        message = await ws.receive()
        assert isinstance(message, TextMessage)
        ws.max_message_bytes = whole
        await echo(ws)

    async with serving(app) as served:
        await served.peer.send(frame(TEXT, b"x" * 11), frame(TEXT, b"hello"), frame(TEXT, b"y" * 11))
        assert await served.peer.frame() == (0x81, b"y" * 11)


async def test_the_budget_of_all_connections() -> None:
    budget = ReceiveBudget(1000)
    async with serving(echo, budget=budget) as first, serving(echo, budget=budget) as second:
        await first.peer.send(frame(BINARY, b"x" * 800)[:100])
        await trio.testing.wait_all_tasks_blocked()
        await second.peer.send(frame(BINARY, b"y" * 300)[:8])
        assert await second.peer.close_code() == 1013
        await first.peer.send(frame(BINARY, b"x" * 800)[100:])
        assert await first.peer.frame() == (0x82, b"x" * 800)
    assert budget.used == 0


async def test_a_slow_reader_is_closed(autojump_clock: trio.testing.MockClock) -> None:
    """Nothing is read: the frame under way stays whole, the rest is dropped, then the close."""

    async def app(ws: WebSocket) -> None:
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(12):
            ws.send_text(b"x" * 100)
            await trio.testing.wait_all_tasks_blocked()
        assert ws.closed == CloseInfo(4003, "too slow a reader", by_peer=False)
        await ws.receive()

    async with serving(app, trio.testing.lockstep_stream_pair(), outbound_queue_bytes=1000) as served:
        await trio.sleep(1)
        assert await served.peer.frame() == (0x81, b"x" * 100)
        assert await served.peer.close_code() == 4003
        await served.peer.send(close(4003))
        assert (await served.ended()).code == 4003


async def test_pings_that_pile_up_pongs_are_bounded_too(autojump_clock: trio.testing.MockClock) -> None:
    async with serving(echo, trio.testing.lockstep_stream_pair(), outbound_queue_bytes=1000) as served:
        for _ in range(8):  # of 127 bytes each
            await served.peer.send(frame(PING, b"x" * 125))
        assert await served.peer.close_code() == 4003


async def test_a_reader_that_takes_nothing_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    async def app(ws: WebSocket) -> None:
        ws.send_text(b"x" * 100)
        await ws.drain()
        await ws.receive()

    async with serving(app, trio.testing.lockstep_stream_pair(), outbound_queue_bytes=150, send_s=30.0) as served:
        await served.over.wait()
        assert served.info == CloseInfo(1006, "", by_peer=True)
    assert trio.current_time() == pytest.approx(30)


async def test_drain_waits_for_half_of_the_bound(autojump_clock: trio.testing.MockClock) -> None:
    times: list[float] = []

    async def app(ws: WebSocket) -> None:
        await ws.drain()
        times.append(trio.current_time())
        for _ in range(3):
            ws.send_binary(b"x" * 100_000)
        assert ws.backlog == 3 * 100_010
        await ws.drain()
        times.append(trio.current_time())
        assert ws.backlog < 150_000
        await ws.receive()

    async with serving(app, trio.testing.lockstep_stream_pair(), outbound_queue_bytes=300_030) as served:
        await trio.sleep(3)
        for _ in range(3):
            assert await served.peer.frame() == (0x82, b"x" * 100_000)
    assert times == [0, 3]


async def test_small_frames_are_sent_together(autojump_clock: trio.testing.MockClock) -> None:
    async def app(ws: WebSocket) -> None:
        for i in range(1000):
            ws.send_text(b"%d" % i)
        await ws.receive()

    async with serving(app) as served:
        for i in range(1000):
            assert await served.peer.frame() == (0x81, b"%d" % i)


async def test_what_is_held_goes_before_the_wait_for_more(autojump_clock: trio.testing.MockClock) -> None:
    async def app(ws: WebSocket) -> None:
        await ws.receive()
        ws.send_text(b"held", more=True)
        ws.send_text(b"too", more=True)
        assert ws.backlog == 2 + 4 + 2 + 3
        await ws.receive()
        ws.send_text(b"first", more=True)
        ws.close(4001)

    async with serving(app) as served:
        await served.peer.send(frame(TEXT, b"go"))
        assert await served.peer.frame() == (0x81, b"held")
        assert await served.peer.frame() == (0x81, b"too")
        assert trio.current_time() == 0
        await served.peer.send(frame(TEXT, b"on"))
        assert await served.peer.frame() == (0x81, b"first")
        assert await served.peer.close_code() == 4001


# --- times ---


async def test_ping_after_silence_and_the_pong_keeps_it_open(autojump_clock: trio.testing.MockClock) -> None:
    async with serving(wait_reading) as served:
        for at in (25, 50.5, 76):
            assert await served.peer.frame() == (0x89, b"")
            assert trio.current_time() == pytest.approx(at)
            await trio.sleep(0.5)
            await served.peer.send(frame(PONG))
        await trio.sleep(10)
        await served.peer.send(frame(TEXT, b"x"))
        assert await served.peer.frame() == (0x89, b"")
        assert trio.current_time() == pytest.approx(76.5 + 10 + 25)


async def wait_reading(ws: WebSocket) -> None:
    while True:
        await ws.receive()


async def test_no_pong(autojump_clock: trio.testing.MockClock) -> None:
    async with serving(wait_reading) as served:
        assert await served.peer.frame() == (0x89, b"")
        assert await served.peer.close_code() == 4002
        assert trio.current_time() == pytest.approx(33)
        assert (await served.ended()).code == 4002
        assert trio.current_time() == pytest.approx(38)


async def test_any_bytes_count_as_a_sign_of_life(autojump_clock: trio.testing.MockClock) -> None:
    async with serving(wait_reading) as served:
        assert await served.peer.frame() == (0x89, b"")
        await trio.sleep(7)
        await served.peer.send(frame(TEXT, b"busy"))
        assert await served.peer.frame() == (0x89, b"")
        assert trio.current_time() == pytest.approx(57)


async def test_our_own_silence_is_not_the_peers(autojump_clock: trio.testing.MockClock) -> None:
    """While the app does not read, no pong is missed; once it reads again, the peer is asked."""

    async def app(ws: WebSocket) -> None:
        await trio.sleep(100)
        await wait_reading(ws)

    async with serving(app) as served:
        assert await served.peer.frame() == (0x89, b"")
        assert 100 <= trio.current_time() <= 108
        await served.peer.send(frame(PONG))
        assert await served.peer.frame() == (0x89, b"")


@pytest.mark.parametrize("size", [100, 8192 * 10])
async def test_a_message_that_stalls(size: int, autojump_clock: trio.testing.MockClock) -> None:
    async with serving(wait_reading) as served:
        await trio.sleep(3)
        await served.peer.send(frame(TEXT, b"x" * size)[:50])
        assert await served.peer.close_code() == 4006
        assert trio.current_time() == pytest.approx(3 + 20 + size / 8192)


async def test_a_fragmented_message_that_stalls(autojump_clock: trio.testing.MockClock) -> None:
    async with serving(wait_reading) as served:
        await served.peer.send(frame(TEXT, b"x", fin=False))
        await trio.sleep(15)
        await served.peer.send(frame(CONTINUATION, b"y", fin=False))
        assert await served.peer.close_code() == 4006
        assert trio.current_time() == pytest.approx(20, abs=0.01)


async def test_a_header_that_stalls(autojump_clock: trio.testing.MockClock) -> None:
    async with serving(wait_reading) as served:
        await served.peer.send(b"\x81")
        assert await served.peer.close_code() == 4006
        assert trio.current_time() == pytest.approx(20, abs=0.01)


async def test_a_pong_in_two_pieces_is_no_message_that_begins(autojump_clock: trio.testing.MockClock) -> None:
    async with serving(echo) as served:
        assert await served.peer.frame() == (0x89, b"")
        await served.peer.send(frame(PONG, b"xyz")[:5])
        await trio.sleep(1)
        await served.peer.send(frame(PONG, b"xyz")[5:])
        await trio.sleep(22)
        await served.peer.send(frame(TEXT, b"slow")[:5])
        await trio.sleep(15)
        await served.peer.send(frame(TEXT, b"slow")[5:])
        assert await served.peer.frame() == (0x81, b"slow")


async def test_a_pong_does_not_put_off_what_is_due(autojump_clock: trio.testing.MockClock) -> None:
    async with serving(wait_reading) as served:
        assert await served.peer.frame() == (0x89, b"")
        await trio.sleep(2)
        await served.peer.send(frame(TEXT, b"x", fin=False))
        await trio.sleep(1)
        await served.peer.send(frame(PONG))
        assert await served.peer.close_code() == 4006
        assert trio.current_time() == pytest.approx(47, abs=0.01)


async def test_a_late_pong_does_not_put_off_the_end(autojump_clock: trio.testing.MockClock) -> None:
    async def app(ws: WebSocket) -> None:
        with trio.move_on_after(26):
            await ws.receive()
        ws.close(1001)

    async with serving(app, close_s=5.0) as served:
        assert await served.peer.frame() == (0x89, b"")
        assert await served.peer.close_code() == 1001
        await trio.sleep(1)
        await served.peer.send(frame(PONG))
        await served.ended()
    assert trio.current_time() == pytest.approx(31)


async def test_a_slow_message_within_its_time(autojump_clock: trio.testing.MockClock) -> None:
    payload = b"x" * 8192 * 60
    sent = frame(TEXT, payload)
    async with serving(echo) as served:
        for i in range(0, len(sent), 8192):
            await served.peer.send(sent[i : i + 8192])
            await trio.sleep(1.2)
        assert await served.peer.frame() == (0x81, payload)
        # Each message has its own time.
        for i in range(0, len(sent), 8192):
            await served.peer.send(sent[i : i + 8192])
            await trio.sleep(1.2)
        assert await served.peer.frame() == (0x81, payload)


# --- fairness ---


async def test_ten_thousand_messages_at_once_leave_others_their_turn() -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    received = 0

    async def app(ws: WebSocket) -> None:
        nonlocal received
        for _ in range(10_000):
            await ws.receive()
            received += 1

    async with serving(app) as served, trio.open_nursery() as nursery:
        nursery.start_soon(count)
        await served.peer.send(frame(TEXT, b"again") * 10_000)
        assert await served.peer.close_code() == 1000
        nursery.cancel_scope.cancel()
    assert received == 10_000
    assert turns >= 10_000 // 32


async def test_answers_to_many_pings_and_messages_keep_their_order() -> None:
    async with serving(echo) as served:
        sent = b"".join(frame(TEXT, b"%d" % i) + frame(PING, b"%d" % i) for i in range(300))
        await served.peer.send(sent)
        want = b"".join(answer(TEXT, b"%d" % i) + answer(PONG, b"%d" % i) for i in range(300))
        assert await served.peer.read(len(want)) == want


def test_the_settings_have_a_sane_default() -> None:
    from tests.gateway.ws_peer import SETTINGS

    assert math.isfinite(SETTINGS.ping_after_s + SETTINGS.pong_s)
    assert SETTINGS.max_message_bytes <= SETTINGS.max_frame_bytes
