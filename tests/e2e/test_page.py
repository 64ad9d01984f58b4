"""The page in a real Chromium: text and pictures in both languages, resume, hostile content inert."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from . import pictures
from .conftest import Server
from .test_simple_mode import CHROMIUM, CHROMIUM_FLAGS

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Page]:
    context = browser.new_context(locale="en-US", viewport={"width": 900, "height": 760})
    opened = context.new_page()
    opened.complaints = []  # type: ignore[attr-defined]
    opened.on("pageerror", lambda error: opened.complaints.append(str(error)))  # type: ignore[attr-defined]
    opened.on(
        "console",
        lambda said: opened.complaints.append(said.text) if said.type == "error" else None,  # type: ignore[attr-defined]
    )
    opened.goto(server.http + "/")
    yield opened
    assert opened.complaints == []  # type: ignore[attr-defined]
    context.close()


def say(page: Page, text: str) -> None:
    page.get_by_label("Write a message").or_(page.get_by_label("输入消息")).fill(text)
    page.keyboard.press("Enter")


def reply(page: Page) -> Locator:
    """The newest answer that is whole."""
    return page.locator(".row.reply[aria-busy=false]:not(.error) .md").last


def own(page: Page) -> Locator:
    return page.locator(".row.own .bubble").last


def test_text_in_both_languages(page: Page) -> None:
    say(page, "Where is my order 12345?")
    expect(reply(page)).to_contain_text("12345", timeout=15_000)
    say(page, "我的订单98765在哪里？")
    expect(reply(page)).to_contain_text("98765", timeout=15_000)
    assert any("\u4e00" <= letter <= "\u9fff" for letter in reply(page).inner_text())


def test_a_picture_comes_back_with_tags(page: Page, tmp_path: Path) -> None:
    sticker = tmp_path / "sticker.png"
    sticker.write_bytes(pictures.png())
    page.set_input_files("input.file", str(sticker))
    expect(page.locator(".tray img")).to_be_visible()
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.locator(".row.own img")).to_be_visible()
    expect(reply(page)).to_be_visible(timeout=15_000)
    expect(page.locator(".facts li").first).to_be_visible(timeout=15_000)


def test_a_reload_goes_on_with_the_conversation(page: Page) -> None:
    say(page, "Where is my order 424242?")
    expect(reply(page)).to_contain_text("424242", timeout=15_000)
    page.reload()
    expect(own(page)).to_contain_text("424242", timeout=15_000)
    expect(reply(page)).to_contain_text("424242", timeout=15_000)
    say(page, "thanks")
    expect(own(page)).to_contain_text("thanks")


@pytest.mark.parametrize(
    "hostile",
    [
        '<img src=x onerror="window.hacked=1">',
        "<script>window.hacked=1</script>",
        "[click](javascript:window.hacked=1)",
        "**<svg onload=window.hacked=1>** where is my order 55501?",
    ],
)
def test_hostile_text_is_inert(page: Page, hostile: str) -> None:
    say(page, hostile)
    expect(own(page)).to_have_text(hostile, timeout=5_000)
    expect(reply(page)).to_be_visible(timeout=15_000)
    assert page.evaluate("window.hacked") is None
    for dangerous in ("script", "[onerror]", "[onload]", "a[href^=javascript]"):
        assert page.locator(f".log {dangerous}").count() == 0


def test_the_policy_allows_nothing_that_is_not_ours(server: Server, browser: Browser) -> None:
    page = browser.new_page()
    response = page.goto(server.http + "/")
    assert response is not None
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'; style-src 'self'" in policy
    assert "unsafe-inline" not in policy
    assert "unsafe-eval" not in policy
    blocked: Any = page.evaluate(
        """() => new Promise(done => {
            document.addEventListener("securitypolicyviolation", event => done(event.violatedDirective));
            const script = document.createElement("script");
            script.textContent = "window.hacked = 1";
            document.body.append(script);
            setTimeout(() => done("nothing"), 2000);
        })"""
    )
    assert blocked.startswith("script-src")
    page.close()


def test_phone_width_has_no_sideways_scroll(server: Server, browser: Browser) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 640}, color_scheme="dark", locale="zh-CN")
    page = context.new_page()
    page.goto(server.http + "/")
    say(page, "我要退款")
    expect(reply(page)).to_be_visible(timeout=15_000)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    context.close()
