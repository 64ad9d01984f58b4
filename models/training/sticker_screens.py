"""Screenshots drawn for training and measuring: chats, lists, forms and the like, in English and Chinese.

What is learned from and what is measured on share neither layouts nor fonts.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

FONTS: Final = Path("/usr/share/fonts")
LEARNED_FONTS: Final = (
    "truetype/dejavu/DejaVuSans.ttf",
    "truetype/dejavu/DejaVuSans-Bold.ttf",
    "opentype/noto/NotoSansCJK-Regular.ttc",
)
MEASURED_FONTS: Final = ("truetype/liberation/LiberationSans-Regular.ttf", "opentype/noto/NotoSerifCJK-Regular.ttc")
LINES: Final = (
    "Your order has been shipped", "Where is my parcel?", "Total: $48.20", "Tap to retry", "Settings", "Payment failed",
    "Delivered at 14:32", "Thank you for your purchase", "Order number 20391-77", "Sign in with your e-mail address",
    "Notifications", "See you tomorrow then!", "I will be home after six", "Privacy policy", "Network error (code 502)",
    "Add to cart", "2 items", "Free delivery from 30 euros", "Rate this product", "Today", "Yesterday", "OK", "Cancel",
)  # fmt: skip
CHINESE_LINES: Final = (
    "您的订单已发货", "请问什么时候能到？", "合计：￥128.00", "点击重试", "设置", "支付失败，请稍后再试", "快件已签收",
    "感谢您的购买", "订单编号 8827310", "使用手机号登录", "消息通知", "明天见", "好的，没问题", "隐私政策", "网络异常",
    "加入购物车", "共 2 件商品", "满 99 元包邮", "评价商品", "今天", "昨天", "确定", "取消",
)  # fmt: skip


class _Screen:
    """A canvas with a palette, a font and a language."""

    def __init__(self, chance: np.random.Generator, fonts: tuple[str, ...]) -> None:
        self.chance = chance
        self.chinese = chance.random() < 0.5
        tall = chance.random() < 0.65
        self.width, self.height = (
            (360, int(chance.integers(560, 800))) if tall else (int(chance.integers(560, 900)), 480)
        )
        dark = chance.random() < 0.3
        shade = int(chance.integers(0, 45)) if dark else int(chance.integers(235, 256))
        self.paper = tuple(int(np.clip(shade + chance.integers(-5, 6), 0, 255)) for _ in range(3))
        self.ink = (225, 225, 230) if dark else (30, 30, 35)
        self.faint = (110, 112, 120) if dark else (150, 152, 160)
        self.panel = (48, 50, 56) if dark else (255, 255, 255)
        self.accent = tuple(int(value) for value in chance.integers(20, 220, 3))
        usable = [name for name in fonts if ("CJK" in name) or not self.chinese]
        self.font = str(FONTS / usable[int(chance.integers(len(usable)))])
        self.image = Image.new("RGB", (self.width, self.height), self.paper)
        self.draw = ImageDraw.Draw(self.image)

    def pick(self) -> str:
        lines = CHINESE_LINES if self.chinese else LINES
        return " ".join(lines[int(at)] for at in self.chance.integers(len(lines), size=int(self.chance.integers(1, 3))))

    def text(self, x: float, y: float, size: int, colour: tuple[int, ...] | None = None, text: str = "") -> None:
        font = ImageFont.truetype(self.font, size)
        self.draw.text((x, y), text or self.pick(), colour or self.ink, font)

    def box(
        self, left: float, top: float, right: float, bottom: float, colour: tuple[int, ...], radius: int = 8
    ) -> None:
        self.draw.rounded_rectangle((left, top, max(left + 2, right), max(top + 2, bottom)), radius, colour)

    def some_colour(self) -> tuple[int, ...]:
        return tuple(int(value) for value in self.chance.integers(0, 256, 3))

    def bars(self) -> None:
        """A status line and a title bar, sometimes a keyboard or tabs at the bottom."""
        if self.chance.random() < 0.8:
            self.draw.rectangle((0, 0, self.width, 52), self.accent if self.chance.random() < 0.5 else self.panel)
            self.text(14, 14, 20, self.ink)
        if self.chance.random() < 0.5:
            self.draw.rectangle((0, self.height - 48, self.width, self.height), self.panel)
            for at in range(4):
                self.box(
                    (at + 0.4) * self.width / 4,
                    self.height - 36,
                    (at + 0.6) * self.width / 4,
                    self.height - 14,
                    self.faint,
                )


def _chat(s: _Screen) -> None:
    y = 64
    while y < s.height - 90:
        tall, wide = int(s.chance.integers(34, 90)), float(s.chance.uniform(0.35, 0.75)) * s.width
        mine = s.chance.random() < 0.5
        left = s.width - wide - 14 if mine else 54.0
        s.box(left, y, left + wide, y + tall, s.accent if mine else s.panel, 14)
        for row in range(int(s.chance.integers(1, 3))):
            s.text(left + 10, y + 6 + row * 22, 16, s.paper if mine else s.ink, s.pick()[: int(wide / 10)])
        if not mine:
            s.draw.ellipse((10, y, 44, y + 34), s.some_colour())
        y += tall + 14


def _list(s: _Screen) -> None:
    tall = int(s.chance.integers(44, 90))
    for y in range(60, s.height - 50, tall):
        if s.chance.random() < 0.7:
            s.box(12, y + 8, tall - 8, y + tall - 12, s.some_colour())
        s.text(tall + 8, y + 6, 18)
        s.text(tall + 8, y + 30, 14, s.faint)
        s.draw.line((0, y + tall - 2, s.width, y + tall - 2), s.faint)


def _receipt(s: _Screen) -> None:
    s.text(s.width / 4, 60, 24)
    for y in range(104, s.height - 60, int(s.chance.integers(22, 34))):
        s.text(20, y, 15, s.ink, s.pick()[:22])
        s.text(s.width - 84, y, 15, s.ink, f"{s.chance.uniform(1, 300):.2f}")


def _form(s: _Screen) -> None:
    for y in range(70, s.height - 110, 76):
        s.text(20, y, 14, s.faint)
        s.box(20, y + 22, s.width - 20, y + 58, s.panel)
        s.draw.rectangle((20, y + 22, s.width - 20, y + 58), outline=s.faint)
        s.text(30, y + 28, 16)
    s.box(20, s.height - 100, s.width - 20, s.height - 56, s.accent)


def _dialog(s: _Screen) -> None:
    _list(s)
    middle = s.height / 2
    s.box(30, middle - 90, s.width - 30, middle + 90, s.panel, 16)
    s.text(50, middle - 70, 20, s.ink if s.paper[0] > 100 else None)
    for row in range(3):
        s.text(50, middle - 36 + row * 24, 15, s.faint)
    s.box(s.width - 130, middle + 44, s.width - 50, middle + 76, s.accent)


def _article(s: _Screen) -> None:
    """A picture, made of a few areas, above paragraphs."""
    tall = s.height * float(s.chance.uniform(0.2, 0.5))
    s.box(0, 56, s.width, 56 + tall, s.some_colour(), 0)
    for _ in range(int(s.chance.integers(0, 5))):
        x, y = float(s.chance.uniform(0, s.width)), float(s.chance.uniform(56, 56 + tall))
        s.draw.ellipse((x - 60, y, x + 60, 56 + tall), s.some_colour())
    for y in range(int(70 + tall), s.height - 30, int(s.chance.integers(20, 30))):
        s.text(16, y, 15, s.ink if s.chance.random() < 0.7 else s.faint)


def _calendar(s: _Screen) -> None:
    """A grid of short entries."""
    columns = int(s.chance.integers(3, 8))
    tall = int(s.chance.integers(30, 80))
    for row, y in enumerate(range(60, s.height - 40, tall)):
        for column in range(columns):
            x = column * s.width / columns
            if s.chance.random() < 0.1:
                s.box(x + 2, y, x + s.width / columns - 4, y + tall - 6, s.accent)
            s.text(x + 8, y + 4, 14, s.ink, str(row * columns + column + 1))


def _product(s: _Screen) -> None:
    """A shop's page: what is sold is a big area of colour."""
    s.box(20, 66, s.width - 20, 66 + s.height * 0.35, s.some_colour(), 4)
    y = 80 + s.height * 0.35
    s.text(20, y, 22)
    s.text(20, y + 34, 26, s.accent, f"{s.chance.uniform(3, 300):.2f}")
    for row in range(6):
        s.text(20, y + 76 + row * 24, 15, s.faint)
    s.box(20, s.height - 60, s.width - 20, s.height - 16, s.accent, 20)


