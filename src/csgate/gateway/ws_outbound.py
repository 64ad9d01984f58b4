"""What waits to be sent to one peer: a bounded queue of whole frames, and the task that empties it."""

from collections import deque
from typing import Final

import trio

from csgate.gateway.ws_doorbell import Doorbell
from csgate.gateway.ws_transport import Sendable, Transport

_GATHER_BYTES: Final = 32 * 1024
_HELD_BYTES: Final = 4 * 1024
"""How much waits for company, at most; it is copied once more when it goes."""


class Outbound:
    """Sends at once what the transport takes at once; the rest waits for ``run``, and so does what is to be joined.

    ``size`` is the number of bytes waiting; the bound on it is its owner's to keep. ``broken``: the peer is gone, and
    everything is dropped.
    """

    __slots__ = ("_begun", "_bell", "_eased", "_frames", "_held", "_transport", "broken", "size")

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._frames: deque[Sendable] | None = None  # an idle connection needs none
        self._begun = False
        """The first frame has been sent in part."""
        self._held = False
        """All that waits does so for company alone: the peer was not asked to take it yet."""
        self._bell = Doorbell()
        self._eased: trio.Event | None = None
        self.size = 0
        self.broken = False

    def put(self, head: bytes, data: Sendable, *, more: bool = False) -> None:
        """Sends or queues one frame. Never blocks and never raises for the peer's sake.

        Args:
            data: must not change afterwards.
            more: the next frame is probably near. A small one is held until then, and they are sent together; if no
                other follows before the scheduler's next pass, ``run`` sends it then.
        """
        if self.broken:
            return
        if more and (self._held or not self.size) and self.size + len(head) + len(data) <= _HELD_BYTES:
            self._held = True
            self._queue(head + data)
            return
        if self._held:
            self._held = False
            assert self._frames is not None
            head = b"".join((*self._frames, head))
            self._frames.clear()
            self.size = 0
        elif self.size:
            self._queue(head + data)
            return
        try:
            sent = self._transport.try_send(head, data)
        except trio.BrokenResourceError:
            self._break()
            return
        rest = len(head) + len(data) - sent
        if rest:
            self._begun = sent > 0
            self._queue(memoryview(data)[-rest:] if rest <= len(data) else head[sent:] + data)

    def drop_unsent(self) -> None:
        """Forgets every frame but one that the peer already has a part of; those sent together count as one."""
        if self._frames:
            first = self._frames[0]
            self._frames.clear()
            self.size = 0
            if self._begun:
                self._frames.append(first)
                self.size = len(first)

    async def below(self, size: int) -> None:
        """Waits until fewer than ``size`` bytes wait, or the peer is gone. A checkpoint."""
        await trio.lowlevel.checkpoint()
        while self.size >= size and not self.broken:
            if self._eased is None:
                self._eased = trio.Event()
            await self._eased.wait()

    async def run(self, send_s: float) -> bool:
        """Sends what is queued, for ever; ``False`` when the peer took nothing for ``send_s`` seconds or is gone."""
        while not self.broken:
            if not self.size:
                await self._bell.wait()
                continue
            assert self._frames
            held, self._held = self._held, False
            frame = self._gather()
            sent = 0
            try:
                # The frame may have been dropped meanwhile, but not once begun.
                self._begun = True
                if held:
                    sent = self._transport.try_send(b"", frame)  # nearly always all of it: a deadline would cost more
                if not sent:
                    with trio.move_on_after(send_s):
                        sent = await self._transport.send_some(frame)
            except trio.BrokenResourceError:
                sent = 0
            if not sent:
                self._break()
                return False
            self.size -= sent
            if sent == len(frame):
                self._begun = False
                self._frames.popleft()
            else:
                self._frames[0] = memoryview(frame)[sent:]
            if self._eased is not None:
                self._eased.set()
                self._eased = None
        return False

    def abandon(self) -> None:
        """Drops everything, now and from now on: the stream is gone."""
        self._break()

    def _queue(self, frame: Sendable) -> None:
        if self._frames is None:
            self._frames = deque()
        self._frames.append(frame)
        self.size += len(frame)
        self._bell.ring()

    def _gather(self) -> Sendable:
        """The first frame, joined with those behind it while they are small."""
        frames = self._frames
        assert frames
        if len(frames) == 1 or len(frames[0]) + len(frames[1]) > _GATHER_BYTES:
            return frames[0]
        parts = [frames.popleft()]
        total = len(parts[0])
        while frames and total + len(frames[0]) <= _GATHER_BYTES:
            total += len(frames[0])
            parts.append(frames.popleft())
        joined = b"".join(parts)
        frames.appendleft(joined)
        return joined

    def _break(self) -> None:
        self.broken = True
        self._frames = None
        self.size = 0
        self._bell.ring()
        if self._eased is not None:
            self._eased.set()
            self._eased = None
