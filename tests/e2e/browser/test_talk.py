"""Words and pictures there and back, in both languages; what leaves the browser, and what comes back."""

import base64
import io
import json
import re
import struct
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import expect

from .. import pictures
from ..conftest import Server
from .conftest import Visit
from .visitor import Visitor, answers, own, pictures_in

pytestmark = pytest.mark.browser
KB = 1024
SAMPLES = Path(__file__).parents[3] / "models" / "samples"


@pytest.mark.parametrize(
    ("locale", "question", "number", "greeting", "stickers", "mood"),
    [
        ("en-US", "Where is my order 12345?", "12345", "How can we help?", "Stickers", "angry|mad|upset"),
        ("zh-CN", "我的订单98765在哪里？", "98765", "有什么可以帮您？", "表情", "生气|愤怒|抓狂|不高兴"),
    ],
)
def test_words_and_a_picture_there_and_back(
    server: Server, visit: Visit, locale: str, question: str, number: str, greeting: str, stickers: str, mood: str
) -> None:
    visitor = visit(server, locale=locale)
    page = visitor.page
    expect(page.get_by_role("heading", name=greeting)).to_be_visible()
    visitor.say(question)
    expect(answers(page)).to_contain_text(number)
    expect(own(page)).to_have_text(question)
    expect(page.locator(".chips .intent")).to_have_text("track order" if locale == "en-US" else "查询订单")
    chinese = any("\u4e00" <= letter <= "\u9fff" for letter in answers(page).inner_text())
    assert chinese == (locale == "zh-CN")

    page.set_input_files("input.file", SAMPLES / "photo.jpg")
    expect(page.locator(".tray img")).to_be_visible()
    visitor.send()
    expect(answers(page)).to_have_count(2)
    expect(pictures_in(page, "own")).to_have_count(1)
    # The picture of what was seen comes from the server and can be opened.
    expect(pictures_in(page, "reply")).to_have_count(1)
    shown = pictures_in(page, "reply").evaluate("async image => (await image.decode(), image.naturalWidth)")
    assert shown >= 300

    page.get_by_role("button", name=stickers, exact=True).click()
    page.get_by_role("searchbox").fill(mood.partition("|")[0])
    page.locator(".grid").get_by_role("button").filter(has_text="😡").click()
    expect(answers(page)).to_have_count(3)
    expect(pictures_in(page, "own")).to_have_count(2)
    # Whichever of the words for it comes first.
    expect(page.locator(".chips .tag").get_by_text(re.compile(f"^({mood})$")).first).to_be_visible()
    ((_, sticker),) = binary_frames(visitor)[1:]
    assert sticker[:4] in (b"RIFF", b"\x89PNG")  # WebP where the browser makes it
    assert len(sticker) <= 5 * KB


def test_a_picture_pasted_and_one_dropped(server: Server, visit: Visit) -> None:
    visitor = visit(server)
    page = visitor.page
    sticker = pictures.base64_text(pictures.png())
    visitor.give("paste", "pasted.png", "image/png", sticker)
    expect(page.locator(".tray img")).to_have_attribute("alt", "pasted.png")
    visitor.give("drop", "dropped.png", "image/png", sticker)
    expect(page.locator(".tray img")).to_have_count(2)
    expect(page.locator(".drop")).to_be_hidden()
    visitor.say("What are these?")
    expect(answers(page)).to_have_count(2)
    expect(pictures_in(page, "own")).to_have_count(2)
    sent = [body for _, body in binary_frames(visitor)]
    assert sent == [pictures.png()] * 2  # stickers go as they are


def test_a_large_photo_leaves_small_and_upright(server: Server, visit: Visit, tmp_path: Path) -> None:
    """4,000 x 3,000 pixels, with all that a camera writes into its files, held upright."""
    file = tmp_path / "IMG_0001.jpg"
    file.write_bytes(camera_photo(4000, 3000))
    assert file.stat().st_size > 1024 * KB
    visitor = visit(server)
    page = visitor.page
    page.set_input_files("input.file", file)
    expect(page.locator(".tray img")).to_be_visible()
    visitor.send()
    expect(answers(page)).to_have_count(1)
    if visitor.uploads:
        body: Any = visitor.uploads[0].post_data_buffer
        assert body is not None
    else:
        ((header, body),) = binary_frames(visitor)
        assert header["type"] == "message"
    assert len(body) <= 300 * KB
    picture = Image.open(io.BytesIO(body))
    assert picture.format == "JPEG"
    assert picture.size == (800, 1067)  # orientation 6: what is 4,000 wide in the file is the height
    assert not picture.getexif()
    # The corner that the camera had at the top left is at the top right of the picture as it was held.
    red, green, blue = picture.convert("RGB").crop((760, 0, 800, 40)).resize((1, 1)).tobytes()
    assert red > 180
    assert green < 90
    assert blue < 90
    kept = page.locator(".row.own .pic").get_attribute("data-url")
    assert kept is not None
    if kept.startswith("http"):
        stored = page.request.get(kept)
        assert stored.ok
        assert Image.open(io.BytesIO(stored.body())).size == picture.size


def test_a_file_that_cannot_be_a_picture_is_told_apart(server: Server, visit: Visit) -> None:
    visitor = visit(server)
    page = visitor.page
    name = "<img src=x onerror=alert(1)>.svg"
    visitor.give("drop", name, "image/svg+xml", pictures.base64_text(pictures.SVG))
    expect(page.locator(".composer .hint")).to_contain_text(name)
    expect(page.locator(".tray")).to_be_hidden()
    # One that only says that it is a picture never leaves, either.
    visitor.give("paste", "report.png", "image/png", base64.b64encode(b"quarterly figures " * 50).decode())
    expect(page.locator(".composer .hint")).to_contain_text("report.png")
    expect(page.locator(".tray")).to_be_hidden()
    assert binary_frames(visitor) == []


def binary_frames(visitor: Visitor) -> list[tuple[dict[str, Any], bytes]]:
    """Header and picture of each binary frame that was sent."""
    found = []
    for frame in visitor.frames:
        if isinstance(frame, bytes):
            (length,) = struct.unpack_from("!I", frame)
            found.append((json.loads(frame[4 : 4 + length]), frame[4 + length :]))
    return found


def camera_photo(width: int, height: int) -> bytes:
    """As a phone makes it: noisy, with the place, lying on its side, red in its own top left corner."""
    image = Image.effect_noise((width // 4, height // 4), 60).resize((width, height)).convert("RGB")
    image.paste(Image.linear_gradient("L").resize((width, height // 2)).convert("RGB"), (0, height // 2))
    image.paste((230, 30, 30), (0, 0, width // 5, height // 5))
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "Camera of a phone"
    exif.get_ifd(0x8825)[1] = "N"
    return pictures.encode(image, "JPEG", quality=92, exif=exif)
