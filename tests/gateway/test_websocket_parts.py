"""The shell's parts: doorbell, heartbeat, outbound queue."""

import pytest
import trio
import trio.testing
from tests.gateway.ws_peer import SETTINGS

from csgate.gateway.ws_doorbell import Doorbell
from csgate.gateway.ws_heartbeat import Beat, Heartbeat
from csgate.gateway.ws_outbound import Outbound
from csgate.gateway.ws_transport import Sendable


class FakeTransport:
    """Takes ``room`` bytes at once, and as many again whenever it is waited for."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.sent = bytearray()
        self.calls: list[bytes] = []
        """What each call took."""
        self.broken = False

    def try_send(self, head: bytes, data: Sendable) -> int:
        if self.broken:
            raise trio.BrokenResourceError
        taken = (head + data)[: self.room]
        self.sent += taken
        self.calls.append(bytes(taken))
        self.room -= len(taken)
        return len(taken)

    async def send_some(self, data: Sendable) -> int:
        await trio.sleep(1)
        self.room = max(self.room, 10)
        return self.try_send(b"", data)

    async def receive(self, target: memoryview | None) -> memoryview | int:
        raise NotImplementedError

    def interrupt(self) -> None:
        raise NotImplementedError

    async def send_eof(self) -> bool:
        raise NotImplementedError

    def detach(self) -> None:
        raise NotImplementedError


# --- doorbell ---


async def test_a_ring_wakes_the_waiter() -> None:
    bell = Doorbell()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bell.wait)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await bell.wait()
        bell.ring()


async def test_a_ring_before_the_wait_is_not_lost_and_not_counted() -> None:
    bell = Doorbell()
    bell.ring()
    bell.ring()
    with trio.testing.assert_checkpoints():
        await bell.wait()
    with trio.move_on_after(0) as scope:
        await bell.wait()
    assert scope.cancelled_caught
    bell.ring()
    await bell.wait()


# --- heartbeat ---


def test_the_close_handshake_has_its_time() -> None:
    beat = Heartbeat(SETTINGS, 100)
    beat.closing_at = 110
    assert beat.decide(112, reading=True, unfinished=5) == (Beat.WAIT, 115)
    assert beat.decide(115, reading=False, unfinished=None)[0] is Beat.GIVE_UP


def test_pings_are_for_silence() -> None:
    beat = Heartbeat(SETTINGS, 0)
    assert beat.decide(0, reading=True, unfinished=None) == (Beat.WAIT, 25)
    beat.heard_at = 19
    assert beat.decide(25, reading=True, unfinished=None) == (Beat.WAIT, 44)
    assert beat.decide(40, reading=True, unfinished=None) == (Beat.WAIT, 44)
    assert beat.decide(44, reading=True, unfinished=None) == (Beat.PING, 52)
    assert beat.decide(45, reading=True, unfinished=None) == (Beat.WAIT, 52)
    assert beat.decide(52, reading=True, unfinished=None)[0] is Beat.NO_PONG


def test_a_pong_ends_the_wait() -> None:
    beat = Heartbeat(SETTINGS, 0)
    assert beat.decide(25, reading=True, unfinished=None)[0] is Beat.PING
    beat.heard_at = 26
    assert beat.decide(33, reading=True, unfinished=None) == (Beat.WAIT, 51)
    assert beat.pinged_at is None
    beat.pinged_at = 51
    beat.heard_at = 52
    assert beat.pong() == 77
    assert beat.pinged_at is None


def test_nobody_reads() -> None:
    beat = Heartbeat(SETTINGS, 0)
    assert beat.decide(25, reading=True, unfinished=None)[0] is Beat.PING
    assert beat.decide(33, reading=False, unfinished=None) == (Beat.WAIT, 41)
    assert beat.decide(41, reading=True, unfinished=None)[0] is Beat.PING


def test_a_message_has_a_time_by_its_size() -> None:
    beat = Heartbeat(SETTINGS, 0)
    assert beat.begin(10) == 30
    assert beat.decide(12, reading=True, unfinished=8192 * 100) == (Beat.WAIT, 130)
    assert beat.decide(129, reading=True, unfinished=8192 * 100) == (Beat.WAIT, 130)
    assert beat.decide(130, reading=True, unfinished=8192 * 100)[0] is Beat.STALLED


# --- outbound ---


async def test_at_once_when_nothing_waits() -> None:
    transport = FakeTransport(100)
    out = Outbound(transport)
    out.put(b"h", b"data")
    out.put(b"g", memoryview(b"more"))
    assert transport.sent == b"hdatagmore"
    assert out.size == 0


@pytest.mark.parametrize("room", range(8))
async def test_the_rest_waits_wherever_the_cut_is(room: int, autojump_clock: trio.testing.MockClock) -> None:
    transport = FakeTransport(room)
    out = Outbound(transport)
    out.put(b"head", memoryview(b"data"))
    assert out.size == 8 - room
    out.put(b"next", b"")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(out.run, 5.0)
        await out.below(1)
        nursery.cancel_scope.cancel()
    assert transport.sent == b"headdatanext"
    assert out.size == 0


async def test_what_is_held_goes_with_the_next_in_one_call() -> None:
    transport = FakeTransport(100)
    out = Outbound(transport)
    out.put(b"1", b"one", more=True)
    out.put(b"2", b"two", more=True)
    assert transport.calls == []
    assert out.size == 8
    out.put(b"3", memoryview(b"three"))
    assert transport.calls == [b"1one2two3three"]
    assert out.size == 0
    out.put(b"4", b"four")
    assert transport.calls[1:] == [b"4four"]


async def test_what_is_held_for_nothing_goes_in_the_next_pass(autojump_clock: trio.testing.MockClock) -> None:
    transport = FakeTransport(100)
    out = Outbound(transport)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(out.run, 5.0)
        await trio.testing.wait_all_tasks_blocked()
        out.put(b"1", b"one", more=True)
        out.put(b"2", b"two", more=True)
        await out.below(1)
        assert transport.calls == [b"1one2two"]
        # Once that has gone, the queue is as new.
        out.put(b"3", b"three", more=True)
        out.put(b"4", b"four")
        assert transport.calls[1:] == [b"3three4four"]
        nursery.cancel_scope.cancel()


async def test_nothing_is_held_behind_what_the_peer_did_not_take(autojump_clock: trio.testing.MockClock) -> None:
    transport = FakeTransport(0)
    out = Outbound(transport)
    out.put(b"1", b"one")
    out.put(b"2", b"two", more=True)
    out.put(b"3", b"three")
    assert transport.calls == [b""]  # the first alone was tried
    async with trio.open_nursery() as nursery:
        nursery.start_soon(out.run, 5.0)
        await trio.sleep(0.5)
        # Under way since the writer took it: nobody else may send now.
        out.put(b"4", b"four", more=True)
        out.put(b"5", b"five")
        assert transport.calls == [b""]
        await out.below(1)
        nursery.cancel_scope.cancel()
    assert transport.sent == b"1one2two3three4four5five"


async def test_what_is_held_is_under_way_once_the_writer_has_it(autojump_clock: trio.testing.MockClock) -> None:
    transport = FakeTransport(0)
    out = Outbound(transport)
    out.put(b"1", b"one", more=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(out.run, 5.0)
        await trio.sleep(0.5)
        transport.room = 100
        out.put(b"2", b"two")
        assert transport.calls == [b""]  # the writer's
        await out.below(1)
        nursery.cancel_scope.cancel()
    assert transport.sent == b"1one2two"


async def test_little_is_held() -> None:
    transport = FakeTransport(10_000)
    out = Outbound(transport)
    out.put(b"1", b"a" * 4000, more=True)
    out.put(b"2", b"b" * 100, more=True)
    assert transport.calls == [b"1" + b"a" * 4000 + b"2" + b"b" * 100]
    out.put(b"3", b"c" * 4096, more=True)
    assert transport.calls[1:] == [b"3" + b"c" * 4096]


@pytest.mark.parametrize("room", range(13))
async def test_the_rest_of_what_was_joined_waits(room: int, autojump_clock: trio.testing.MockClock) -> None:
    transport = FakeTransport(room)
    out = Outbound(transport)
    out.put(b"1", b"one", more=True)
    out.put(b"head", memoryview(b"data"))
    assert out.size == 12 - room
    out.drop_unsent()
    assert out.size == (12 - room if room else 0)
    out.put(b"", b"next")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(out.run, 5.0)
        await out.below(1)
        nursery.cancel_scope.cancel()
    assert bytes(transport.sent) == (b"1oneheaddatanext" if room else b"next")


async def test_what_is_held_is_dropped_with_the_rest() -> None:
    transport = FakeTransport(100)
    out = Outbound(transport)
    out.put(b"1", b"one", more=True)
    out.drop_unsent()
    assert out.size == 0
    out.put(b"2", b"two")
    assert transport.sent == b"2two"
    out.put(b"3", b"three", more=True)
    out.abandon()
    out.put(b"4", b"four")
    assert out.size == 0
    assert transport.sent == b"2two"


@pytest.mark.parametrize("begun", [True, False])
async def test_drop_unsent_keeps_what_was_begun(begun: bool) -> None:
    transport = FakeTransport(3 if begun else 0)
    out = Outbound(transport)
    out.put(b"head", b"data")
    out.put(b"next", b"dropped")
    out.drop_unsent()
    assert out.size == (5 if begun else 0)
    out.drop_unsent()
    assert out.size == (5 if begun else 0)


async def test_drop_unsent_of_nothing() -> None:
    out = Outbound(FakeTransport(100))
    out.drop_unsent()
    assert out.size == 0


async def test_a_frame_under_way_survives_the_drop(autojump_clock: trio.testing.MockClock) -> None:
    transport = FakeTransport(0)
    out = Outbound(transport)
    out.put(b"", b"0123456789abcdef")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(out.run, 5.0)
        await trio.sleep(0.5)
        out.put(b"", b"dropped")
        out.drop_unsent()
        out.put(b"", b"close")
        await out.below(1)
        nursery.cancel_scope.cancel()
    assert transport.sent == b"0123456789abcdefclose"


async def test_large_frames_are_not_joined(autojump_clock: trio.testing.MockClock) -> None:
    transport = FakeTransport(0)
    out = Outbound(transport)
    out.put(b"", b"a" * 30_000)
    out.put(b"", b"b" * 30_000)
    transport.room = 10**6
    async with trio.open_nursery() as nursery:
        nursery.start_soon(out.run, 5.0)
        await trio.sleep(1.5)
        assert transport.sent == b"a" * 30_000
        await out.below(1)
        nursery.cancel_scope.cancel()
    assert transport.sent == b"a" * 30_000 + b"b" * 30_000


async def test_a_peer_that_is_gone() -> None:
    transport = FakeTransport(0)
    out = Outbound(transport)
    transport.broken = True
    out.put(b"head", b"data")
    assert out.broken
    assert out.size == 0
    out.put(b"head", b"data")
    await out.below(0)
    assert await out.run(5.0) is False


async def test_a_peer_that_goes_while_frames_wait(autojump_clock: trio.testing.MockClock) -> None:
    transport = FakeTransport(0)
    out = Outbound(transport)
    out.put(b"head", b"data")
    transport.broken = True
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def wait() -> None:
            await out.below(1)
            assert out.broken

        assert await out.run(5.0) is False
    assert trio.current_time() == 1


async def test_a_peer_that_takes_nothing(autojump_clock: trio.testing.MockClock) -> None:
    out = Outbound(FakeTransport(0))
    out.put(b"head", b"data")
    assert await out.run(0.5) is False
    assert out.broken
    assert trio.current_time() == 0.5
