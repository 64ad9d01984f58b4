"""How the page looks and is used: themes, widths, directions, keyboards, screen readers, motion."""

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from ..conftest import Server
from .conftest import Visit
from .visitor import Visitor, answers, field, own, pictures_in

pytestmark = pytest.mark.browser
ROOT = Path(__file__).parents[3]
SAMPLES = ROOT / "models" / "samples"
AXE = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"
QUESTION = "Where is my order 12345?"
BRIGHTNESS = """element => {
    const [r, g, b] = getComputedStyle(element).backgroundColor.match(/[\\d.]+/g).map(Number);
    return (r + g + b) / 765;
}"""
ACTIVE = """() => {
    let active = document.activeElement;
    while (active?.shadowRoot?.activeElement) active = active.shadowRoot.activeElement;
    return active.getAttribute("aria-label") || active.textContent.trim() || active.localName;
}"""


def converse(visitor: Visitor) -> None:
    """Two questions, one with a picture, with everything that the answers bring."""
    page = visitor.page
    visitor.say(QUESTION)
    expect(answers(page)).to_have_count(1)
    page.set_input_files("input.file", SAMPLES / "pouting-face.png")
    expect(page.locator(".tray img")).to_be_visible()
    visitor.say("This is how I feel")
    expect(answers(page)).to_have_count(2)
    expect(pictures_in(page, "reply")).to_have_count(1)


def serious(page: Page) -> list[str]:
    """What axe-core calls serious or critical, and where."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    result: dict[str, Any] = page.evaluate("() => axe.run()")
    assert len(result["passes"]) > 20
    return [
        f"{rule['id']}: {node['html'][:120]} ({node['any'][0]['message'] if node['any'] else ''})"
        for rule in result["violations"]
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_is_serious_for_axe(server: Server, visit: Visit, theme: Any) -> None:
    """Empty; with a conversation and the models' details; with each thing open that can be."""
    visitor = visit(server, color_scheme=theme, reduced_motion="reduce")
    page = visitor.page
    visitor.online()
    assert serious(page) == []
    converse(visitor)
    page.get_by_role("button", name="More").click()
    page.get_by_role("switch", name="Show model details").click()
    expect(page.locator(".details").first).to_be_visible()
    assert serious(page) == []  # with the menu open
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Stickers", exact=True).click()
    expect(page.get_by_role("dialog", name="Stickers")).to_be_visible()
    assert serious(page) == []
    page.keyboard.press("Escape")
    page.locator(".row.own .pic").click()
    expect(page.locator("dialog.lightbox")).to_be_visible()
    assert serious(page) == []
    page.keyboard.press("Escape")
    # In the corner of a page: closed, then open.
    page.evaluate(
        """() => {
            document.querySelector("csgate-chat").remove();
            document.body.append(document.createElement("csgate-chat"));
        }"""
    )
    expect(page.get_by_role("button", name="Open the chat")).to_be_visible()
    assert serious(page) == []
    page.get_by_role("button", name="Open the chat").click()
    expect(answers(page)).to_have_count(2)
    expect(field(page)).to_be_focused()
    assert serious(page) == []


def test_dark_and_light_follow_the_system_and_can_be_chosen(server: Server, visit: Visit) -> None:
    visitor = visit(server, color_scheme="dark")
    page = visitor.page
    parts = [page.locator(selector) for selector in ("body", ".middle", ".head")]
    converse(visitor)
    bubble = page.locator(".row.reply .bubble").first
    for part in (*parts, bubble):
        assert part.evaluate(BRIGHTNESS) < 0.25
    page.emulate_media(color_scheme="light")
    for part in (*parts, bubble):
        assert part.evaluate(BRIGHTNESS) > 0.85
    page.get_by_role("button", name="Colours: as the system").click()
    page.get_by_role("button", name="Colours: light").click()
    expect(page.get_by_role("button", name="Colours: dark")).to_be_visible()
    assert all(part.evaluate(BRIGHTNESS) < 0.25 for part in parts)
    page.reload()
    expect(page.get_by_role("button", name="Colours: dark")).to_be_visible()
    assert all(part.evaluate(BRIGHTNESS) < 0.25 for part in parts)


@pytest.mark.parametrize("width", [390, 320])
def test_a_phone(server: Server, visit: Visit, width: int) -> None:
    visitor = visit(
        server, viewport={"width": width, "height": 700}, has_touch=True, is_mobile=True, device_scale_factor=2
    )
    page = visitor.page
    converse(visitor)
    visitor.say("W" * 400)
    expect(answers(page)).to_have_count(3)
    page.get_by_role("button", name="More").tap()
    page.get_by_role("switch", name="Show model details").tap()
    expect(page.locator(".details").first).to_be_visible()
    # Neither the page nor anything in it is wider than it may be, and the writing field is on the screen.
    assert page.evaluate("() => document.documentElement.scrollWidth") == width
    assert page.locator(".log").evaluate("log => log.scrollWidth <= log.clientWidth")
    page.locator(".composer").scroll_into_view_if_needed()
    expect(field(page)).to_be_in_viewport()
    # Fingers need room.
    for name in ("Send", "Stickers", "Send a picture", "Take a photo", "More"):
        button = page.get_by_role("button", name=name, exact=True)
        box = button.bounding_box()
        if name == "Take a photo" and width < 330 and box is None:
            continue
        assert box is not None, name
        assert min(box["width"], box["height"]) >= 35, (name, box)


