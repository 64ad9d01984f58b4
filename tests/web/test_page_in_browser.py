"""The page in a real Chromium, against a real gateway with scripted answers."""

import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.browser


class Gateway:
    """A scripted gateway that can be stopped and started again at the same port."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._process: subprocess.Popen[str] | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.web.scripted_gateway", "serve", "--data-dir", str(self._data_dir)]
        options = ["--port", str(self.port), "--log-level", "error", "--set", "server.drain_seconds=1"]
        self._process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert self._process.stdout is not None
        timer = threading.Timer(30, self._process.kill)
        timer.start()
        ready = self._process.stdout.readline()
        timer.cancel()
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", ready)
        assert found, f"the gateway did not start: {ready}"
        self.port = int(found[1])

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            assert self._process.wait(20) == 0
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    running = Gateway(tmp_path_factory.mktemp("data"))
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield launched
        launched.close()


OpenPage = Callable[..., Page]


@pytest.fixture
def open_page(browser: Browser, gateway: Gateway) -> Iterator[OpenPage]:
    """Opens the page, each time as somebody new. Its console must stay free of complaints."""
    contexts: list[BrowserContext] = []
    said: list[str] = []

    def opened(*, wait: bool = True, **options: Any) -> Page:
        context = browser.new_context(**{"locale": "en-US", "viewport": {"width": 900, "height": 700}, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(8000)
        page.on("console", lambda message: message.type in ("warning", "error") and said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(gateway.url)
        if wait:
            expect(page.locator("#dot")).to_have_class("on")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert [text for text in said if "ERR_CONNECTION_REFUSED" not in text] == []


def say(page: Page, text: str) -> None:
    page.get_by_label("Write a message").fill(text)
    page.keyboard.press("Enter")


def replies(page: Page) -> Any:
    return page.locator(".row.bot:has(.facts) .bubble")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    Image.new("RGBA", (120, 100), (255, 0, 0, 0)).save(folder / "sticker.png")
    Image.effect_noise((1600, 1200), 80).convert("RGB").save(folder / "photo.png")
    (folder / "text.png").write_text("this is no picture", encoding="utf-8")
    return folder


def test_a_conversation(open_page: OpenPage) -> None:
    page = open_page()
    expect(page.get_by_role("heading", name="How can we help?")).to_be_visible()
    expect(page.get_by_role("button", name="Send", exact=True)).to_be_disabled()
    say(page, "hello\nthere")
    expect(replies(page)).to_have_text("You said: hello\nthere", use_inner_text=True)
    facts = page.locator(".facts")
    expect(facts).to_contain_text("order status 97 %")
    expect(facts).to_contain_text("negative")
    expect(facts).to_contain_text("12 ms")
    expect(page.get_by_role("heading", name="How can we help?")).to_be_hidden()
    expect(page.locator(".row.me.waiting")).to_have_count(0)


def test_the_starters_are_sent_by_a_click(open_page: OpenPage) -> None:
    page = open_page()
    page.get_by_role("button", name="Where is my order 12345?").click()
    expect(replies(page)).to_have_text("You said: Where is my order 12345?")


def test_markdown_becomes_nodes(open_page: OpenPage) -> None:
    page = open_page()
    say(page, "formatted")
    bubble = replies(page)
    expect(bubble.locator("strong")).to_have_text("12345")
    expect(bubble.locator("em")).to_have_text("yesterday")
    expect(bubble.locator("p code")).to_have_text("FS-99812")
    expect(bubble.locator("ol li")).to_have_text(["Carrier: FastShip", "Status: on its way"])
    expect(bubble.locator("ul li")).to_have_text(["one", "two"])
    expect(bubble.locator("blockquote")).to_have_text("quoted")
    expect(bubble.locator("pre code")).to_have_text("code <b>")
    links = bubble.locator("a")
    expect(links).to_have_text(["Track it", "https://example.com/help"])
    assert links.first.get_attribute("href") == "https://example.com/track?x=1&y=2"
    assert "noopener" in (links.first.get_attribute("rel") or "")


def test_nothing_of_a_strangers_runs(open_page: OpenPage) -> None:
    page = open_page()
    say(page, "hostile")
    bubble = replies(page)
    expect(bubble).to_contain_text("<script>window.pwned=2</script>")
    assert page.evaluate("() => window.pwned") is None
    for tag in ("img", "script", "svg", "iframe", "b"):
        expect(page.locator(f"#log {tag}")).to_have_count(0)
    hrefs = page.locator("#log a").evaluate_all("links => links.map(link => link.href)")
    assert all(href.startswith("https://example.com/") for href in hrefs)
    expect(page.locator(".analysis")).to_have_text("<b>x</b>")
    page.locator(".quick button").click()
    expect(page.locator(".row.me").last).to_contain_text("<img src=x onerror=window.pwned=9>")
    expect(replies(page)).to_have_count(2)
    assert page.evaluate("() => window.pwned") is None


def test_quick_replies_belong_to_the_last_answer(open_page: OpenPage) -> None:
    page = open_page()
    say(page, "formatted")
    page.locator(".quick button", has_text="formatted").click()
    expect(replies(page)).to_have_count(2)
    expect(page.locator(".quick")).to_have_count(1)
    page.locator(".quick button", has_text="plain").click()
    expect(replies(page)).to_have_count(3)
    expect(page.locator(".quick")).to_have_count(0)


def test_an_answer_is_shown_while_it_is_written(open_page: OpenPage) -> None:
    page = open_page()
    say(page, "streamed")
    expect(page.locator(".row.bot:not(:has(.facts)) .bubble")).to_contain_text("This is")
    expect(replies(page)).to_have_text("This is streamed.")
    expect(replies(page).locator("strong")).to_have_text("streamed")
    expect(page.locator(".row.bot")).to_have_count(1)


def test_an_error_is_shown_and_the_next_message_answered(open_page: OpenPage) -> None:
    page = open_page()
    say(page, "broken")
    expect(page.get_by_role("alert")).to_contain_text("very busy")
    expect(page.locator(".dots")).to_have_count(0)
    say(page, "again")
    expect(replies(page)).to_have_text("You said: again")


def test_a_sticker_goes_as_it_is_and_a_photo_is_made_smaller(open_page: OpenPage, pictures: Path) -> None:
    page = open_page()
    page.locator("#file").set_input_files(pictures / "sticker.png")
    expect(page.locator("#preview")).to_be_visible()
    say(page, "what is it?")
    expect(replies(page)).to_have_text("PNG 120x100 what is it?")
    expect(page.locator(".facts .tag")).to_have_text(["cat face", "joy"])
    expect(page.locator(".analysis")).to_have_text("A cat that laughs.")
    expect(page.locator(".row.me img")).to_be_visible()
    expect(page.locator("#shot")).to_be_hidden()
    page.locator("#file").set_input_files(pictures / "photo.png")
    expect(page.locator("#preview")).to_be_visible()
    page.get_by_role("button", name="Send", exact=True).click()
    expect(replies(page).last).to_have_text("JPEG 800x600")


def test_a_picture_can_be_removed_pasted_and_dropped(open_page: OpenPage, pictures: Path) -> None:
    page = open_page()
    page.locator("#file").set_input_files(pictures / "sticker.png")
    page.get_by_role("button", name="Remove the picture").click()
    expect(page.locator("#shot")).to_be_hidden()
    expect(page.get_by_role("button", name="Send", exact=True)).to_be_disabled()
    give = """async ([kind, bytes]) => {
        const transfer = new DataTransfer();
        transfer.items.add(new File([new Uint8Array(bytes)], "s.png", { type: "image/png" }));
        const how = { clipboardData: transfer, dataTransfer: transfer, bubbles: true, cancelable: true };
        const event = kind === "paste" ? new ClipboardEvent(kind, how) : new DragEvent(kind, how);
        document.querySelector("#text").dispatchEvent(event);
    }"""
    content = list((pictures / "sticker.png").read_bytes())
    for number, kind in enumerate(("paste", "drop"), 1):
        page.evaluate(give, [kind, content])
        expect(page.locator("#preview")).to_be_visible()
        page.locator("#text").press("Enter")
        expect(replies(page)).to_have_count(number)
        expect(replies(page).last).to_have_text("PNG 120x100")


def test_a_file_that_is_no_picture_is_refused(open_page: OpenPage, pictures: Path) -> None:
    page = open_page()
    page.locator("#file").set_input_files(pictures / "text.png")
    expect(page.get_by_role("alert")).to_contain_text("cannot be opened")
    expect(page.locator("#shot")).to_be_hidden()


def test_a_reload_and_a_second_tab_show_the_same_conversation(open_page: OpenPage) -> None:
    page = open_page()
    say(page, "first")
    expect(replies(page)).to_have_count(1)
    page.reload()
    expect(replies(page)).to_have_text("You said: first")
    expect(page.locator(".row.me .bubble")).to_have_text("first")
    tab = page.context.new_page()
    tab.goto(page.url)
    expect(replies(tab)).to_have_count(1)
    say(tab, "second")
    expect(replies(page)).to_have_text(["You said: first", "You said: second"])
    expect(page.locator(".row.me .bubble")).to_have_text(["first", "second"])


def test_a_new_chat_starts_empty(open_page: OpenPage) -> None:
    page = open_page()
    say(page, "first")
    expect(replies(page)).to_have_count(1)
    page.get_by_role("button", name="New chat").click()
    expect(page.get_by_role("heading", name="How can we help?")).to_be_visible()
    expect(page.locator("#dot")).to_have_class("on")
    say(page, "second")
    expect(replies(page)).to_have_text("You said: second")
    page.reload()
    expect(replies(page)).to_have_text("You said: second")


def test_what_is_written_while_the_gateway_is_away_is_answered_when_it_is_back(
    open_page: OpenPage, gateway: Gateway
) -> None:
    page = open_page()
    say(page, "before")
    expect(replies(page)).to_have_count(1)
    gateway.stop()
    expect(page.locator("#dot")).to_have_class("busy")
    say(page, "meanwhile")
    expect(page.locator(".row.me.waiting")).to_contain_text("Sending…")
    gateway.start()
    expect(page.locator(".row.me", has_text="meanwhile")).not_to_have_class(re.compile("waiting"), timeout=15000)
    expect(replies(page).last).to_have_text("You said: meanwhile")


def test_chinese_by_the_browsers_language(open_page: OpenPage) -> None:
    page = open_page(locale="zh-CN")
    assert page.locator("html").get_attribute("lang") == "zh-CN"
    expect(page.get_by_role("heading", name="有什么可以帮您？")).to_be_visible()
    page.get_by_role("button", name="我的订单 12345 到哪里了？").click()
    expect(replies(page)).to_have_text("You said: 我的订单 12345 到哪里了？")
    expect(page.locator(".facts")).to_contain_text("负面")


def test_it_fits_a_phone_and_everything_has_a_name(open_page: OpenPage, pictures: Path) -> None:
    page = open_page(viewport={"width": 320, "height": 600}, color_scheme="dark")
    say(page, "formatted")
    expect(replies(page)).to_have_count(1)
    say(page, "a" * 300)
    expect(replies(page)).to_have_count(2)
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    nameless = page.locator("button").evaluate_all(
        "buttons => buttons.filter(b => !(b.getAttribute('aria-label') || b.textContent.trim())).length"
    )
    assert nameless == 0
    expect(page.get_by_role("log")).to_have_attribute("aria-live", "polite")
    expect(page.get_by_role("status")).to_contain_text("Online")


def test_the_ten_lines_of_the_readme(open_page: OpenPage, gateway: Gateway) -> None:
    (script,) = re.findall(r"```js\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(script.strip().splitlines()) <= 10
    page = open_page()
    with page.expect_console_message() as caught:
        page.evaluate(f"async () => {{ {script.replace('http://127.0.0.1:8080', gateway.url.rstrip('/'))} }}")
    assert "You said: Where is my order 12345?" in caught.value.text
