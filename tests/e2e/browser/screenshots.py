"""Takes the pictures under docs/screenshots/ of a real server's page: ``python -m tests.e2e.browser.screenshots``.

Names of states as arguments take only those. Chromium and fonts with Chinese and emoji must be installed.
"""

import io
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont
from playwright.sync_api import Browser, Page, expect, sync_playwright

from ..conftest import Server, start_server
from ..test_simple_mode import CHROMIUM, CHROMIUM_FLAGS
from .dictation import Dictation
from .visitor import Visitor, answers, field, growing, pictures_in

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "docs" / "screenshots"
SAMPLES = ROOT / "models" / "samples"
MOST_BYTES = 150 * 1024
LETTER = [
    *(
        "Here is what happens ",
        "with order **12345**:\n\n",
        "1. It is packed today\n",
        "2. It leaves tomorrow morning\n",
    ),
    *(
        "3. It is with you **on Friday**\n\n",
        "You get a message ",
        "with a link to follow it ",
        "as soon as it is on its way.",
    ),
]
FAILED = """() => new Promise(done => {
    const opening = indexedDB.open("csgate");
    opening.onsuccess = () => {
        const changing = opening.result.transaction("items", "readwrite");
        const failed = { code: "timeout", text: "This took too long.", retryable: true };
        changing.objectStore("items").put(
            { id: "f1", scope: "guest", owner: "gone", text: "Can I change it?", at: Date.now(), after: 9, failed });
        changing.oncomplete = () => { opening.result.close(); done(); };
    };
})"""


ANOTHER_PAGE = """([direction, attributes]) => {
    for (const one of [...document.body.children]) one.remove();
    document.documentElement.dir = direction;
    const lines = [[40, 26, "22%"], [110, 54, "46%"], [196, 14, "52%"], [222, 14, "49%"], [248, 14, "33%"],
                   [310, 220, "24%"], [310, 220, "24%", "28%"], [552, 14, "20%"], [552, 14, "18%", "28%"]];
    for (const [top, height, width, start = "0px"] of lines) {
        const bar = document.createElement("div");
        Object.assign(bar.style, { position: "absolute", top: `${top}px`, insetInlineStart: `calc(64px + ${start})`,
            width, height: `${height}px`, borderRadius: "12px", background: "var(--line)" });
        document.body.append(bar);
    }
    const chat = document.createElement("csgate-chat");
    for (const [name, value] of Object.entries(attributes)) chat.setAttribute(name, value);
    document.body.append(chat);
}"""


class Studio:
    """Two servers, one whose answers are dictated, and a browser."""

    def __init__(self, browser: Browser, shop: Server, writer: Server, dictation: Dictation, folder: Path) -> None:
        self.folder = folder
        self.browser = browser
        self.shop = shop
        self.writer = writer
        self.dictation = dictation
        # It is always half past ten in the morning or so.
        hours = (10 - time.gmtime().tm_hour + 12) % 24 - 12
        self.zone = f"Etc/GMT{-hours:+d}" if hours else "Etc/GMT"

    def visit(self, server: Server | None = None, **options: Any) -> Visitor:
        look = {"viewport": {"width": 1280, "height": 800}, "device_scale_factor": 1.5, "timezone_id": self.zone}
        home = (server or self.shop).http
        visitor = Visitor(self.browser, home, network_fails=True, **{**look, **options})
        visitor.online()
        return visitor

    def phone(self, **options: Any) -> Visitor:
        look = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "has_touch": True}
        return self.visit(**{**look, "is_mobile": True, **options})


