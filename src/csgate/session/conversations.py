"""All conversations of a process: finding, making and forgetting them, and the nursery in which their work runs."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Final

import trio

from csgate.config import SessionSettings
from csgate.errors import Forbidden, NotFound, Overloaded, StoreUnavailable
from csgate.events import Principal
from csgate.session.attachment import Attachment, Sink
from csgate.session.conversation import Conversation
from csgate.session.hearing import Hearing
from csgate.session.identity import new_conversation_id, new_epoch
from csgate.session.keeping import Keep
from csgate.session.office import ANY_TIME, Office
from csgate.session.reopening import reopen_turns
from csgate.session.store import Header, Page, Store
from csgate.session.turn import Answerer
from csgate.session.wording import language_of
from csgate.telemetry import Telemetry

SWEEP_SECONDS: Final = 60.0
# One slice of a sweep; the loop gets a breath between two.
SWEEP_CONVERSATIONS: Final = 256
RETRY_S: Final = 30.0
EMPTY: Final = Page(first=1, last=0, events=())


def _utc_now() -> datetime:
    return datetime.now(UTC)


@asynccontextmanager
async def open_conversations(
    store: Store,
    answer: Answerer,
    settings: SessionSettings,
    telemetry: Telemetry,
    *,
    now: Callable[[], datetime] = _utc_now,
    keep: Keep | None = None,
) -> AsyncIterator["Conversations"]:
    """Owns the nursery in which conversation actors and turns run, so that they outlive connections.

    Leaving the block cancels what still runs; :meth:`Conversations.drained` waits for it first. A turn cancelled so
    gets no final event here: it stays open in the store, and one that outlives the process has it run again, as a
    higher attempt, when the block is entered next.

    Args:
        now: wall clock for timestamps, aware of its zone. Deadlines use Trio's clock.
        keep: called beside ``answer`` for each message with a picture that has a reference: no turn ends well before
            its picture is kept, and one that is stopped has it kept all the same.
    """
    async with trio.open_nursery() as nursery:
        office = Office(store, answer, settings, telemetry, now, nursery.start_soon, keep)
        office.count(said=await store.count())
        store.listen(office.vanished)
        await reopen_turns(office)
        if office.shared is not None:
            office.shared.connect(Hearing(office))
        office.start(_sweep, office)
        try:
            yield Conversations(office)
        finally:
            office.closed = True
            nursery.cancel_scope.cancel()


class Conversations:
    """The way in; made by :func:`open_conversations`."""

    __slots__ = ("_office",)

    def __init__(self, office: Office) -> None:
        self._office = office

    @property
    def open_turns(self) -> int:
        """Turns waiting or running."""
        return self._office.open_turns

    @property
    def open_bytes(self) -> int:
        """Bytes of the pictures that they hold."""
        return self._office.open_bytes

    @property
    def count(self) -> int:
        """Conversations held, in the store or only attached to."""
        return self._office.conversations

    @property
    def live(self) -> int:
        """Conversations in memory: somebody is attached, or work is pending."""
        return len(self._office.live)

    @property
    def trouble(self) -> str | None:
        """In a sentence, why the store cannot do its work now; None where it can."""
        return self._office.store.trouble

    @property
    def draining(self) -> bool:
        return self._office.draining

    async def attach(
        self,
        principal: Principal,
        sink: Sink,
        *,
        conversation: str | None = None,
        epoch: str | None = None,
        offset: int | None = None,
        locale: str | None = None,
    ) -> Attachment:
        """Opens a new conversation, or comes back to one.

        What the returned attachment holds and what its sink gets join without gap and without overlap: the sink gets
        nothing before this returns, so send history and snapshot before the next checkpoint.

        Args:
            principal: a customer or service sees its own conversations, an agent those of its tenant. A principal
                restricted to one conversation opens that one.
            conversation: None for a new one; it costs nothing until something is said in it.
            epoch, offset: what the client has; with both good, ``recovered`` is true.
            locale: BCP 47 tag, for what csgate says where the customer's words do not tell a language.

        Raises:
            NotFound: unknown, forgotten, or not this principal's; these cannot be told apart.
            Forbidden: an agent asked for a new conversation.
            Overloaded: no room for another conversation, or for another attachment to this one.
            StoreUnavailable: the store cannot be asked now.
        """
        wanted = principal.conversation if conversation is None else conversation
        if principal.conversation is not None and wanted != principal.conversation:
            raise NotFound
        target = await (self._create(principal) if wanted is None else self._find(principal, wanted))
        if len(target.attachments) >= self._office.settings.max_attachments:
            raise Overloaded("attachments", retry_after=RETRY_S)
        if not target.said and locale is not None:
            target.language = language_of("", locale)
        attachment = Attachment(target, principal, sink, locale)
        try:
            if self._office.shared is not None and target.said:
                # First, so that nothing is logged between what is read and what is heard.
                await self._office.shared.join(target.header.id)
            page, recovered = await self._page(target, epoch, offset)
        except BaseException:
            await attachment.detach()
            raise
        attachment.go_live(page, recovered)
        return attachment

    def begin_drain(self) -> None:
        """From now on new messages are refused with ``overloaded``; those acknowledged before get their answers."""
        self._office.draining = True

    async def drained(self) -> None:
        """Waits until every acknowledged message has its final event."""
        await self._office.quiet()

    async def _create(self, principal: Principal) -> Conversation:
        if principal.role == "agent":
            raise Forbidden
        office = self._office
        if office.conversations >= office.settings.max_conversations:
            if len(office.live) < office.settings.max_conversations:
                await office.forget(before=ANY_TIME, at_most=1)
            if office.conversations >= office.settings.max_conversations:
                raise Overloaded("conversations", retry_after=RETRY_S)
        header = Header(new_conversation_id(), new_epoch(), principal.issuer, principal.tenant, principal.subject)
        office.count(unsaid=1)
        return Conversation(office, header, None, said=False)

    async def _find(self, principal: Principal, wanted: str) -> Conversation:
        office = self._office
        target = office.live.get(wanted)
        if target is not None:
            _check_owner(principal, target.header)
            if target.vanished:
                raise NotFound
            return target
        stored = await office.store.load(wanted)
        if stored is None:
            raise NotFound
        _check_owner(principal, stored.header)
        # Somebody else may have come while the store was asked.
        return office.live.get(wanted) or Conversation(office, stored.header, stored.state_event, said=True)

    async def _page(self, target: Conversation, epoch: str | None, offset: int | None) -> tuple[Page, bool]:
        store, id = self._office.store, target.header.id
        # As of now: a first message that comes while the store reads is given to the attachment when it is published.
        said = target.said
        if epoch == target.header.epoch and offset is not None:
            missed = _known(await store.read(id, after=offset), said)
            if missed.first - 1 <= offset <= missed.last:
                return missed, True
        return _known(await store.read(id, limit=self._office.settings.page_events), said), False


def _known(page: Page | None, said: bool) -> Page:
    if page is not None:
        return page
    if said:
        raise NotFound("evicted just before it was attached to")
    return EMPTY


def _check_owner(principal: Principal, header: Header) -> None:
    if principal.role == "agent":
        allowed = principal.tenant == header.tenant
    else:
        allowed = principal.owner == (header.issuer, header.tenant, header.subject)
    if not allowed:
        raise NotFound


async def _sweep(office: Office) -> None:
    """Forgets idle conversations by age and by number, for ever."""
    max_age, most = office.settings.max_age_seconds, office.settings.max_conversations
    while True:
        await trio.sleep(min(SWEEP_SECONDS, max_age))
        try:
            if office.shared is not None:
                await office.recount()
            await _forget(office, lambda: SWEEP_CONVERSATIONS, office.timestamp(max_age))
            # There can be too many where fewer are allowed than were before the last start.
            await _forget(office, lambda: min(SWEEP_CONVERSATIONS, office.conversations - most), ANY_TIME)
        except StoreUnavailable as error:
            office.telemetry.log.warning("conversations_not_forgotten", detail=error.detail)
        except Exception:
            # What goes wrong here in a way that nobody foresaw ends no conversation.
            office.telemetry.log.exception("conversations_not_forgotten")


async def _forget(office: Office, wanted: Callable[[], int], before: str) -> None:
    """In slices of ``wanted`` until it comes to nothing."""
    while (at_most := wanted()) > 0:
        forgotten = await office.forget(before=before, at_most=at_most)
        await trio.lowlevel.checkpoint()
        if forgotten < at_most:
            break
