"""The result picture: what is on it, that it is the same each time, and that nothing a stranger writes disturbs it."""

import io
import json
import math
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files

import numpy as np
import pytest
from PIL import Image

from csgate.errors import BadImage, ImageTooLarge, UnsupportedImage
from csgate.events import Tag
from csgate.media import showing_look as look
from csgate.media.showing import MAX_LINES, MAX_TAGS, draw
from csgate.media.showing_panel import WORDS
from csgate.media.showing_stage import MAX_BOXES
from csgate.media.showing_text import MAX_CHARACTERS, clean, fitted, font
from csgate.media.shown import Line, Shown
from csgate.shipped import models_dir

MAX_PIXELS = 20_000_000
GREY = (120, 120, 120)


def picture(size=(800, 600), colour=GREY, form="JPEG", **options) -> bytes:
    file = io.BytesIO()
    Image.new("RGBA" if len(colour) == 4 else "RGB", size, colour).save(file, form, **options)
    return file.getvalue()


def level(left: float, top: float, right: float, bottom: float):
    return ((left, top), (right, top), (right, bottom), (left, bottom))


def line(text: str, box=((0.2, 0.4), (0.8, 0.4), (0.8, 0.5), (0.2, 0.5)), score: float = 0.9) -> Line:
    return Line(text, score, box)


def tags(*labels: str, score: float = 0.9) -> tuple[Tag, ...]:
    return tuple(Tag(label, label, score) for label in labels)


def shown(file: bytes | None = None, **fields) -> np.ndarray:
    """The pixels of the card: int[H, W, 4]."""
    made = draw(file or picture(), Shown(**fields), max_pixels=MAX_PIXELS)
    with Image.open(io.BytesIO(made)) as image:
        assert image.format == "WEBP"
        return np.asarray(image.convert("RGBA")).astype(int)


def near(pixels: np.ndarray, colour: tuple[int, ...], within: int = 40) -> np.ndarray:
    return np.abs(pixels[..., :3] - np.array(colour[:3])).max(-1) <= within


def is_box(letters, character: str) -> bool:
    return bytes(letters.getmask(character)) == bytes(letters.getmask("\U0010ffff"))


