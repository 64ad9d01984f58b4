"""Screenshots made by code, with what is written on them: for ``bench_ocr``, which asks what of it is read.

Text is drawn with Debian's DejaVu and Noto CJK fonts. The same arguments give the same picture. Every screen knows
its lines in reading order, and the order numbers among them.
"""

import io
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal

from PIL import Image, ImageDraw, ImageFilter, ImageFont

Colour = tuple[int, int, int]
Weight = Literal["Regular", "Bold"]

DEJAVU: Final = "/usr/share/fonts/truetype/dejavu/DejaVuSans{}.ttf"
NOTO: Final = "/usr/share/fonts/opentype/noto/NotoSansCJK-{}.ttc"


@dataclass(frozen=True)
class Screen:
    """A screenshot as a file, and what it says. ``orders``: the order numbers that ought to be found on it."""

    name: str
    file: bytes
    width: int
    height: int
    lines: tuple[str, ...]
    orders: tuple[str, ...]
    language: Literal["en", "zh"]
    dark: bool


@dataclass
class Canvas:
    """A screen under way; ``unit`` is a point of it in pixels."""

    width: int
    height: int
    dark: bool
    language: Literal["en", "zh"]
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.paper: Colour = (18, 18, 20) if self.dark else (255, 255, 255)
        self.card: Colour = (38, 38, 42) if self.dark else (244, 245, 247)
        self.ink: Colour = (235, 235, 240) if self.dark else (28, 28, 30)
        self.soft: Colour = (160, 160, 168) if self.dark else (108, 110, 118)
        # A phone's screen is taken to be 375 points wide, anything wider in landscape to be a desktop's 1,000.
        self.unit = self.width / (375 if self.height > self.width else 1000)
        self.image = Image.new("RGB", (self.width, self.height), self.paper)
        self.draw = ImageDraw.Draw(self.image)

    def font(self, points: float, weight: Weight = "Regular") -> ImageFont.FreeTypeFont:
        size = max(11, round(points * self.unit))
        if self.language == "zh":
            return ImageFont.truetype(NOTO.format(weight), size, index=2)
        return ImageFont.truetype(DEJAVU.format("" if weight == "Regular" else "-Bold"), size)

    def write(
        self,
        x: float,
        y: float,
        text: str,
        points: float = 15,
        *,
        colour: Colour | None = None,
        weight: Weight = "Regular",
        anchor: str = "la",
    ) -> None:
        """One line at ``x``, ``y`` in points."""
        self.lines.append(text)
        self.draw.text(
            (x * self.unit, y * self.unit),
            text,
            font=self.font(points, weight),
            fill=colour or self.ink,
            anchor=anchor,
        )

    def box(self, x: float, y: float, right: float, bottom: float, colour: Colour, radius: float = 10) -> None:
        unit = self.unit
        self.draw.rounded_rectangle((x * unit, y * unit, right * unit, bottom * unit), radius * unit, fill=colour)

    @property
    def right(self) -> float:
        return self.width / self.unit

    @property
    def bottom(self) -> float:
        return self.height / self.unit


WORDS: Final = {
    "en": {
        "failed": "Payment failed",
        "code": "Error {code}: card declined by bank",
        "advice": "Your account was not charged.",
        "order": "Order number: {order}",
        "total": "Total: ${amount}",
        "button": "Contact support",
        "details": "Order details",
        "item": "Wireless headphones, black",
        "status": "Waiting for shipment",
        "paid": "Paid on 2026-10-{day:02d}",
        "address": "Deliver to 12 Harbour Street",
        "ask": "Where is my order {order}?",
        "hello": "Hello, how can I help you?",
        "late": "It should have come on Monday.",
        "look": "Let me look into that for you.",
        "refund": "I want my money back",
        "track": "Parcel tracking",
        "transit": "In transit since 3 days",
        "depot": "Left the sorting centre",
        "customs": "Held at customs",
        "waybill": "Tracking number {waybill}",
    },
    "zh": {
        "failed": "支付失败",
        "code": "错误 {code}：银行拒绝交易",
        "advice": "您的账户没有被扣款。",
        "order": "订单号：{order}",
        "total": "合计：¥{amount}",
        "button": "联系客服",
        "details": "订单详情",
        "item": "无线降噪耳机 黑色",
        "status": "等待商家发货",
        "paid": "付款时间 2026-10-{day:02d}",
        "address": "收货地址：上海市静安区",
        "ask": "我的订单 {order} 到哪里了？",
        "hello": "您好，请问有什么可以帮您？",
        "late": "本来应该星期一就送到的。",
        "look": "我帮您查一下，请稍等。",
        "refund": "我要申请退款",
        "track": "物流信息",
        "transit": "运输中，已经三天没有更新",
        "depot": "快件已离开分拣中心",
        "customs": "海关查验中",
        "waybill": "运单号 {waybill}",
    },
}


def payment(c: Canvas, t: dict[str, str]) -> None:
    top = c.bottom * 0.16
    c.draw.ellipse([v * c.unit for v in (c.right / 2 - 28, top - 70, c.right / 2 + 28, top - 14)], fill=(214, 60, 60))
    c.write(c.right / 2, top, t["failed"], 24, weight="Bold", anchor="ma")
    c.write(c.right / 2, top + 46, t["code"], 15, colour=c.soft, anchor="ma")
    c.write(c.right / 2, top + 74, t["advice"], 14, colour=c.soft, anchor="ma")
    c.box(24, top + 120, c.right - 24, top + 212, c.card)
    c.write(40, top + 136, t["order"], 15)
    c.write(40, top + 172, t["total"], 15, weight="Bold")
    c.box(24, top + 240, c.right - 24, top + 288, (37, 99, 235))
    c.write(c.right / 2, top + 255, t["button"], 16, colour=(255, 255, 255), weight="Bold", anchor="ma")