def made_screenshot(folder: Path) -> Path:
    """What a customer's phone shows when a payment failed."""
    image = Image.new("RGB", (720, 900), "#f5f6f8")
    draw = ImageDraw.Draw(image)
    font = "/usr/share/fonts/truetype/dejavu/DejaVuSans{}.ttf"
    large, plain = ImageFont.truetype(font.format("-Bold"), 46), ImageFont.truetype(font.format(""), 34)
    draw.rectangle((0, 0, 720, 120), fill="#1f2a44")
    draw.text((40, 36), "Checkout", "white", large)
    draw.ellipse((290, 190, 430, 330), fill="#d64545")
    draw.text((346, 222), "!", "white", large)
    draw.text((360, 400), "Payment failed", "#1b2233", large, anchor="mm")
    for line, text in enumerate(("Error 3051", "Order ORD-482913", "Amount 64.90 EUR")):
        draw.text((360, 480 + 62 * line), text, "#4a5368", plain, anchor="mm")
    draw.rounded_rectangle((60, 730, 660, 820), 45, fill="#2f6fed")
    draw.text((360, 775), "Try again", "white", plain, anchor="mm")
    file = folder / "Screenshot.png"
    image.save(file)
    return file


def send_picture(visitor: Visitor, name: str | Path, text: str = "") -> None:
    page = visitor.page
    count = answers(page).count()
    page.set_input_files("input.file", SAMPLES / name)
    expect(page.locator(".tray img")).to_be_visible()
    if text:
        visitor.say(text)
    else:
        visitor.send()
    expect(answers(page)).to_have_count(count + 1)
    expect(pictures_in(page, "reply").last).to_be_visible()


def ask(visitor: Visitor, text: str) -> None:
    count = answers(visitor.page).count()
    visitor.say(text)
    expect(answers(visitor.page)).to_have_count(count + 1)


def settled(page: Page) -> None:
    """All pictures are there, and nothing moves any more."""
    expect(page.locator(".pic.wait")).to_have_count(0)
    page.evaluate(
        """async () => {
            const root = document.querySelector("csgate-chat").shadowRoot;
            for (const image of root.querySelectorAll("img")) await image.decode().catch(() => {});
            const passing = root.getAnimations().filter(one => one.effect.getTiming().iterations !== Infinity);
            await Promise.all(passing.map(one => one.finished.catch(() => {})));
        }"""
    )


# --- The states ------------------------------------------------------------------------------------------------------


def page_en(studio: Studio) -> Visitor:
    visitor = studio.visit(viewport={"width": 840, "height": 1340}, device_scale_factor=1)
    ask(visitor, "Where is my order 12345?")
    send_picture(visitor, "pouting-face.png")
    return visitor


def empty_en(studio: Studio) -> Visitor:
    return studio.visit()


def empty_zh(studio: Studio) -> Visitor:
    return studio.visit(locale="zh-CN")


def dark_en(studio: Studio) -> Visitor:
    visitor = studio.visit(color_scheme="dark")
    ask(visitor, "The jacket is too small, can I exchange it?")
    send_picture(visitor, "thumbs-up.png")
    return visitor


def dark_zh(studio: Studio) -> Visitor:
    visitor = studio.visit(locale="zh-CN", color_scheme="dark")
    ask(visitor, "我的订单 98765 在哪里？")
    send_picture(visitor, "pouting-face.png", "等了一个星期了！")
    return visitor


def pictures(studio: Studio) -> Visitor:
    """A screenshot whose text is read."""
    visitor = studio.visit(viewport={"width": 1280, "height": 1010})
    send_picture(visitor, made_screenshot(studio.folder), "What does this mean?")
    return visitor


def streaming(studio: Studio) -> Visitor:
    visitor = studio.visit(studio.writer)
    studio.dictation.dictate(LETTER, 4)
    visitor.say("Where is my order 12345?")
    expect(growing(visitor.page).locator("li")).to_have_count(2)
    return visitor


def offline(studio: Studio) -> Visitor:
    visitor = studio.visit()
    ask(visitor, "Where is my order 12345?")
    visitor.context.set_offline(True)
    expect(visitor.page.locator(".banner")).to_be_visible()
    visitor.say("And can I still change the address?")
    expect(visitor.page.locator(".row.own[data-state=queued]")).to_be_visible()
    return visitor


def failed(studio: Studio) -> Visitor:
    visitor = studio.visit()
    ask(visitor, "The jacket is too small, can I exchange it?")
    visitor.page.evaluate(FAILED)
    visitor.page.reload()
    visitor.online()
    expect(visitor.page.locator(".row.own[data-state=failed]")).to_be_visible()
    return visitor