def contrast(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    def luminance(colour):
        parts = [value / 255 for value in colour]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


# --- what is on the card ----------------------------------------------------------------------------------------------


def test_a_card_has_round_transparent_corners_and_the_picture_on_it():
    card = shown(tags=tags("package"), kind="photo")
    assert card.shape[1] == look.CARD_WIDTH
    assert [card[y, x, 3] for y in (0, -1) for x in (0, -1)] == [0, 0, 0, 0]
    assert card[card.shape[0] // 2, :, 3].min() == 255
    assert near(card[300:301, 400:401], GREY, 6).all()


def test_a_bar_is_as_long_as_the_score_is_high():
    def length(score: float) -> int:
        card = shown(tags=tags("box", score=score), kind=None)
        return int(near(card, look.ACCENT).any(0).sum())

    assert length(0.0) == length(-3.0) == length(math.nan) == 0
    half, whole = length(0.5), length(1.0)
    assert whole == length(7.0)
    assert half == pytest.approx(whole / 2, rel=0.05)


def test_as_many_tags_as_there_is_room_for():
    few, many = tags(*"abcdefgh"[:MAX_TAGS]), tags(*"abcdefgh")
    assert (shown(tags=few) == shown(tags=many)).all()
    assert shown(tags=few).shape[0] > shown(tags=few[:-1]).shape[0]


def test_a_tag_without_a_label_shows_its_name():
    assert (shown(tags=(Tag("box", "\x00", 0.5),)) == shown(tags=(Tag("x", "box", 0.5),))).all()


@pytest.mark.parametrize("kind", ["photo", "screenshot", "sticker", None, "something new"])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_kind_is_a_chip_in_the_language_of_the_message(kind, language):
    card = shown(tags=tags("box"), kind=kind, language=language)
    chip = near(card, look.CHIP, 3).sum()
    assert (chip > 1000) == (kind in WORDS["en"])


def test_languages_differ():
    one, other = (shown(kind="photo", language=language) for language in ("en", "zh"))
    assert one.shape == other.shape
    assert (one != other).any()


def test_text_is_boxed_in_the_picture_and_listed_below():
    card = shown(lines=(line("Payment failed"),), kind="screenshot")
    stage = card[look.PADDING : look.PADDING + 600, look.PADDING : look.PADDING + 800]
    framed = near(stage, look.ACCENT)
    rows, columns = np.nonzero(framed.sum(1) > 400)[0], np.nonzero(framed.sum(0) > 40)[0]
    assert rows[0] == pytest.approx(0.4 * 600, abs=9)
    assert rows[-1] == pytest.approx(0.5 * 600, abs=9)
    assert columns[-1] == pytest.approx(0.8 * 800, abs=9)
    assert framed[:, : int(0.2 * 800) - 10].any(), "the number stands left of the box"
    below = card[look.PADDING + 600 :]
    assert near(below, look.ACCENT).any()
    assert near(below, look.INK, 60).any()


def test_a_slanted_line_has_a_slanted_box():
    card = shown(lines=(line("Slanted", ((0.2, 0.3), (0.8, 0.6), (0.78, 0.7), (0.18, 0.4))),))
    framed = near(card[: look.PADDING + 600], look.ACCENT)
    assert framed.sum(1).max() < 250, "no level edge"
    assert framed.sum() > 2000


@pytest.mark.parametrize(
    "box",
    [
        level(math.nan, 0.1, 0.5, 0.2),
        level(0.1, -math.inf, 0.5, math.inf),
        level(0.5, 0.5, 0.5, 0.5),
        level(7.0, 7.0, 9.0, 9.0),
    ],
)
def test_what_is_no_box_is_not_drawn_but_its_text_is_listed(box):
    card = shown(lines=(line("Text", box),))
    assert not near(card[: look.PADDING + 600], look.ACCENT).any()
    assert near(card[look.PADDING + 600 :], look.ACCENT).any()


def test_a_box_beyond_the_picture_ends_at_its_edge():
    card = shown(lines=(line("Wide", level(-5.0, 0.5, 9.0, 0.6)),))
    assert near(card[: look.PADDING + 600, look.PADDING : -look.PADDING], look.ACCENT).any()
    assert not near(card[: look.PADDING + 600, : look.PADDING - 1], look.ACCENT).any()


def test_many_lines_the_long_and_large_are_listed_in_their_order():
    short = [line("9:41", level(0.1, 0.02, 0.2, 0.05)) for _ in range(4)]
    long = [
        line(f"A long line of text, number {n}", level(0.1, 0.1 + n / 10, 0.9, 0.15 + n / 10)) for n in range(MAX_LINES)
    ]
    mixed = shown(lines=(*short, *long))
    assert mixed.shape[0] > shown(lines=tuple(long)).shape[0], "a line says that there are more"
    assert (mixed[-300:] != shown(lines=(*long[::-1], *short))[-300:]).any()
    assert (mixed[-300:] == shown(lines=(short[0], *long, *short[1:]))[-300:]).all()


def test_more_lines_than_anybody_reads_cost_no_more():
    many = tuple(line(f"line {n % 50}") for n in range(5000))
    assert shown(lines=many).shape == shown(lines=many[: MAX_BOXES + 20]).shape


def test_crowded_numbers_stay_on_the_picture():
    corner = level(0.0, 0.0, 1.0, 1.0)
    card = shown(lines=tuple(line(f"line number {n}", corner) for n in range(MAX_LINES)))
    assert near(card[: look.PADDING + 600], look.WHITE, 10).sum() > 500


def test_nothing_seen_is_said():
    assert shown().shape[0] < shown(tags=tags("a", "b")).shape[0]
    assert near(shown()[-90:], look.MUTED, 60).any()


# --- pictures of all kinds --------------------------------------------------------------------------------------------


def test_the_picture_is_the_right_way_up():
    lying = Image.new("RGB", (800, 600), (250, 0, 0))
    lying.paste((0, 0, 250), (0, 0, 400, 600))
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    lying.save(file, "JPEG", exif=exif)
    card = shown(file.getvalue(), kind="photo")
    middle = look.CARD_WIDTH // 2
    assert near(card[150:151, middle : middle + 1], (0, 0, 250)).all()
    assert near(card[750:751, middle : middle + 1], (250, 0, 0)).all()


def test_a_sticker_lies_on_a_chequered_tile():
    card = shown(picture((64, 64), (255, 0, 0, 0), "PNG"), kind="sticker", tags=tags("heart"))
    tile = card[60:200, 60:780]
    assert near(tile, look.STAGE, 3).any()
    assert near(tile, look.CHECK, 3).any()
    assert not near(tile, (255, 0, 0), 60).any()


def test_an_alpha_channel_that_hides_nothing_makes_no_sticker():
    card = shown(picture((800, 600), (*GREY, 255), "PNG"))
    assert card.shape == shown(picture((800, 600), GREY, "PNG")).shape
    assert near(card[300:301, 40:41], GREY, 6).all()


def test_of_an_animation_the_first_frame_is_shown_and_its_chip_says_so():
    frames = [Image.new("RGB", (200, 200), colour) for colour in ((200, 0, 0), (0, 0, 200))]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    still = io.BytesIO()
    frames[0].save(still, "GIF")
    moving, resting = (shown(f.getvalue(), kind="sticker", tags=tags("dog")) for f in (file, still))
    assert near(moving[150:151, 420:421], (200, 0, 0)).all()
    assert near(moving, look.CHIP, 3).sum() > near(resting, look.CHIP, 3).sum()


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (300, 3000), (3000, 300), (100, 100), (800, 1100)])
@pytest.mark.parametrize("kind", ["photo", "sticker"])
def test_any_shape_makes_a_card_of_reasonable_height(size, kind):
    card = shown(picture(size, form="PNG"), kind=kind, lines=(line("Text"),))
    assert card.shape[1] == look.CARD_WIDTH
    assert 250 < card.shape[0] < 1200


