"""Which connection is in use: the first, the next one when it breaks, the spare one where there is one, and the first
address again when it is back."""

from collections.abc import Callable
from typing import Final

import trio

from csgate.client.address import ChatAddress
from csgate.client.backoff import Backoff
from csgate.client.client import Client
from csgate.client.dial import Dial
from csgate.client.link import Ended, Link
from csgate.client.notices import Disconnected
from csgate.client.pace import Pace
from csgate.client.refusals import ChatRefused, ChatUnreachable
from csgate.client.roster import Roster
from csgate.errors import CloseCode
from csgate.protocol import Welcome

MAX_HOME_FACTOR: Final = 10.0
_TOKEN_REFUSED: Final = frozenset({CloseCode.BAD_TOKEN, CloseCode.TOKEN_EXPIRED})
_GONE_BY_OUR_FAULT: Final = frozenset(
    {
        CloseCode.PROTOCOL_ERROR,
        CloseCode.UNSUPPORTED_DATA,
        CloseCode.INVALID_PAYLOAD,
        CloseCode.POLICY_VIOLATION,
        CloseCode.TOO_BIG,
    }
)


class Director:
    """Runs the links of one client; ``closing`` ends them in good manners."""

    __slots__ = (
        "_backoff",
        "_client",
        "_dial",
        "_links",
        "_moved",
        "_new_backoff",
        "_pace",
        "_patient",
        "_renewed",
        "_roster",
        "_spare",
        "_spare_ready",
        "_standby",
        "_welcomed",
        "closing",
    )

    def __init__(
        self,
        client: Client,
        roster: Roster,
        new_backoff: Callable[[], Backoff],
        dial: Dial,
        pace: Pace,
        *,
        standby: bool,
        patient: bool,
    ) -> None:
        self.closing = trio.Event()
        self._client = client
        self._roster = roster
        self._new_backoff = new_backoff
        self._backoff = new_backoff()
        self._dial = dial
        self._pace = pace
        self._standby = standby
        self._patient = patient
        self._spare: Link | None = None
        self._spare_ready = trio.Event()
        self._links: set[Link] = set()
        self._moved = trio.Event()
        self._renewed = False
        self._welcomed = False

    async def run(self) -> None:
        """Until ``closing``, or until the client is refused, which it is told."""
        async with trio.open_nursery() as nursery:
            self._client.on_welcome = self._on_welcome
            self._client.on_draining = lambda link, seconds: nursery.start_soon(self._leave, link, seconds)
            # Links outlive those who keep them, for as long as their close handshake takes.
            async with trio.open_nursery() as keeping:
                keeping.start_soon(self._until_closing, keeping.cancel_scope)
                keeping.start_soon(self._go_home, nursery)
                if self._standby:
                    keeping.start_soon(self._keep_spare, nursery)
                try:
                    await self._keep_active(nursery)
                except (ChatRefused, ChatUnreachable) as error:
                    self._client.fail(error)
                keeping.cancel_scope.cancel()
            for link in self._links:
                link.leave("done")
            with trio.move_on_after(self._pace.close_s):
                for link in tuple(self._links):
                    await link.done.wait()
            nursery.cancel_scope.cancel()

    async def _until_closing(self, keeping: trio.CancelScope) -> None:
        await self.closing.wait()
        keeping.cancel()

    # --- the connection in use ---------------------------------------------------------------------------------------

    async def _keep_active(self, nursery: trio.Nursery) -> None:
        """Sees to it that there is one, for ever.

        Raises:
            ChatRefused: coming back would change nothing.
            ChatUnreachable: nobody answers anywhere, and the client is not patient.
        """
        while True:
            link = self._spare
            if link is not None and link.welcome is not None and link.ready:
                self._use(link, link.welcome)
            else:
                link = self._start(nursery, self._roster.current, spare=False)
            link = await self._until_over(link)
            assert link.ended is not None
            delay = self._delay(link, link.ended)
            if self._spare is not None and self._spare.ready:
                continue
            self._client.tell(Disconnected(link.ended.reason or f"close code {link.ended.code}", delay))
            self._spare_ready = trio.Event()
            with trio.move_on_after(delay):
                await self._spare_ready.wait()

    async def _until_over(self, link: Link) -> Link:
        """The connection in use that is over: ``link``, or the one that has taken its place meanwhile."""
        while True:
            await link.over.wait()
            active = self._client.active
            if active is None or active is link or active.over.is_set():
                return link
            link = active

    def _delay(self, link: Link, ended: Ended) -> float:
        """Seconds to wait before the next try.

        Raises:
            ChatRefused, ChatUnreachable: there shall be none.
        """
        exhausted = self._roster.failed(link.address)
        if ended.refused is not None and (exhausted or not ended.elsewhere):
            raise ended.refused
        if ended.code in _TOKEN_REFUSED and self._client.tokens.renewable and not self._renewed:
            # Once: a new token that is refused as well will not get better.
            self._renewed = True
            self._client.tokens.drop(link.token)
        elif ended.code in _GONE_BY_OUR_FAULT or ended.code >= CloseCode.BAD_TOKEN:
            said = ended.reason.rstrip(".") or "no reason given"
            raise ChatRefused(f"The gateway closed the conversation: {said} (close code {ended.code}).", ended.code)
        if ended.unreachable and exhausted and not self._patient and not self._welcomed:
            raise ChatUnreachable(ended.reason)
        if ended.left:
            return 0.0
        if link.wait is not None:
            # Elsewhere there is room at once, for all that have to go; here only when the node is back.
            return self._backoff.within(link.wait) if len(self._roster) > 1 else self._backoff.spread(link.wait)
        return self._backoff.next(grow=exhausted)

    async def _leave(self, link: Link, seconds: float) -> None:
        """Leaves a node that drains, for another one: some time within ``seconds``, and not before its answers."""
        if len(self._roster) == 1:
            return  # it will close when it has answered
        await trio.sleep(self._backoff.within(seconds))
        while not link.spare and not self._client.idle and not link.over.is_set():
            await self._client.changed()
        if not link.over.is_set():
            link.leave("draining")

    # --- another connection ------------------------------------------------------------------------------------------

    async def _keep_spare(self, nursery: trio.Nursery) -> None:
        """A second, silent connection: attached, resumed, and somewhere else if there is somewhere else."""
        backoff = self._new_backoff()
        turn = 0
        while True:
            active = self._client.active
            if active is None or not self._client.known:
                await self._moved.wait()
                continue
            link = self._spare = self._start(nursery, self._roster.other(active.address, turn), spare=True)
            await link.settled.wait()
            if link.ready:
                backoff.reset()
                self._spare_ready.set()
                await link.benched.wait()
            if not link.spare:
                continue  # in use now; another one is needed
            self._spare = None
            turn += 1
            self._client.tokens.drop(link.token if link.ended and link.ended.code in _TOKEN_REFUSED else "")
            await trio.sleep(backoff.next())

    async def _go_home(self, nursery: trio.Nursery) -> None:
        """Looks from time to time whether the first address is back, and moves there without a pause."""
        backoff = self._new_backoff()
        factor = 1.0
        while True:
            moved, active = self._moved, self._client.active
            if active is None or active.address == self._roster.home:
                await moved.wait()
                factor = 1.0
                continue
            with trio.move_on_after(backoff.spread(self._pace.home_after_s * factor)):
                await moved.wait()
                continue
            factor = min(factor * 2, MAX_HOME_FACTOR)
            if self._client.active is None or not self._client.active.ready:
                continue
            link = self._spare
            if link is None or not link.ready or link.address != self._roster.home:
                link = self._start(nursery, self._roster.home, spare=True)
                await link.settled.wait()
            if link.ready and link.spare and link.welcome is not None:
                self._use(link, link.welcome)

    # --- links -------------------------------------------------------------------------------------------------------

    def _start(self, nursery: trio.Nursery, address: ChatAddress, *, spare: bool) -> Link:
        link = Link(address, self._client, self._dial, self._pace, spare=spare)

        async def run() -> None:
            try:
                await link.run()
            finally:
                self._links.discard(link)

        self._links.add(link)
        nursery.start_soon(run)
        return link

    def _on_welcome(self, link: Link, welcome: Welcome) -> None:
        self._roster.learn(welcome.nodes)
        if not link.spare:
            self._use(link, welcome)

    def _use(self, link: Link, welcome: Welcome) -> None:
        """``link`` takes over, in one step: no event can come between."""
        before, standby = self._client.active, link.spare
        self._welcomed = True
        self._renewed = False
        self._roster.arrived(link.address)
        self._backoff.reset()
        if link is self._spare:
            self._spare = None
        link.promote()
        self._client.activate(link, welcome, resumed=welcome.recovered, standby=standby)
        if before is not None and before.ready:
            before.leave("another connection is in use")
        self._moved.set()
        self._moved = trio.Event()