def lightbox(studio: Studio) -> Visitor:
    visitor = pictures(studio)
    visitor.page.locator(".row.reply .pic").click()
    expect(visitor.page.locator("dialog.lightbox")).to_be_visible()
    return visitor


def stickers(studio: Studio) -> Visitor:
    visitor = studio.visit()
    ask(visitor, "Where is my order 12345?")
    visitor.page.get_by_role("button", name="Stickers", exact=True).click()
    return visitor


def details(studio: Studio) -> Visitor:
    visitor = studio.visit(viewport={"width": 1280, "height": 1000})
    visitor.page.get_by_role("button", name="More").click()
    visitor.page.get_by_role("switch", name="Show model details").click()
    visitor.page.keyboard.press("Escape")
    send_picture(visitor, "broken-heart.png", "I want my money back for order 12345")
    return visitor


def phone(studio: Studio) -> Visitor:
    visitor = studio.phone()
    ask(visitor, "Where is my order 12345?")
    send_picture(visitor, "pouting-face.png")
    visitor.page.locator("#chat").scroll_into_view_if_needed()
    return visitor


def phone_dark_zh(studio: Studio) -> Visitor:
    visitor = studio.phone(locale="zh-CN", color_scheme="dark")
    ask(visitor, "衣服小了，可以换货吗？")
    return visitor


def phone_empty(studio: Studio) -> Visitor:
    return studio.phone()


def rtl(studio: Studio) -> Visitor:
    """In the corner of a page that is written from right to left."""
    return on_another_page(studio, "rtl", "أين طلبي 12345؟", title="خدمة العملاء")


def corner(studio: Studio) -> Visitor:
    return on_another_page(studio, "ltr", "How long does delivery take?")


def on_another_page(studio: Studio, direction: str, question: str, **attributes: str) -> Visitor:
    """In the corner of another page, which is made of this one."""
    visitor = studio.visit()
    visitor.page.evaluate(ANOTHER_PAGE, [direction, attributes])
    visitor.page.locator(".launcher").click()
    ask(visitor, question)
    return visitor


STATES: tuple[Callable[[Studio], Visitor], ...] = (
    *(page_en, empty_en, empty_zh, dark_en, dark_zh, pictures, streaming, offline, failed, lightbox, stickers),
    *(details, phone, phone_dark_zh, phone_empty, rtl, corner),
)


def keep(name: str, shot: bytes) -> Path:
    """As WebP, or PNG for the one in the README, as many programs show that and nothing else."""
    picture = Image.open(io.BytesIO(shot)).convert("RGB")
    file = FOLDER / f"{name.replace('_', '-')}.{'png' if name == 'page_en' else 'webp'}"
    if file.suffix == ".png":
        picture.quantize(256, dither=Image.Dither.NONE).save(file, optimize=True)
    else:
        picture.save(file, quality=86, method=6)
    assert file.stat().st_size <= MOST_BYTES, f"{file} is too large: {file.stat().st_size}"
    return file


def main(names: list[str]) -> None:
    dictation = Dictation()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        shop = start_server(Path(folder) / "shop", CSGATE_INFERENCE__OCR="on")
        writer = start_server(Path(folder) / "writer", CSGATE_INFERENCE__WARM_UP="false", **dictation.environment)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_FLAGS)
        studio = Studio(browser, shop, writer, dictation, Path(folder))
        try:
            for state in STATES:
                if names and state.__name__ not in names:
                    continue
                visitor = state(studio)
                if state not in (stickers, corner, rtl):
                    field(visitor.page).blur()
                settled(visitor.page)
                file = keep(state.__name__, visitor.page.screenshot())
                print(f"{file.relative_to(ROOT)}: {file.stat().st_size:,} bytes")
                visitor.context.set_offline(False)
                visitor.close()
        finally:
            browser.close()
            dictation.close()
            for server in (shop, writer):
                server.stop()


if __name__ == "__main__":
    main(sys.argv[1:])