def test_grey_and_native_twins(monkeypatch):
    file = io.BytesIO()
    Image.new("L", (400, 300), 90).save(file, "JPEG")
    assert near(shown(file.getvalue())[300:301, 400:401], (90, 90, 90), 6).all()
    native = draw(picture(), Shown(), max_pixels=MAX_PIXELS)
    monkeypatch.setattr("csgate._fast.IMPLEMENTATION", "pure")
    assert draw(picture(), Shown(), max_pixels=MAX_PIXELS) == native


@pytest.mark.parametrize(
    ("file", "error"),
    [
        (b"", BadImage),
        (b"<svg onload=alert(1)>", UnsupportedImage),
        (picture()[:300], BadImage),
        (picture((5000, 4001)), ImageTooLarge),
    ],
)
def test_bad_pictures_are_typed_errors(file, error):
    with pytest.raises(error):
        draw(file, Shown(), max_pixels=MAX_PIXELS)


# --- the same each time -----------------------------------------------------------------------------------------------


def test_the_same_bytes_from_every_thread():
    told = Shown(
        tags("脸", "box"), "photo", (line("订单 12345"), line("Slanted", ((0, 0), (1, 0.3), (1, 0.4), (0, 0.1))))
    )
    expected = draw(picture(), told, max_pixels=MAX_PIXELS)
    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(lambda _: draw(picture(), told, max_pixels=MAX_PIXELS), range(8)))
    assert set(made) == {expected}


