"""Knowledge: the pack's pages, searched for the passage that answers a question.

Words are weighed by BM25 (Robertson and Zaragoza 2009, "The Probabilistic Relevance Framework") as bm25s does it. What
the text encoder makes of question and passage is added where both vectors are given. Both together become a score
between 0 and 1 that says how likely the passage answers.
"""

import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Annotated, Final

import bm25s
import msgspec
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from csgate.dialog.knowledge_pages import Passage, read_page
from csgate.dialog.knowledge_words import Vocabulary
from csgate.dialog.manifest import Line, check, read_toml
from csgate.errors import PackError
from csgate.events import Language

# On import it asks for every line that it could ever log.
logging.getLogger("bm25s").setLevel(logging.WARNING)

Vectors = NDArray[np.float32]
Groups = Annotated[tuple[Annotated[tuple[Line, ...], Field(min_length=2)], ...], Field(max_length=2_000)]

SYNONYMS: Final = "synonyms.toml"

# A question is what stands within so many characters.
MAX_QUESTION_CHARS: Final = 400
# A longer question, or more passages in a language, take more than about 0.5 ms, which is too long for the event loop.
MAX_INLINE_CHARS: Final = 150
MAX_INLINE_PASSAGES: Final = 2_000
MAX_PASSAGES: Final = 10_000

# How BM25 takes repetition and length, and how often a heading's words count; chosen on the choosing half of
# models/training/data/knowledge_*.txt, as are the weights below.
_K1: Final = 1.5
_B: Final = 0.3
_HEADING_TIMES: Final = 3
_VECTOR_WEIGHT: Final = 0.15


class Hit(msgspec.Struct, frozen=True):
    """A passage that may answer.

    ``score``: how likely it does, in [0, 1]. ``lead``: how far it is ahead of the best passage under another heading,
    as a share of what the question asks for.
    """

    passage: Passage
    score: float
    lead: float


class _Weights(msgspec.Struct, frozen=True):
    """Of a logistic regression of "the first passage answers" on what a search finds."""

    share: float
    lead: float
    amount: float
    bias: float

    def score(self, share: float, lead: float, amount: float) -> float:
        return 1 / (1 + math.exp(-(self.share * share + self.lead * lead + self.amount * amount + self.bias)))


# By words alone, and with vectors.
_BY_WORDS: Final = _Weights(share=3.62, lead=4.84, amount=4.82, bias=-3.89)
_BY_BOTH: Final = _Weights(share=3.93, lead=6.95, amount=2.84, bias=-3.77)


class KnowledgeIndex:
    """The passages of one language, indexed. Never changes: safe to be searched from any thread."""

    def __init__(self, passages: Sequence[Passage], vocabulary: Vocabulary) -> None:
        """Raises:
        ValueError: there are no passages.
        """
        if not passages:
            raise ValueError("no passages")
        self.passages: Final = tuple(passages)
        self._vocabulary = vocabulary
        self._vectors: Vectors | None = None
        corpus = [self._indexed(passage) for passage in self.passages]
        self._index = bm25s.BM25(k1=_K1, b=_B)
        self._index.index(corpus, show_progress=False)
        frequencies = Counter(word for words in corpus for word in set(words))
        count = len(self.passages)
        # What Lucene's BM25, which is bm25s' default, multiplies a word's part by; and a word that no passage has.
        self._weights = {word: math.log1p((count - n + 0.5) / (n + 0.5)) for word, n in frequencies.items()}
        self._rarest = math.log1p((count + 0.5) / 0.5)

    def _indexed(self, passage: Passage) -> list[str]:
        words = [word for name in passage.path[:1] for word in self._vocabulary.words(name)]
        telling = " . ".join((*passage.path[1:], passage.also))
        words += self._vocabulary.words(telling) * _HEADING_TIMES
        # Text without a single word would leave bm25s nothing to count.
        return words + self._vocabulary.words(passage.text) or [""]

    def with_vectors(self, vectors: Vectors) -> "KnowledgeIndex":
        """The same with ``vectors``: ``float32[len(passages), D]``, each of length 1.

        Raises:
            ValueError: it is another number of vectors.
        """
        if vectors.ndim != 2 or len(vectors) != len(self.passages):
            raise ValueError(f"vectors of shape {vectors.shape} for {len(self.passages)} passages")
        twin = copy(self)
        twin._vectors = vectors
        return twin

    def is_quick(self, question: str) -> bool:
        """Whether a search for ``question`` may be made on the event loop."""
        return len(question) <= MAX_INLINE_CHARS and len(self.passages) <= MAX_INLINE_PASSAGES

    def search(self, question: str, vector: Vectors | None = None, count: int = 3) -> tuple[Hit, ...]:
        """Up to ``count`` passages, best first; none where no word of the question is in any.

        ``vector``: ``float32[D]`` of length 1, the question's, from what made the passages' vectors. The question is
        cut at ``MAX_QUESTION_CHARS``.
        """
        words = list(dict.fromkeys(self._vocabulary.words(question[:MAX_QUESTION_CHARS])))
        known = [word for word in words if word in self._weights]
        if not known:
            return ()
        found = self._index.get_scores(known)
        asked = sum(self._weights.get(word, self._rarest) for word in words)
        shares = found / asked
        weights = _BY_WORDS
        if vector is not None and self._vectors is not None:
            weights = _BY_BOTH
            shares = shares + _VECTOR_WEIGHT * (self._vectors @ vector)
        order = np.argsort(-shares, kind="stable")
        first = self.passages[order[0]].path
        best = float(shares[order[0]])
        second = next((float(shares[place]) for place in order if self.passages[place].path != first), 0.0)
        hits: list[Hit] = []
        for place in order[:count]:
            passage, share = self.passages[place], float(shares[place])
            lead = share - (second if passage.path == first else best)
            if found[place] > 0:
                amount = math.log1p(share * asked / self._rarest)
                hits.append(Hit(passage, weights.score(share, lead, amount), lead))
        return tuple(hits)


def load_knowledge(folder: Path, languages: Sequence[Language]) -> dict[Language, KnowledgeIndex]:
    """The pages of a pack's ``knowledge`` folder (``en/*.md``, ``zh/*.md``), indexed; nothing where there is no folder.

    Raises:
        PackError: a page or ``synonyms.toml`` is wrong, or in a language that the pack does not have; or there are more
            than ``MAX_PASSAGES``.
    """
    if not folder.is_dir():
        return {}
    synonyms: Mapping[Language, Groups] = {}
    if (folder / SYNONYMS).is_file():
        synonyms = check(dict[Language, Groups], read_toml(folder, SYNONYMS), folder / SYNONYMS)
    found: dict[Language, KnowledgeIndex] = {}
    for child in sorted(folder.iterdir()):
        if child.name == SYNONYMS:
            continue
        language = next((one for one in languages if one == child.name), None)
        if language is None or not child.is_dir():
            raise PackError(
                f"Pack folder {folder} has '{child.name}'; it may have {SYNONYMS} and folders of "
                f"the pack's languages ({', '.join(languages)})."
            )
        passages = [passage for file in sorted(child.glob("*.md")) for passage in read_page(file, language)]
        if len(passages) > MAX_PASSAGES:
            raise PackError(f"Pack folder {child} has {len(passages)} passages; at most {MAX_PASSAGES} are searched.")
        if passages:
            found[language] = KnowledgeIndex(passages, Vocabulary(synonyms.get(language, ())))
    return found
