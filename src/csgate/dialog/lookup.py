"""Looks a question up in the pack's pages, with what the text encoder makes of both.

The encoder is the intent model: what it makes of a text is how likely it takes each intent to be. The square roots of
these likelihoods are a vector of length 1, and the product of two such vectors is 1 for texts that it takes for the
same and 0 for texts that have nothing in common (Bhattacharyya 1943). So a question costs no run of its own.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import trio

from csgate.dialog.decide import consults
from csgate.dialog.engine import Engine
from csgate.dialog.knowledge import Hit, KnowledgeIndex, Vectors
from csgate.dialog.knowledge_pages import Passage
from csgate.dialog.pack import Pack
from csgate.dialog.understand import Understanding
from csgate.errors import CsgateError
from csgate.events import Intent, Language
from csgate.telemetry import Telemetry

# So many texts of pages are encoded side by side at start-up: as many as fill a batch.
_SIDE_BY_SIDE: Final = 32
_SHARE: Final = "knowledge"

# An opening is a text's first sentence, or so many characters.
_OPENING_CHARS: Final = 150
_ENDS: Final = ".。!！?？"


class Lookup:
    """Searches the pages of a pack. Safe for any number of turns at once."""

    def __init__(self, pack: Pack, engine: Engine, telemetry: Telemetry) -> None:
        self._pack = pack
        self._engine = engine
        self._log = telemetry.log
        self._pages: Mapping[Language, KnowledgeIndex] = pack.pages
        model = engine.info.models.get("intent")
        self._places = {name: place for place, name in enumerate(model.labels)} if model is not None else {}
        if pack.pages and pack.knowledge.sample:
            self._log.warning("knowledge_is_a_sample", pack=pack.name)

    async def prepare(self) -> None:
        """Lets the encoder read the pages. Without it, or where it fails, words alone decide."""
        if not self._places:
            return
        pages: dict[Language, KnowledgeIndex] = {}
        try:
            for language, index in self._pack.pages.items():
                pages[language] = index.with_vectors(await self._encoded(index.passages))
        except CsgateError as error:
            self._log.warning("knowledge_not_encoded", code=error.code, detail=error.detail)
            return
        self._pages = pages

    async def find(self, understanding: Understanding) -> tuple[Hit, ...]:
        """What the pages say about a message, best first; nothing where they have no say."""
        u = understanding
        return await self.search(u.subject or u.text, u.language, u.ranking) if consults(u, self._pack) else ()

    async def search(self, question: str, language: Language, ranking: Sequence[Intent] = ()) -> tuple[Hit, ...]:
        """What the pages in that language say about a question, best first. ``ranking``: its intents, with all of them
        the search is better."""
        index = self._pages.get(language)
        if index is None:
            return ()
        vector = self._vector(ranking) if ranking and self._places else None
        if index.is_quick(question):
            return index.search(question, vector)
        return await trio.to_thread.run_sync(index.search, question, vector)

    def _vector(self, ranking: Sequence[Intent]) -> Vectors:
        vector = np.zeros(len(self._places), np.float32)
        for intent in ranking:
            place = self._places.get(intent.name)
            if place is not None:
                vector[place] = math.sqrt(intent.confidence)
        return vector

    async def _encoded(self, passages: Sequence[Passage]) -> Vectors:
        """``float32[len(passages), intents]``: of headings, headings with what follows, and named intents, added."""
        vectors = np.zeros((len(passages), len(self._places)), np.float32)
        limit = trio.CapacityLimiter(_SIDE_BY_SIDE)

        errors: list[CsgateError] = []

        async def add(place: int, text: str, scope: trio.CancelScope) -> None:
            try:
                async with limit:
                    result = await self._engine.classify_intent(
                        text, share=_SHARE, principal=_SHARE, priority=1, deadline=math.inf
                    )
            except CsgateError as error:
                errors.append(error)
                scope.cancel()
                return
            vectors[place] += self._vector(result.ranking)

        async with trio.open_nursery() as nursery:
            for place, passage in enumerate(passages):
                heading = " ".join(passage.path)
                nursery.start_soon(add, place, heading, nursery.cancel_scope)
                nursery.start_soon(add, place, f"{heading} {_opening(passage.text)}", nursery.cancel_scope)
        if errors:
            raise errors[0]
        for place, passage in enumerate(passages):
            # What the pack's author knows counts as much as what the encoder thinks.
            vectors[place] += 2 * self._vector([Intent(name, 1 / len(passage.intents)) for name in passage.intents])
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
        return vectors


def _opening(text: str) -> str:
    """What ``text`` says first."""
    end = min((place + 1 for mark in _ENDS if 0 <= (place := text.find(mark)) < _OPENING_CHARS), default=_OPENING_CHARS)
    return text[:end]
