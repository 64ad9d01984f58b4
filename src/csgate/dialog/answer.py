"""The answerer of the conversations: understand, decide, compose; and, of a picture, show what was seen."""

from collections.abc import Awaitable, Callable

import msgspec
import trio

from csgate.config import DialogSettings
from csgate.dialog.compose import compose
from csgate.dialog.decide import Decision, decide
from csgate.dialog.engine import Engine
from csgate.dialog.lookup import Lookup
from csgate.dialog.pack import Pack
from csgate.dialog.understand import Understanding, understand
from csgate.dialog.writing import Writer
from csgate.events import Draft, Picture
from csgate.media import Line, Shown
from csgate.session.turn import Turn
from csgate.telemetry import Telemetry

Show = Callable[[str, Picture, Shown], Awaitable[str | None]]
"""Makes the picture that shows what was seen in a conversation's picture, and gives its reference; None for none."""


class Dialog:
    """Answers turns from one pack. Holds no state of conversations: everything it knows is in the turn."""

    def __init__(
        self,
        pack: Pack,
        engine: Engine,
        settings: DialogSettings,
        telemetry: Telemetry,
        writer: Writer | None = None,
        show: Show | None = None,
    ) -> None:
        """``writer`` puts answers into generators' words; without one the pack's own are sent. ``show`` is asked for
        pictures that have a reference, thus are kept.
        """
        self.pack = pack
        self._writer = writer
        self._show = show
        self._engine = engine
        self._default = settings.language
        self._lookup = Lookup(pack, engine, telemetry)
        self._log = telemetry.log
        model = engine.info.models.get("intent")
        self._strangers = frozenset(model.labels if model is not None else ()) - frozenset(pack.intents)
        if self._strangers:
            # They are left out of every ranking, so such messages end in a question.
            self._log.warning("intents_not_in_pack", pack=pack.name, intents=sorted(self._strangers))

    async def prepare(self) -> None:
        """Lets the text encoder read the pack's pages, for a better search. To be called once, before any answer."""
        await self._lookup.prepare()

    async def answer(self, turn: Turn) -> Draft:
        """The reply to one message.

        Raises:
            CsgateError: what ``understand`` raises; it is the turn's final error.
        """
        began = trio.current_time()
        turn.progress("understanding")
        understanding = await understand(turn, self.pack, self._engine, self._default, self._strangers)
        hits = await self._lookup.find(understanding)
        if hits:
            understanding = msgspec.structs.replace(understanding, knowledge=hits)
        turn.progress("answering")
        decision = decide(understanding, self.pack)
        draft = compose(decision, understanding, self.pack, (trio.current_time() - began) * 1e3)
        if self._show is None or turn.picture is None or turn.picture.reference is None:
            draft = await self._worded(decision, understanding, draft, turn)
        else:
            shown = _Shown()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(shown.by, self._show, turn.conversation, turn.picture, understanding)
                draft = await self._worded(decision, understanding, draft, turn)
            draft = msgspec.structs.replace(draft, image_url=shown.reference)
        self._log.debug(
            "decided",
            decision=type(decision).__name__,
            source=draft.source,
            intent=draft.intent.name if draft.intent is not None else None,
            confidence=draft.intent.confidence if draft.intent is not None else None,
            language=understanding.language,
            lacking=sorted(understanding.lacking),
            **draft.timing,
        )
        return draft

    async def _worded(self, decision: Decision, understanding: Understanding, draft: Draft, turn: Turn) -> Draft:
        if self._writer is None:
            return draft
        return await self._writer.rewrite(decision, understanding, draft, turn)


class _Shown:
    """What comes of showing a picture while its answer is written."""

    reference: str | None = None

    async def by(self, show: Show, conversation: str, picture: Picture, understanding: Understanding) -> None:
        read = understanding.read.lines if understanding.read is not None else ()
        lines = tuple([Line(line.text, line.score, line.box) for line in read])
        seen = Shown(understanding.tags, understanding.kind, lines, understanding.language)
        self.reference = await show(conversation, picture, seen)
