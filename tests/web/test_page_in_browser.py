"""The page in a real Chromium, against a real gateway with scripted answers."""

import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.browser


class Gateway:
    """A scripted gateway that can be stopped and started again at the same port."""

    def __init__(self, data_dir: Path, *flags: str) -> None:
        self._data_dir = data_dir
        self._flags = flags
        self._process: subprocess.Popen[str] | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.web.scripted_gateway", "serve", "--data-dir", str(self._data_dir)]
        options = ["--port", str(self.port), "--log-level", "error", "--set", "server.drain_seconds=1", *self._flags]
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
            expect(page.locator("[data-connection=online]")).to_be_visible()
        return page

    yield opened
    for context in contexts:
        context.close()
    assert [text for text in said if "ERR_CONNECTION_REFUSED" not in text] == []


def say(page: Page, text: str) -> None:
    page.get_by_label("Write a message").fill(text)
    page.keyboard.press("Enter")


def replies(page: Page) -> Any:
    """Answers that are whole; the rows of others are busy, or errors."""
    return page.locator(".row.reply[aria-busy=false]:not(.error) .md")


def own(page: Page) -> Any:
    return page.locator(".row.own .bubble")


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
    expect(page.get_by_role("button", name="Send", exact=True)).to_have_attribute("aria-disabled", "true")
    say(page, "hello\nthere")
    expect(replies(page)).to_have_text("You said: hello\nthere", use_inner_text=True)
    expect(page.locator(".facts .intent")).to_contain_text("rder", use_inner_text=True)
    expect(page.locator(".facts .negative")).to_have_text("negative")
    expect(page.get_by_role("heading", name="How can we help?")).to_be_hidden()
    expect(page.locator(".row.own[data-state=sent]")).to_have_count(1)


def test_the_models_details_are_shown_on_request(open_page: OpenPage) -> None:
    page = open_page()
    say(page, "hello")
    expect(replies(page)).to_have_count(1)
    expect(page.locator(".details")).to_have_count(0)
    page.get_by_role("button", name="More").click()
    page.get_by_role("switch", name="Show model details").click()
    expect(page.locator(".details")).to_contain_text("97%")
    expect(page.locator(".details")).to_contain_text("12 ms")
    page.reload()
    expect(page.locator(".details")).to_contain_text("97%")


def test_the_starters_are_sent_by_a_click(open_page: OpenPage) -> None:
    page = open_page()
    page.locator(".welcome").get_by_role("button", name="Where is my order 12345?").click()
    expect(replies(page)).to_have_text("You said: Where is my order 12345?")
    page.locator("#prompts button").nth(1).click()
    expect(replies(page)).to_have_count(2)


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
    for tag in ("img", "script", "svg", "iframe", "b"):
        expect(bubble.locator(tag)).to_have_count(0)
    hrefs = bubble.locator("a").evaluate_all("links => links.map(link => link.href)")
    assert all(href.startswith("https://example.com/") for href in hrefs)
    page.locator(".row .quick button").click()
    expect(own(page).last).to_have_text("<img src=x onerror=window.pwned=9>")
    expect(replies(page)).to_have_count(2)
    assert page.evaluate("() => window.pwned") is None


def test_quick_replies_belong_to_the_last_answer(open_page: OpenPage) -> None:
    page = open_page()
    say(page, "formatted")
    offered = page.locator(".row .quick:visible")
    offered.get_by_role("button", name="formatted").click()
    expect(replies(page)).to_have_count(2)
    expect(offered).to_have_count(1)
    offered.get_by_role("button", name="plain").click()
    expect(replies(page)).to_have_count(3)
    expect(offered).to_have_count(0)


def test_an_answer_is_shown_while_it_is_written(open_page: OpenPage) -> None:
    page = open_page()
    say(page, "streamed")
    expect(page.locator(".row.reply[aria-busy=true] .md")).to_contain_text("This is")
    expect(replies(page)).to_have_text("This is streamed.")
    expect(replies(page).locator("strong")).to_have_text("streamed")
    expect(page.locator(".row.reply")).to_have_count(1)


def test_an_error_is_shown_and_the_next_message_answered(open_page: OpenPage) -> None:
    page = open_page()
    say(page, "broken")
    expect(page.locator(".row.error, .row.own .fail:not(:empty)").first).to_be_visible()
    expect(page.locator(".dots")).to_have_count(0)
    say(page, "again")
    expect(replies(page)).to_have_text("You said: again")


