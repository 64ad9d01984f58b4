"""Judges of generated replies: what they are about, and whether their slots, their end and their language are right."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from generator_data import LANGUAGES, OWN, Replies
from scipy.sparse import hstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from csgate.dialog.language import detect_language
from csgate.dialog.prompt import Filler, presentable

RULES: Final[dict[str, dict[str, str]]] = tomllib.loads((OWN / "reply_rules.toml").read_text(encoding="utf-8"))
_PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")
_LIST: Final = re.compile(r"^[1-3]\. ", re.MULTILINE)
_ENDS: Final = ".!?…。！？～~)）”\"'*_😊❤️👍🙏"
"""As in csgate.dialog.writing."""


def follows_rules(language: str, intent: str, reply: str) -> bool:
    """Whether the reply names what its intent is about."""
    return re.search(RULES[language][intent], reply.lower()) is not None


class LinearJudge:
    """Tells a reply's intent by its characters and words; learned from our written replies."""

    def __init__(self, texts: Sequence[str], labels: Sequence[str]) -> None:
        self._views = [
            TfidfVectorizer(analyzer="char", ngram_range=(1, 4), min_df=2, sublinear_tf=True, max_features=60_000),
            TfidfVectorizer(analyzer="word", ngram_range=(1, 2), sublinear_tf=True, max_features=30_000),
        ]
        features = hstack([view.fit_transform(texts) for view in self._views]).tocsr()
        self._model = LogisticRegression(C=30, max_iter=300).fit(features, labels)

    def __call__(self, texts: Sequence[str]) -> list[str]:
        """Return an intent a text."""
        return list(self._model.predict(hstack([view.transform(texts) for view in self._views]).tocsr()))


def written_lines(replies: Replies, *, moods: bool = False) -> dict[str, list[tuple[str, str]]]:
    """Return a wording of each line, with its intent or its mood, by language."""
    return {
        language: [
            (line.texts[0], mood if moods else intent)
            for (its, intent, mood), lines in replies.lines.items()
            if its == language
            for line in lines
        ]
        for language in LANGUAGES
    }


def judge_accuracy(rows: Sequence[tuple[str, str]]) -> float:
    """Return how often a judge is right on lines that it has not seen (five folds)."""
    texts, labels = zip(*rows, strict=True)
    right = 0
    for train, test in GroupKFold(5, shuffle=True, random_state=0).split(texts, groups=texts):
        judge = LinearJudge([texts[at] for at in train], [labels[at] for at in train])
        found = judge([texts[at] for at in test])
        right += sum(found[at] == labels[number] for at, number in enumerate(test))
    return right / len(texts)


def pack_replies(folder: Path) -> dict[str, list[tuple[str, str]]]:
    """Return the canned replies of the shop's dialog pack with their intents: text that the generator never saw."""
    found: dict[str, list[tuple[str, str]]] = {language: [] for language in LANGUAGES}
    for path in sorted(folder.glob("intents/*.toml")):
        for intent, entry in tomllib.loads(path.read_text(encoding="utf-8")).items():
            for language in LANGUAGES:
                texts = entry.get(language, {}).get("replies", [])
                found[language] += [(text, intent) for text in texts if isinstance(text, str)]
    return found


def slots_exact(replies: Replies, told: tuple[str, str, str], values: Mapping[str, str], reply: str) -> bool:
    """Whether a reply names known values alone, some where our lines do, fills to the right text, invents no number.

    Args:
        replies: our lines.
        told: language, intent and mood.
        values: what is known.
        reply: as generated, with placeholders.
    """
    named = _PLACEHOLDER.findall(reply)
    demanded = any(line.slots for line in replies.fitting(*told, values))
    filler = Filler(values)
    filled = filler.feed(reply)
    filler.end()
    invented = re.search(r"[0-9]", _LIST.sub("", _PLACEHOLDER.sub("", reply)))
    return (
        set(named) <= set(values)
        and bool(named) >= demanded
        and not filler.broken
        and "{" not in filled
        and "}" not in filled
        and invented is None
    )


def ends_well(language: str, reply: str, finish: str) -> bool:
    """Whether a reply is whole: it ended by itself, with a sentence, in its language, without a broken character."""
    text = presentable(reply)
    return (
        finish == "stop"
        and bool(text)
        and text[-1] in _ENDS
        and "\ufffd" not in text
        and detect_language(_PLACEHOLDER.sub("12345", text)) == language
    )


def share(flags: Sequence[bool]) -> float:
    """Return the share of what is true."""
    return float(np.mean(flags)) if flags else 0.0
