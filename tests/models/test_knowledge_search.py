"""The search of the shop pack's pages reaches its goals with the shipped intent model, on questions kept back."""

import importlib.util
import sys
from pathlib import Path

import pytest

from csgate.dialog import load_pack

SCRIPT = Path(__file__).parents[2] / "models" / "training" / "knowledge_measure.py"
SPEC = importlib.util.spec_from_file_location("knowledge_measure", SCRIPT)
measure = importlib.util.module_from_spec(SPEC)
sys.modules[SPEC.name] = measure
SPEC.loader.exec_module(measure)

SHOP = load_pack("shop")
FILES = ("knowledge_questions", "knowledge_blind")
# Of the questions that no page answers, the share that gets an answer all the same. Those of the second set are near
# misses: the same subject, another question.
MAX_FALSE = 0.2


def test_the_questions_are_enough_and_their_answers_exist():
    for language in SHOP.languages:
        headings = {(passage.page, passage.path[-1]) for passage in SHOP.pages[language].passages}
        for name in FILES:
            questions = measure.read_questions(language, "all", name)
            answerable = [question for question in questions if question.answers]
            assert len(answerable) >= 40
            assert len(questions) - len(answerable) >= 20
            assert all(question.answers <= headings for question in answerable)
            halves = [measure.read_questions(language, half, name) for half in ("choosing", "figure")]
            assert not set(halves[0]) & set(halves[1])
            assert set(halves[0]) | set(halves[1]) == set(questions)


@pytest.mark.parametrize("name", FILES)
async def test_what_is_asked_is_found(name):
    total = measure.Figures()
    for language in SHOP.languages:
        questions = measure.read_questions(language, "figure", name)
        figures = measure.count(await measure.ask(SHOP, language, questions), SHOP)
        # One question is some two points here, so a language has a little more room than both together.
        assert figures.hit_at_1 >= 0.78, f"{language}: {figures}"
        assert figures.hit_at_3 >= 0.93, f"{language}: {figures}"
        total += figures
    assert total.hit_at_1 >= 0.8, str(total)
    assert total.hit_at_3 >= 0.95, str(total)
    assert total.answered >= 0.5 * total.answerable, str(total)
    assert total.answered_rightly >= 0.9 * total.answered, str(total)
    assert total.answered_all_the_same <= MAX_FALSE * total.unanswerable, str(total)