def order_page(c: Canvas, t: dict[str, str]) -> None:
    c.box(0, 0, c.right, 56, c.card, 0)
    c.write(20, 18, t["details"], 17, weight="Bold")
    c.write(20, 84, t["status"], 20, colour=(30, 140, 90) if not c.dark else (90, 210, 150), weight="Bold")
    c.box(16, 130, c.right - 16, 226, c.card)
    c.draw.rectangle([v * c.unit for v in (28, 142, 100, 214)], fill=(120, 144, 180))
    c.write(114, 150, t["item"], 14)
    c.write(114, 184, t["total"], 14, weight="Bold")
    c.write(20, 250, t["order"], 13, colour=c.soft)
    c.write(20, 280, t["paid"], 13, colour=c.soft)
    c.write(20, 310, t["address"], 13, colour=c.soft)


def bubbles(c: Canvas, t: dict[str, str]) -> None:
    y = 36.0
    for number, key in enumerate(("hello", "ask", "look", "late", "refund")):
        mine = number in (1, 3, 4)
        width = c.font(15).getlength(t[key]) / c.unit + 32
        x = c.right - 16 - width if mine else 16
        fill = ((37, 99, 235) if mine else c.card) if c.language == "en" else ((149, 236, 105) if mine else c.card)
        ink = c.ink if not mine else (255, 255, 255) if c.language == "en" else (20, 20, 20)
        c.box(x, y, x + width, y + 42, fill, 16)
        c.write(x + 16, y + 11, t[key], 15, colour=ink)
        y += 66


def parcel(c: Canvas, t: dict[str, str]) -> None:
    c.write(20, 24, t["track"], 19, weight="Bold")
    c.write(20, 66, t["waybill"], 14, colour=c.soft)
    c.write(20, 94, t["order"], 14, colour=c.soft)
    c.draw.line([v * c.unit for v in (34, 152, 34, 292)], fill=c.soft, width=max(1, round(2 * c.unit)))
    for number, key in enumerate(("customs", "transit", "depot")):
        y = 140 + number * 66
        c.draw.ellipse([v * c.unit for v in (27, y + 4, 41, y + 18)], fill=(240, 140, 40) if not number else c.soft)
        c.write(58, y, t[key], 15, weight="Bold" if not number else "Regular")


SCENES: Final[dict[str, Callable[[Canvas, dict[str, str]], None]]] = {
    "payment": payment,
    "order": order_page,
    "bubbles": bubbles,
    "parcel": parcel,
}
# Width and height in pixels, and the quality of the JPEG that it is sent as (0: a PNG).
SIZES: Final = (
    (360, 640, 75),
    (480, 854, 60),
    (720, 1280, 0),
    (1080, 1920, 70),
    (1280, 720, 0),
)


def make(
    scene: str, language: Literal["en", "zh"], width: int, height: int, quality: int, *, dark: bool, seed: int
) -> Screen:
    """One screenshot. ``quality``: of its JPEG; 0 for a PNG."""
    chance = random.Random(f"{scene} {language} {seed}")
    digits = "".join(chance.choice("0123456789") for _ in range(12))
    order = (digits[:8], f"ORD-{digits[:6]}", f"2026{digits[:9]}", f"SO{digits[:9]}")[seed % 4]
    told = {
        "order": order,
        "code": str(chance.randint(1000, 9999)),
        "amount": f"{chance.randint(5, 2000)}.{chance.randint(0, 99):02d}",
        "day": chance.randint(1, 28),
        "waybill": "SF" + digits[::-1],
    }
    words = {key: text.format(**told) for key, text in WORDS[language].items()}
    canvas = Canvas(width, height, dark, language)
    SCENES[scene](canvas, words)
    image = canvas.image
    if seed % 5 == 3:  # as after being passed on a few times
        image = image.filter(ImageFilter.GaussianBlur(0.5 * width / 720))
    out = io.BytesIO()
    if quality:
        image.save(out, "JPEG", quality=quality)
    else:
        image.save(out, "PNG")
    orders = tuple([order] if any(order in line for line in canvas.lines) else [])
    name = f"{scene}-{language}-{width}{'-dark' if dark else ''}"
    return Screen(name, out.getvalue(), width, height, tuple(canvas.lines), orders, language, dark)


def screens() -> list[Screen]:
    """The table: four scenes in two languages and five sizes, light and dark in turn; 40 in all."""
    made = []
    for number, scene in enumerate(SCENES):
        for language in ("en", "zh"):
            for size, (width, height, quality) in enumerate(SIZES):
                seed = number * 7 + size * 3 + (language == "zh")
                made.append(make(scene, language, width, height, quality, dark=(seed % 2 == 1), seed=seed))
    return made


def photograph(seed: int, size: tuple[int, int] = (1024, 768)) -> bytes:
    """A JPEG without text: soft blots of colour with noise, as a holiday picture out of focus."""
    chance = random.Random(seed)
    image = Image.new("RGB", size, (90, 120, 160))
    draw = ImageDraw.Draw(image)
    for _ in range(60):
        x, y, r = chance.randrange(size[0]), chance.randrange(size[1]), chance.randrange(20, 220)
        draw.ellipse((x - r, y - r, x + r, y + r), fill=tuple(chance.randrange(256) for _ in range(3)))
    image = Image.blend(image.filter(ImageFilter.GaussianBlur(9)), Image.effect_noise(size, 60).convert("RGB"), 0.12)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=85)
    return out.getvalue()
