"""The answerer of the conversations: understand, decide, compose."""

import msgspec
import trio

from csgate.config import DialogSettings
from csgate.dialog.compose import compose
from csgate.dialog.decide import decide
from csgate.dialog.engine import Engine
from csgate.dialog.lookup import Lookup
from csgate.dialog.pack import Pack
from csgate.dialog.understand import understand
from csgate.dialog.writing import Writer
from csgate.events import Draft
from csgate.session.turn import Turn
from csgate.telemetry import Telemetry


class Dialog:
    """Answers turns from one pack. Holds no state of conversations: everything it knows is in the turn."""

    def __init__(
        self, pack: Pack, engine: Engine, settings: DialogSettings, telemetry: Telemetry, writer: Writer | None = None
    ) -> None:
        """``writer`` puts answers into generators' words; without one the pack's own are sent."""
        self.pack = pack
        self._writer = writer
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
        if self._writer is not None:
            draft = await self._writer.rewrite(decision, understanding, draft, turn)
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