def test_a_sticker_goes_as_it_is_and_a_photo_is_made_smaller(open_page: OpenPage, pictures: Path) -> None:
    page = open_page()
    page.locator("input.file").set_input_files(pictures / "sticker.png")
    expect(page.locator(".tray img")).to_be_visible()
    say(page, "what is it?")
    expect(replies(page)).to_have_text("PNG 120x100 what is it?")
    expect(page.locator(".facts .tag")).to_have_text(["cat face", "joy"])
    expect(page.locator(".row.own img")).to_be_visible()
    expect(page.locator(".tray")).to_be_hidden()
    page.locator("input.file").set_input_files(pictures / "photo.png")
    expect(page.locator(".tray img")).to_be_visible()
    page.get_by_role("button", name="Send", exact=True).click()
    expect(replies(page).last).to_have_text("JPEG 800x600")


def test_a_picture_can_be_removed_pasted_and_dropped(open_page: OpenPage, pictures: Path) -> None:
    page = open_page()
    page.locator("input.file").set_input_files(pictures / "sticker.png")
    page.get_by_role("button", name="Remove the picture sticker.png").click()
    expect(page.locator(".tray")).to_be_hidden()
    give = """async (field, [kind, bytes]) => {
        const transfer = new DataTransfer();
        transfer.items.add(new File([new Uint8Array(bytes)], "s.png", { type: "image/png" }));
        const how = { bubbles: true, composed: true, cancelable: true };
        const event = kind === "paste"
            ? new ClipboardEvent(kind, { ...how, clipboardData: transfer })
            : new DragEvent(kind, { ...how, dataTransfer: transfer });
        field.dispatchEvent(event);
    }"""
    content = list((pictures / "sticker.png").read_bytes())
    field = page.get_by_label("Write a message")
    for number, kind in enumerate(("paste", "drop"), 1):
        field.evaluate(give, [kind, content])
        expect(page.locator(".tray img")).to_be_visible()
        field.press("Enter")
        expect(replies(page)).to_have_count(number)
        expect(replies(page).last).to_have_text("PNG 120x100")


def test_a_file_that_is_no_picture_is_refused(open_page: OpenPage, pictures: Path) -> None:
    page = open_page()
    page.locator("input.file").set_input_files(pictures / "text.png")
    expect(page.locator(".composer .hint")).to_contain_text("text.png is not a picture")
    expect(page.locator(".tray")).to_be_hidden()


def test_a_reload_and_a_second_tab_show_the_same_conversation(open_page: OpenPage) -> None:
    page = open_page()
    say(page, "first")
    expect(replies(page)).to_have_count(1)
    page.reload()
    expect(replies(page)).to_have_text("You said: first")
    expect(own(page)).to_have_text("first")
    tab = page.context.new_page()
    tab.goto(page.url)
    expect(replies(tab)).to_have_count(1)
    say(tab, "second")
    expect(replies(page)).to_have_text(["You said: first", "You said: second"])
    expect(own(page)).to_have_text(["first", "second"])


def test_a_new_chat_starts_empty(open_page: OpenPage) -> None:
    page = open_page()
    say(page, "first")
    expect(replies(page)).to_have_count(1)
    page.get_by_role("button", name="More").click()
    page.get_by_role("button", name="New conversation").click()
    page.get_by_role("button", name="Start new").click()
    expect(page.get_by_role("heading", name="How can we help?")).to_be_visible()
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
    expect(page.locator("[data-connection=online]")).to_have_count(0)
    say(page, "meanwhile")
    waiting = page.locator(".row.own:not([data-state=sent])", has_text="meanwhile")
    expect(waiting).to_be_visible()
    gateway.start()
    expect(waiting).to_have_count(0, timeout=15000)
    expect(replies(page).last).to_have_text("You said: meanwhile")
    expect(own(page)).to_have_text(["before", "meanwhile"])


def test_chinese_by_the_browsers_language(open_page: OpenPage) -> None:
    page = open_page(locale="zh-CN")
    assert page.locator("html").get_attribute("lang") == "zh-CN"
    expect(page.get_by_role("heading", name="有什么可以帮您？")).to_be_visible()
    page.locator(".welcome").get_by_role("button", name="我的订单 12345 到哪里了？").click()
    expect(replies(page)).to_have_text("You said: 我的订单 12345 到哪里了？")
    expect(page.locator(".facts .negative")).not_to_have_text("negative")


def test_it_fits_a_phone_and_everything_has_a_name(open_page: OpenPage) -> None:
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
    expect(page.get_by_role("status").filter(has_text="Online")).to_have_count(1)


# --- On other people's pages -----------------------------------------------------------------------------------------


