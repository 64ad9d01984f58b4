"""Answers in a generator's words, and the pack's own where that fails."""

import io
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import trio
from tests.dialog.test_answer import SHOP, STICKER, FakeEngine, turn
from tests.dialog.test_prompt import replied, said
from trio.testing import MockClock

from csgate.config import DialogSettings, GenerationSettings
from csgate.dialog import Dialog
from csgate.dialog.writing import RESERVE_S, Writer
from csgate.errors import CsgateError, EngineUnavailable, Overloaded, TurnTimeout
from csgate.events import Draft, Tag
from csgate.inference.generation import FinishReason, Generated, GenerationRequest, GeneratorInfo
from csgate.telemetry import Telemetry, open_logger

CHAT = GeneratorInfo("llama", "local", "chat", "CPU", 1024)
SMALL = GeneratorInfo("shop-generator", "local", "shop", "CPU", 128)


class Scripted:
    """A generator that says ``pieces``, a second apart, then fails or ends as told."""

    def __init__(
        self,
        pieces: Sequence[str],
        *,
        info: GeneratorInfo = CHAT,
        finish: FinishReason = "stop",
        error: CsgateError | None = None,
    ) -> None:
        self.info = info
        self.pieces = pieces
        self.finish = finish
        self.error = error
        self.requests: list[GenerationRequest] = []

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    async def generate(self, request: GenerationRequest, on_text: Callable[[str], None]) -> Generated:
        self.requests.append(request)
        began = trio.current_time()
        for piece in self.pieces:
            with trio.move_on_at(request.deadline) as scope:
                await trio.sleep(1.0)
            if scope.cancelled_caught:
                raise TurnTimeout("slow")
            on_text(piece)
        if self.error is not None:
            raise self.error
        return Generated("".join(self.pieces), self.finish, self.info.name, 9, 3, 1.0, trio.current_time() - began)


class Scene:
    """One dialog with a generator, what it streamed, and its log."""

    def __init__(
        self, generator: Scripted, engine: FakeEngine | None = None, others: Sequence[Scripted] = (), **settings: Any
    ) -> None:
        self.generator = generator
        self.deltas: list[str] = []
        self.log = io.StringIO()
        telemetry = Telemetry(log=open_logger("debug", stream=self.log))
        writer = Writer((generator, *others), SHOP, GenerationSettings(**settings), telemetry)
        self.dialog = Dialog(SHOP, engine or FakeEngine(), DialogSettings(), telemetry, writer)

    async def answer(self, *args: Any, **more: Any) -> Draft:
        return await self.dialog.answer(turn(*args, on_delta=self.deltas.append, **more))

    def logged(self, event: str) -> dict[str, Any]:
        for line in self.log.getvalue().splitlines():
            entry: dict[str, Any] = json.loads(line)
            if entry["event"] == event:
                return entry
        raise AssertionError(f"{event} not in {self.log.getvalue()}")


async def test_the_answer_streams_and_is_the_generators(autojump_clock: MockClock) -> None:
    scene = Scene(Scripted(["Please open ", "the tracking link."]), temperature=0.7, seed=5, stop=("X",))
    draft = await scene.answer()
    assert scene.deltas == ["Please open ", "the tracking link."]
    assert draft.text == "Please open the tracking link."
    assert draft.source == "generated"
    assert draft.intent is not None
    assert draft.intent.name == "track_order"
    assert draft.analysis.startswith("I read your message")
    assert draft.quick_replies
    assert draft.timing["generate"] == draft.timing["total"] == 2000
    assert draft.timing["first_token"] == 1000
    (request,) = scene.generator.requests
    assert request.principal == ("acme", "anna")
    assert request.priority == 2
    assert request.deadline == 25.0
    assert (request.sampling.temperature, request.sampling.seed, request.sampling.stop) == (0.7, 5, ("X",))
    assert "12345" in request.utterances[0].text


async def test_a_small_model_is_filled_in(autojump_clock: MockClock) -> None:
    scene = Scene(Scripted(["Order **{order_", "number}** is ", "best found there."], info=SMALL))
    draft = await scene.answer()
    assert draft.text == "Order **12345** is best found there."
    assert "".join(scene.deltas) == draft.text


@pytest.mark.parametrize(
    ("pieces", "finish"),
    [
        (["Your {amount} comes."], "stop"),
        (["Your {order_number"], "stop"),
        (["It never ends"], "length"),
        (["It has no end"], "stop"),
        (["好的，请查看物流。"], "stop"),
        (["  "], "stop"),
        ([], "stop"),
    ],
)
async def test_what_a_small_model_got_wrong_is_not_sent(
    pieces: list[str], finish: FinishReason, autojump_clock: MockClock
) -> None:
    scene = Scene(Scripted(pieces, info=SMALL, finish=finish))
    draft = await scene.answer()
    assert draft.source == "canned"
    assert "**12345**" in draft.text
    assert not any("{" in delta for delta in scene.deltas)
    assert scene.logged("generation_unusable")["finish"] == finish


@pytest.mark.parametrize(
    "error", [EngineUnavailable("it broke"), Overloaded("full", retry_after=1.0), TurnTimeout("slow")]
)
@pytest.mark.parametrize("pieces", [[], ["Half an ans"]])
async def test_when_the_generator_fails_the_pack_answers(
    error: CsgateError, pieces: list[str], autojump_clock: MockClock
) -> None:
    scene = Scene(Scripted(pieces, error=error))
    draft = await scene.answer()
    assert draft.source == "canned"
    assert "**12345**" in draft.text
    assert scene.logged("generation_failed")["code"] == error.code


