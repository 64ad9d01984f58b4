"""How well the shop pack's pages are searched: ``python models/training/knowledge_measure.py [--half figure] [-v]``.

Needs csgate itself and its models, not torch. Prints a line a language: hit@1 and hit@3 of the questions that a page
answers; which share is answered at the pack's threshold, and which share of that rightly; and how many questions that
no page answers get an answer all the same.
"""

import argparse
import io
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from operator import add
from pathlib import Path
from typing import Literal

import trio

from csgate.config import Config
from csgate.dialog.knowledge import Hit
from csgate.dialog.lookup import Lookup
from csgate.dialog.pack import Pack, load_pack
from csgate.events import Intent, Language
from csgate.inference import open_engine
from csgate.telemetry import Telemetry, open_logger

DATA = Path(__file__).parent / "data"
Half = Literal["choosing", "figure", "all"]
HALVES: dict[Half, slice] = {"choosing": slice(0, None, 2), "figure": slice(1, None, 2), "all": slice(None)}


@dataclass(frozen=True)
class Question:
    """``answers``: page and heading of every passage that answers; none where no page does."""

    text: str
    answers: frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Asked:
    question: Question
    hits: tuple[Hit, ...]
    ranking: tuple[Intent, ...]

    def right(self, within: int) -> bool:
        found = [(hit.passage.page, hit.passage.path[-1]) for hit in self.hits[:within]]
        return any(one in self.question.answers for one in found)

    def answered(self, pack: Pack) -> bool:
        return bool(self.hits) and pack.knowledge.accepts(self.hits[0].score, self.hits[0].lead)


@dataclass(frozen=True)
class Figures:
    """Counts, so that halves and languages can be added up."""

    answerable: int = 0
    first: int = 0
    among_three: int = 0
    answered: int = 0
    answered_rightly: int = 0
    unanswerable: int = 0
    answered_all_the_same: int = 0

    def __add__(self, other: "Figures") -> "Figures":
        return Figures(*map(add, astuple(self), astuple(other)))

    @property
    def hit_at_1(self) -> float:
        return self.first / self.answerable

    @property
    def hit_at_3(self) -> float:
        return self.among_three / self.answerable

    def __str__(self) -> str:
        return (
            f"hit@1 {self.hit_at_1:.3f}, hit@3 {self.hit_at_3:.3f} of {self.answerable}; "
            f"answered {self.answered}, {self.answered_rightly} of them rightly; "
            f"without an answer {self.unanswerable}, answered all the same {self.answered_all_the_same}"
        )


def read_questions(language: Language, half: Half, name: str = "knowledge_questions") -> list[Question]:
    """The questions of a file, those with an answer first."""
    found: list[Question] = []
    answers: frozenset[tuple[str, str]] = frozenset()
    for line in (DATA / f"{name}.{language}.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            heads = [] if line == "[-]" else [head.strip().split(": ", 1) for head in line.strip("[]").split("|")]
            answers = frozenset((page, heading) for page, heading in heads)
        elif line and not line.startswith("#"):
            found.append(Question(line, answers))
    return [
        *[question for question in found if question.answers][HALVES[half]],
        *[question for question in found if not question.answers][HALVES[half]],
    ]


async def ask(pack: Pack, language: Language, questions: Sequence[Question], *, encoder: bool = True) -> list[Asked]:
    """Searches the pages as a server does. ``encoder`` False: by words alone."""
    telemetry = Telemetry(log=open_logger("error", stream=io.StringIO()))
    found: list[Asked] = []
    async with open_engine(Config().inference, telemetry) as engine:
        lookup = Lookup(pack, engine, telemetry)
        if encoder:
            await lookup.prepare()
        for question in questions:
            ranking = (await engine.classify_intent(question.text)).ranking
            hits = await lookup.search(question.text, language, ranking)
            found.append(Asked(question, hits, ranking))
    return found


def count(asked: Sequence[Asked], pack: Pack) -> Figures:
    answerable = [one for one in asked if one.question.answers]
    rest = [one for one in asked if not one.question.answers]
    answered = [one for one in answerable if one.answered(pack)]
    return Figures(
        answerable=len(answerable),
        first=sum(one.right(1) for one in answerable),
        among_three=sum(one.right(3) for one in answerable),
        answered=len(answered),
        answered_rightly=sum(one.right(1) for one in answered),
        unanswerable=len(rest),
        answered_all_the_same=sum(one.answered(pack) for one in rest),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--half", choices=list(HALVES), default="all")
    parser.add_argument("--questions", default="knowledge_questions", help="name of the files in data/")
    parser.add_argument("--words-alone", action="store_true")
    parser.add_argument("-v", "--verbose", action="store_true", help="print what was not found")
    args = parser.parse_args()
    pack = load_pack("shop")
    total = Figures()
    for language in pack.languages:
        questions = read_questions(language, args.half, args.questions)
        asked = trio.run(lambda: ask(pack, language, questions, encoder=not args.words_alone))  # noqa: B023
        figures = count(asked, pack)
        total += figures
        if args.verbose:
            for one in asked:
                wrong = one.answered(pack) if not one.question.answers else not one.right(1)
                if wrong:
                    best = " | ".join(f"{hit.passage.source} {hit.score:.2f}" for hit in one.hits)
                    print(f"  {'3' if one.right(3) else '-'} {one.question.text}: {best}")
        print(f"{language}: {figures}")
    print(f"both: {total}")


if __name__ == "__main__":
    main()