def _tracking(s: _Screen) -> None:
    s.draw.line((34, 80, 34, s.height - 60), s.faint, 3)
    for y in range(80, s.height - 80, 70):
        s.draw.ellipse((26, y, 42, y + 16), s.accent)
        s.text(60, y - 4, 17)
        s.text(60, y + 22, 13, s.faint)


def _table(s: _Screen) -> None:
    wide = s.width / int(s.chance.integers(3, 6))
    for row, y in enumerate(range(56, s.height - 40, 32)):
        if row % 2:
            s.draw.rectangle((0, y, s.width, y + 32), s.panel)
        for x in np.arange(0, s.width, wide):
            s.text(float(x) + 6, y + 7, 14, s.ink, s.pick()[: int(wide / 10)])


def _terminal(s: _Screen) -> None:
    s.draw.rectangle((0, 0, s.width, s.height), (12, 12, 16))
    for y in range(8, s.height - 20, 20):
        if s.chance.random() < 0.85:
            s.text(8, y, 15, s.accent if s.chance.random() < 0.3 else (200, 205, 200))


LEARNED_LAYOUTS: Final[tuple[Callable[[_Screen], None], ...]] = (
    _chat,
    _list,
    _receipt,
    _form,
    _dialog,
    _article,
    _calendar,
)
MEASURED_LAYOUTS: Final[tuple[Callable[[_Screen], None], ...]] = (_product, _tracking, _table, _terminal)


def screenshot(chance: np.random.Generator, measured: bool) -> Image.Image:
    """Draw one, RGB, 360 to 900 px wide, sometimes cut; from the layouts and fonts that are learned or measured."""
    layouts = MEASURED_LAYOUTS if measured else LEARNED_LAYOUTS
    screen = _Screen(chance, MEASURED_FONTS if measured else LEARNED_FONTS)
    layout = layouts[int(chance.integers(len(layouts)))]
    if layout is not _terminal:
        screen.bars()
    layout(screen)
    if chance.random() < 0.3:
        top = int(chance.integers(0, screen.height // 2))
        return screen.image.crop(
            (0, top, screen.width, top + int(chance.integers(screen.height // 3, screen.height // 2)))
        )
    return screen.image