class _Shop(BaseHTTPRequestHandler):
    """A shop's own site: its page with what is ours in it, under a policy of its own, and its script."""

    gateway = ""
    body = ""
    script = ""

    def do_GET(self) -> None:
        gateway = self.gateway.rstrip("/")
        sockets = gateway.replace("http", "ws")
        self.send_response(200)
        kind = "javascript" if self.path == "/module.js" else "html"
        self.send_header("Content-Type", f"text/{kind}; charset=utf-8")
        self.send_header(
            "Content-Security-Policy",
            f"default-src 'none'; script-src 'self' {gateway}; connect-src {gateway} {sockets}; "
            f"img-src 'self' data: blob: {gateway}",
        )
        self.end_headers()
        page = f"<!doctype html><title>Shop</title><p>Our shop</p>{self.body}"
        self.wfile.write((page if kind == "html" else self.script).encode())

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@pytest.fixture(scope="module")
def shop() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Shop)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def embedded(shop: ThreadingHTTPServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that allows the shop's origin."""
    running = Gateway(tmp_path_factory.mktemp("data"), "--origin", f"http://127.0.0.1:{shop.server_port}")
    running.start()
    yield running
    running.stop()


OpenShop = Callable[..., tuple[Page, list[str]]]


@pytest.fixture
def open_shop(browser: Browser, shop: ThreadingHTTPServer) -> Iterator[OpenShop]:
    """Opens the shop's page with ``body`` in it, whose ``https://chat.example.com`` is the ``gateway``."""
    contexts: list[BrowserContext] = []

    def opened(gateway: Gateway, body: str) -> tuple[Page, list[str]]:
        _Shop.gateway = gateway.url
        _Shop.body = body.replace("https://chat.example.com", gateway.url.rstrip("/"))
        said: list[str] = []
        contexts.append(browser.new_context(locale="en-US"))
        page = contexts[-1].new_page()
        page.set_default_timeout(8000)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(f"http://127.0.0.1:{shop.server_port}/")
        return page, said

    yield opened
    for context in contexts:
        context.close()


def readme(language: str, number: int = 0) -> str:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found: list[str] = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    return found[number]


def test_one_script_tag_brings_the_chat_to_another_site(open_shop: OpenShop, embedded: Gateway, pictures: Path) -> None:
    page, said = open_shop(embedded, readme("html"))
    page.get_by_role("button", name="Open the chat").click()
    expect(page.locator("[data-connection=online]")).to_be_visible()
    say(page, "hello")
    expect(replies(page)).to_have_text("You said: hello")
    page.locator("input.file").set_input_files(pictures / "photo.png")
    expect(page.locator(".tray img")).to_be_visible()
    page.get_by_role("button", name="Send", exact=True).click()
    expect(replies(page).last).to_have_text("JPEG 800x600")
    page.reload()
    page.get_by_role("button", name=re.compile("Open the chat")).click()
    expect(replies(page)).to_have_count(2)
    expect(page.locator(".row.own img")).to_be_visible()
    assert page.locator(".row.own img").evaluate("async image => (await image.decode(), image.naturalWidth)") == 800
    assert said == []


def test_the_sdk_needs_no_bundler(open_shop: OpenShop, embedded: Gateway) -> None:
    (script,) = re.findall(r'<script type="module">\n(.*?)</script>', readme("html", 1), re.DOTALL)
    _Shop.script = script.replace("https://chat.example.com", embedded.url.rstrip("/"))
    page, said = open_shop(embedded, '<script type="module" src="/module.js"></script>')
    with page.expect_console_message(lambda told: "You said: Where is my order 12345?" in told.text):
        page.reload()
    assert [text for text in said if "Error" in text or "policy" in text] == []


def test_a_site_that_is_not_allowed_gets_the_script_and_no_chat(open_shop: OpenShop, gateway: Gateway) -> None:
    page, said = open_shop(gateway, readme("html"))
    page.get_by_role("button", name="Open the chat").click()
    expect(page.locator("[data-connection]")).to_be_visible()
    with page.expect_console_message(lambda told: "blocked by CORS policy" in told.text):
        page.reload()
        page.get_by_role("button", name="Open the chat").click()
    expect(page.locator("[data-connection=online]")).to_have_count(0)
    assert any("/v1/guest" in text for text in said)


def test_the_ten_lines_of_the_readme(open_page: OpenPage, gateway: Gateway) -> None:
    script = readme("js")
    assert len(script.strip().splitlines()) <= 10
    page = open_page()
    with page.expect_console_message() as caught:
        page.evaluate(f"async () => {{ {script.replace('http://127.0.0.1:8080', gateway.url.rstrip('/'))} }}")
    assert "You said: Where is my order 12345?" in caught.value.text
