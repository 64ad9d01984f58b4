"""The few sentences that the session itself says, and the language it says them in."""

import re
from typing import Final

from csgate.events import Language

NOBODY_CAME: Final[dict[Language, str]] = {
    "en": "Sorry, nobody from our team is free right now. I will keep helping you; ask for a person again at any time.",
    "zh": "抱歉，目前没有空闲的人工客服。我会继续为您服务，您可以随时再次要求转人工。",
}


_HAN: Final = re.compile("[\u3400-\u4dbf\u4e00-\u9fff]")


def language_of(text: str, locale: str | None) -> Language:
    """The language of ``text``: Chinese with any Han character in it, English with any other letter.

    A text without letters (a picture alone, an order number) says nothing; then the client's ``locale`` (a BCP 47
    tag) does.
    """
    if not text.isascii() and _HAN.search(text):
        return "zh"
    if any(map(str.isalpha, text)):
        return "en"
    return "zh" if (locale or "").lower().partition("-")[0].partition("_")[0] == "zh" else "en"