def test_from_right_to_left(server: Server, visit: Visit) -> None:
    visitor = visit(server)
    page = visitor.page
    page.evaluate("document.documentElement.dir = 'rtl'")
    converse(visitor)
    visitor.say("أين طلبي 12345؟")
    expect(answers(page)).to_have_count(3)
    log = page.locator(".column").bounding_box()
    mine = own(page).last.bounding_box()
    theirs = page.locator(".row.reply .bubble").first.bounding_box()
    assert log is not None
    assert mine is not None
    assert theirs is not None
    assert mine["x"] - log["x"] < 30  # one's own on the left
    assert log["x"] + log["width"] - theirs["x"] - theirs["width"] < 30
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    assert own(page).last.evaluate("bubble => getComputedStyle(bubble).direction") == "rtl"
    assert own(page).first.evaluate("bubble => getComputedStyle(bubble).direction") == "ltr"


def test_without_a_mouse(server: Server, visit: Visit) -> None:
    """Everything is reached with Tab, is named, shows where the focus is, and Escape gives it back."""
    visitor = visit(server)
    page = visitor.page
    visitor.online()
    page.keyboard.press("Tab")
    assert page.evaluate(ACTIVE) == "Skip to the chat"
    expect(page.locator(".skip")).to_be_in_viewport(ratio=1)
    page.keyboard.press("Enter")
    seen = tab_until(page, "Write a message")
    assert seen[0] == "More"
    page.keyboard.type(QUESTION)
    page.keyboard.press("Enter")
    expect(answers(page)).to_have_count(1)
    assert page.evaluate(ACTIVE) == "Write a message"

    tab_until(page, "Stickers")
    page.keyboard.press("Enter")
    assert page.evaluate(ACTIVE) == "Search stickers"
    page.keyboard.type("party")
    page.keyboard.press("ArrowDown")
    assert page.evaluate(ACTIVE) == "Sticker: party"
    page.keyboard.press("Escape")
    assert page.evaluate(ACTIVE) == "Stickers"
    page.keyboard.press("Enter")
    page.keyboard.type("party")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    expect(answers(page)).to_have_count(2)
    expect(pictures_in(page, "own")).to_have_count(1)

    tab_until(page, "Enlarge: Picture", back=True)
    assert page.evaluate("() => document.activeElement.shadowRoot.activeElement.matches(':focus-visible')")
    page.keyboard.press("Enter")
    expect(page.locator("dialog.lightbox")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("dialog.lightbox")).to_be_hidden()
    assert page.evaluate(ACTIVE) == "Enlarge: Picture"

    tab_until(page, "4 of 5 stars")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="4 of 5 stars")).to_have_attribute("aria-pressed", "true")
    tab_until(page, "More", back=True)
    page.keyboard.press("Enter")
    assert page.evaluate(ACTIVE) == "Talk to a person"
    for _ in range(2):
        page.keyboard.press("ArrowDown")
    assert page.evaluate(ACTIVE) == "Show model details"
    page.keyboard.press("Space")
    expect(page.locator(".details").first).to_be_visible()
    page.keyboard.press("Escape")
    assert page.evaluate(ACTIVE) == "More"


def test_nothing_moves_for_those_who_do_not_want_it(server: Server, visit: Visit) -> None:
    visitor = visit(server, reduced_motion="reduce")
    page = visitor.page
    page.evaluate(
        """() => {
            window.moved = [];
            const root = document.querySelector("csgate-chat").shadowRoot;
            for (const one of [document, root])
                for (const kind of ["animationstart", "transitionrun"])
                    one.addEventListener(kind, event => moved.push(event.animationName ?? event.propertyName), true);
        }"""
    )
    converse(visitor)
    page.get_by_role("button", name="Stickers", exact=True).click()
    page.keyboard.press("Escape")
    page.locator(".row.own .pic").click()
    page.keyboard.press("Escape")
    assert page.evaluate("moved") == []


def tab_until(page: Page, name: str, *, back: bool = False) -> list[str]:
    """Presses Tab until what is called ``name`` has the focus; names of all that had it on the way."""
    seen: list[str] = []
    while not seen or seen[-1] != name:
        page.keyboard.press("Shift+Tab" if back else "Tab")
        seen.append(page.evaluate(ACTIVE))
        assert len(seen) < 40, seen
    return seen
