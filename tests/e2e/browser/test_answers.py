"""Answers that are written while one watches: nothing moves, they can be stopped, and a reload loses nothing."""

import json
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from ..conftest import Server
from .conftest import QUICK_START, Visit
from .dictation import Dictation
from .visitor import answers, field, growing, own

pytestmark = pytest.mark.browser
QUESTION = "Where is my order 12345?"
PIECES = [
    *("Your order ", "**12345** ", "left our ", "warehouse.\n\n", "1. It was ", "packed\n", "2. It was sent\n\n"),
    *("It will be ", "with you ", "on Friday. ", "Nothing more ", "needs to be ", "done."),
]
END = "Nothing more needs to be done."


def test_an_answer_grows_and_nothing_jumps(writer: Server, dictation: Dictation, visit: Visit) -> None:
    """Cumulative layout shift below 0.01 while an answer of several lines and a list comes in."""
    visitor = visit(writer)
    page = visitor.page
    dictation.dictate(["Gladly. "], 1)
    visitor.say(QUESTION)
    expect(answers(page)).to_have_count(1)
    dictation.dictate(PIECES, 2)
    visitor.say(QUESTION)
    expect(growing(page).locator("strong")).to_have_text("12345")
    watch_shifts(page)
    expect(growing(page)).not_to_contain_text("warehouse")
    expect(page.get_by_role("button", name="Stop the answer")).to_be_visible()
    dictation.allow(5)
    expect(growing(page).locator("ol li").first).to_have_text("It was packed")
    dictation.allow()
    expect(answers(page).last).to_contain_text(END)
    expect(page.locator(".row.reply")).to_have_count(2)
    expect(page.get_by_role("button", name="Stop the answer")).to_be_hidden()
    assert page.evaluate("performance.shifts") < 0.01, page.evaluate("performance.shifts")


def test_what_the_shipped_generator_writes_can_be_watched(own_server: Callable[..., Server], visit: Visit) -> None:
    """With ``generation.generator = "shop"`` the answer comes in pieces, and is on the screen as it was sent."""
    visitor = visit(own_server(CSGATE_GENERATION__GENERATOR="shop", **QUICK_START))
    page = visitor.page
    visitor.say(QUESTION)
    expect(answers(page)).to_contain_text("12345")
    events = [json.loads(frame) for frame in visitor.received if isinstance(frame, str)]
    pieces = [event["text"] for event in events if event["type"] == "delta"]
    (reply,) = (event for event in events if event["type"] == "reply")
    assert reply["source"] == "generated"
    assert pieces  # it is quick: most may come with the reply
    assert reply["text"].startswith("".join(pieces).strip())
    assert " ".join(answers(page).inner_text().split()) == " ".join(reply["text"].replace("**", "").split())


def test_an_answer_is_stopped(writer: Server, dictation: Dictation, visit: Visit) -> None:
    visitor = visit(writer)
    page = visitor.page
    dictation.dictate(PIECES, 3)
    visitor.say(QUESTION)
    expect(growing(page)).to_contain_text("left our")
    page.get_by_role("button", name="Stop the answer").click()
    expect(page.locator(".row.reply .status:visible")).to_have_text("Stopped")
    expect(answers(page)).to_contain_text("left our")
    expect(page.get_by_role("button", name="Send", exact=True)).to_be_visible()
    expect(field(page)).to_be_focused()
    # What follows is answered, and the stopped one does not come to life again.
    dictation.dictate(["All ", "well."], 2)
    visitor.say("And order 777?")
    expect(answers(page).last).to_have_text("All well.")
    expect(page.locator(".row.reply")).to_have_count(2)
    expect(page.locator(".log")).not_to_contain_text("warehouse")


def test_a_reload_in_the_middle_of_an_answer(writer: Server, dictation: Dictation, visit: Visit) -> None:
    visitor = visit(writer)
    page = visitor.page
    dictation.dictate(PIECES, 4)
    asked = dictation.asked
    visitor.say(QUESTION)
    expect(growing(page)).to_contain_text("warehouse")
    page.reload()
    # What was written so far is there again, and goes on.
    expect(growing(page)).to_contain_text("warehouse")
    expect(page.get_by_role("button", name="Stop the answer")).to_be_visible()
    dictation.allow()
    expect(answers(page)).to_have_count(1)
    expect(answers(page)).to_contain_text(END)
    assert answers(page).inner_text().count("12345") == 1
    expect(own(page)).to_have_text([QUESTION])
    page.reload()
    expect(answers(page)).to_have_count(1)
    expect(answers(page)).to_contain_text(END)
    expect(page.locator(".row.reply")).to_have_count(1)
    assert dictation.asked == asked + 1


def test_two_tabs_are_in_step(writer: Server, dictation: Dictation, visit: Visit) -> None:
    """Both show the answer while it is written; what one says, stops or rates the other shows too."""
    visitor = visit(writer)
    one = visitor.page
    visitor.online(one)
    two = visitor.open()
    visitor.online(two)
    dictation.dictate(PIECES, 4)
    visitor.say(QUESTION, one)
    for page in (one, two):
        expect(growing(page)).to_contain_text("warehouse")
        expect(own(page)).to_have_text([QUESTION])
    dictation.allow()
    for page in (one, two):
        expect(answers(page)).to_contain_text(END)
    dictation.dictate(PIECES, 3)
    visitor.say("And order 777?", two)
    for page in (two, one):
        expect(growing(page)).to_contain_text("left our")
    one.get_by_role("button", name="Stop the answer").click()
    for page in (one, two):
        expect(page.locator(".row.reply .status:visible")).to_have_text("Stopped")
        expect(own(page)).to_have_text([QUESTION, "And order 777?"])
        expect(page.locator(".row.reply")).to_have_count(2)
    two.close()
    dictation.dictate(["Still ", "here."], 2)
    visitor.say("And order 888?", one)
    expect(answers(one).last).to_have_text("Still here.")


def watch_shifts(page: Page) -> None:
    """Sums up layout shifts from now on in ``performance.shifts``, also those that input would excuse."""
    page.evaluate(
        """() => {
            performance.shifts = 0;
            new PerformanceObserver(list => {
                for (const shift of list.getEntries()) performance.shifts += shift.value;
            }).observe({ type: "layout-shift" });
        }"""
    )