async def test_the_pack_answers_within_the_turns_deadline(autojump_clock: MockClock) -> None:
    scene = Scene(Scripted(["word "] * 100), total_seconds=300.0)
    draft = await scene.answer()
    assert draft.source == "canned"
    assert trio.current_time() == pytest.approx(30.0 - RESERVE_S)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One sentence. Another one that is cut in the mid", "One sentence."),
        ("您好。这是被截断的一句", "您好。"),
        ("a. " + "b" * 40, "a. " + "b" * 40 + "…"),
        ("no end", "no end…"),
    ],
)
async def test_an_answer_that_ran_into_its_limit_ends_at_a_sentence(
    text: str, expected: str, autojump_clock: MockClock
) -> None:
    draft = await Scene(Scripted([text], finish="length")).answer()
    assert draft.text == expected


async def test_html_and_pictures_of_a_model_are_taken_apart(autojump_clock: MockClock) -> None:
    scene = Scene(Scripted(["<img src=x> \u202e![a](http://b/c)"]))
    assert (await scene.answer()).text == "&lt;img src=x> !\\[a](http://b/c)"
    assert scene.deltas == ["<img src=x> ![a](http://b/c)"]


@pytest.mark.parametrize(
    ("engine", "text"),
    [
        (FakeEngine(), "where is my order"),  # asks for its number
        (FakeEngine([("track_order", 0.4), ("review", 0.35)]), "hm order review"),
        (FakeEngine([("contact_human_agent", 0.9)]), "I want a person"),
    ],
)
async def test_questions_and_hand_overs_stay_the_packs(
    engine: FakeEngine, text: str, autojump_clock: MockClock
) -> None:
    scene = Scene(Scripted(["Never said."]), engine)
    draft = await scene.answer(text)
    assert draft.source in ("ask", "clarify", "hand_over")
    assert scene.generator.requests == []
    assert scene.deltas == []


@pytest.mark.parametrize(("info", "source"), [(CHAT, "generated"), (SMALL, "picture")])
async def test_a_picture_without_words(info: GeneratorInfo, source: str, autojump_clock: MockClock) -> None:
    scene = Scene(Scripted(["A parcel, I see."], info=info), FakeEngine(tags=[Tag("package", "package", 0.6)]))
    assert (await scene.answer("", STICKER)).source == source


async def test_a_stopped_turn_stops_the_generator(autojump_clock: MockClock) -> None:
    scene = Scene(Scripted(["word "] * 20))
    with trio.move_on_after(2.5) as scope:
        await scene.answer()
    assert scope.cancelled_caught
    assert scene.deltas == ["word ", "word "]


async def test_the_next_generator_is_asked_in_its_own_style(autojump_clock: MockClock) -> None:
    small = Scripted(["See **{order_number}** there."], info=SMALL)
    scene = Scene(Scripted([], error=EngineUnavailable("down")), others=[small])
    draft = await scene.answer()
    assert draft.text == "See **12345** there."
    assert draft.source == "generated"
    assert small.requests[0].utterances[0].text == "en track_order neutral order_number"


async def test_no_other_goes_on_with_what_one_began(autojump_clock: MockClock) -> None:
    small = Scripted(["See **{order_number}** there."], info=SMALL)
    scene = Scene(Scripted(["Half an "], error=EngineUnavailable("broke off")), others=[small])
    draft = await scene.answer()
    assert draft.source == "canned"
    assert small.requests == []


async def test_a_generator_that_has_nothing_to_say_on_it_is_passed_over(autojump_clock: MockClock) -> None:
    chat = Scripted(["A parcel, I see."])
    engine = FakeEngine(tags=[Tag("package", "package", 0.6)])
    draft = await Scene(Scripted(["No."], info=SMALL), engine, others=[chat]).answer("", STICKER)
    assert draft.text == "A parcel, I see."


QUESTION = "How many days do I have to send something back?"


@pytest.mark.parametrize(("info", "source"), [(CHAT, "generated"), (SMALL, "knowledge")])
async def test_what_the_pages_say_is_given_to_a_chat_model_and_named(
    info: GeneratorInfo, source: str, autojump_clock: MockClock
) -> None:
    engine = FakeEngine([("check_refund_policy", 0.9), ("get_refund", 0.05)])
    scene = Scene(Scripted(["You have some days."], info=info), engine)
    await scene.dialog.prepare()
    draft = await scene.answer(QUESTION)
    assert draft.source == source
    assert "*Source: " in draft.text.splitlines()[-1]
    if source == "generated":
        assert draft.text.startswith("You have some days.\n\n")
        assert "The shop's page “" in scene.generator.requests[0].utterances[0].text
    else:
        assert scene.generator.requests == []


TALK = ["first one two", "First reply", "second one", "Second reply here"]


@pytest.mark.parametrize(("room", "kept"), [(10, TALK), (9, TALK[2:]), (5, TALK[2:]), (4, []), (-9, [])])
async def test_the_oldest_turns_are_left_out_of_a_prompt_for_a_remote_model(
    room: int, kept: list[str], autojump_clock: MockClock
) -> None:
    history = [said(1, TALK[0]), replied(2, TALK[1]), said(3, TALK[2]), replied(4, TALK[3])]
    whole = Scene(Scripted(["Yes."]))
    await whole.answer(history=history)
    (request,) = whole.generator.requests
    ends = request.utterances[0], request.utterances[-1]
    budget = sum(len(one.text.split()) for one in ends) + room
    remote = Scene(Scripted(["Yes."], info=GeneratorInfo("far", "remote", "chat", "x", budget)))
    await remote.answer(history=history)
    (shorter,) = remote.generator.requests
    assert [one.text for one in shorter.utterances[1:-1]] == kept
    assert (shorter.utterances[0], shorter.utterances[-1]) == ends