# --- strangers' text --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hostile", "plain"),
    [
        ("Pay\u202edel\u2066iv\u200fery\x00\x1b", "Paydelivery"),
        ("a\n\t\r\u2028b", "a b"),
        ("z\u0336\u0489\u0300\u0301" + "\u0300" * 300, "z"),
        ("\ufeffx\ud800y\ue000", "xy"),
        ("Ａｂ１２", "Ab12"),
    ],
)
def test_control_characters_and_marks_are_left_out(hostile, plain):
    assert clean(hostile) == plain


def test_a_turned_text_is_drawn_as_if_it_were_not():
    assert (shown(tags=tags("ab\u202ecd")) == shown(tags=tags("abcd"))).all()
    assert (shown(lines=(line("\u202e321"),)) == shown(lines=(line("321"),))).all()


def test_text_without_an_end_is_cut():
    assert len(clean("W" * 10_000_000)) <= MAX_CHARACTERS
    assert len(clean("word " * 1000)) <= MAX_CHARACTERS
    assert (shown(tags=tags("W" * 10_000_000)) == shown(tags=tags("W" * 1000))).all()


def test_an_ellipsis_that_suits_the_text_and_fits():
    letters = font("regular", 32)
    for text, end in (("error " * 20, "..."), ("支付失败" * 20, "…")):
        cut = fitted(text, letters, 300)
        assert cut.endswith(end)
        assert letters.getlength(cut) <= 300
        assert text.startswith(cut.removesuffix(end))
    assert fitted("short", letters, 300) == "short"
    assert fitted("W", letters, 1) == "..."


def test_lines_of_nothing_are_not_shown():
    assert (shown(lines=(line("\x00\u200b"),)) == shown()).all()


def test_a_character_without_a_glyph_is_a_neat_box():
    assert (shown(tags=tags("\U0001f600")) == shown(tags=tags("\U0001f9ff"))).all()
    assert (shown(tags=tags("\U0001f600")) != shown(tags=tags("a"))).any()
    left, top, right, bottom = font("regular", 64).getmask("\U0001f600").getbbox()
    assert right - left == pytest.approx(bottom - top, rel=0.1)


# --- fonts and colours ------------------------------------------------------------------------------------------------


def test_the_font_has_every_label_and_the_everyday_characters():
    labels = json.loads((models_dir() / "stickers" / "labels.json").read_text(encoding="utf-8"))
    wanted = set("".join(labels["en"] + labels["zh"])) | set("订单号验证码退款快递银行卡余额，。！？：（）￥éüñ€…")
    letters = font("regular", 32)
    assert not [character for character in wanted if not character.isspace() and is_box(letters, character)]


def test_the_bold_font_has_what_the_card_itself_says():
    words = "".join(word for language in WORDS.values() for word in language.values()) + "0123456789%"
    letters = font("bold", 32)
    assert not [character for character in words if not character.isspace() and is_box(letters, character)]


def test_the_fonts_are_small_have_a_name_of_their_own_and_their_licence_beside_them():
    folder = files("csgate.media") / "fonts"
    sizes = [len(file.read_bytes()) for file in folder.iterdir() if file.name.endswith(".xz")]
    assert len(sizes) == 2
    assert sum(sizes) <= 400_000
    assert font("regular", 20).getname() == ("csgate Label", "Regular")
    assert font("bold", 20).getname() == ("csgate Label", "Bold")
    licence = (folder / "OFL.txt").read_text(encoding="utf-8")
    assert "Copyright 2014-2021 Adobe" in licence
    assert "SIL OPEN FONT LICENSE Version 1.1" in licence


@pytest.mark.parametrize(
    ("text", "ground"),
    [
        (look.INK, look.CARD),
        (look.MUTED, look.CARD),
        (look.CHIP_INK, look.CHIP),
        (look.WHITE, look.ACCENT),
        (look.ACCENT, look.CARD),
    ],
)
def test_text_can_be_told_from_its_ground(text, ground):
    assert contrast(text, ground) >= 4.5
