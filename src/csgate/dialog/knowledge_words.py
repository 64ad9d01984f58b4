"""What a search sees of a text: stems of English words, pairs of Chinese characters, and the pack's synonyms."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Final

_RUN: Final = re.compile("([\u3400-\u4dbf\u4e00-\u9fff]+)|([a-z0-9\u00df-\u024f]+)(?:['’][a-z]+)?")

# Words that stand in any question and tell nothing about it.
_COMMON_EN: Final = (
    "a about after again all already also am an and any anything are as ask at be because been before being but by can "
    "could d did do does doing done else ever for from get gets getting give go goes going got had has have having he "
    "hello her here hey hi him his i if in into is it its just know let like ll m make may me might mine my need no "
    "not now of on one only or our out over own please pls possible put re really s say she should so some something "
    "still such t take tell than thank thanks that the their them then there these they thing things this those to too "
    "u until up upon us use ve very want was way we well were what which while whose why will with "
    "would yes yet you your yours"
)
_STOP_EN: Final = frozenset(_COMMON_EN.split())
_COMMON_ZH: Final = (
    "请问一下|请问|麻烦|您好|你好|谢谢|我们|你们|您们|他们|你家|我想要|我想|我要|想要|可不可以|可以|能不能|能否|是否|"
    "是不是|有没有|会不会|什么|怎么样|怎么|怎样|如何|为什么|哪里|哪儿|哪个|哪些|一下|这个|那个|这样|那样|已经|还是|"
    "但是|而且|如果|因为|所以|或者|以及|就是|没有|不是|需要|应该|告诉"
)
_STOP_HAN: Final = frozenset(
    "的了吗呢吧啊呀嘛么我你您他她它们是有在和与或就都也还又很太这那请把被让给对从到要想能会可不没以为所其之而"
)

# English endings, longest first, with what stands for them.
_ENDINGS: Final = (
    ("ization", "ize"),
    ("ational", "ate"),
    ("fulness", "ful"),
    ("ations", "ate"),
    ("ation", "ate"),
    ("ments", ""),
    ("ment", ""),
    ("ness", ""),
    ("ings", ""),
    ("ing", ""),
    ("ies", "y"),
    ("ied", "y"),
    ("ers", "er"),
    ("sses", "ss"),
    ("xes", "x"),
    ("ches", "ch"),
    ("shes", "sh"),
    ("ed", ""),
    ("ly", ""),
    ("s", ""),
)
_VOWEL: Final = re.compile("[aeiouy]")
_KEPT_S: Final = ("ss", "us", "is")
MIN_STEM: Final = 3
MAX_ASKING_CHARS: Final = 400


def stem(word: str) -> str:
    """``word`` without the endings of plural and verb, so that ``returned``, ``returns`` and ``return`` are one.

    Rough on purpose: what matters is that a question and a page are cut alike.
    """
    if len(word) <= MIN_STEM or not word.isascii() or not word.isalpha():
        return word
    for ending, stands in _ENDINGS:
        if word.endswith(ending) and not (ending == "s" and word.endswith(_KEPT_S)):
            base = word[: -len(ending)] + stands
            if len(base) >= MIN_STEM and _VOWEL.search(base):
                word = base
                break
    if len(word) > MIN_STEM and word[-1] == word[-2] and word[-1] not in "lsz":
        word = word[:-1]
    return word[:-1] if len(word) > MIN_STEM and word[-1] == "e" else word


_ASKS: Final = re.compile(
    r"[?？]|^\W*(?:and |but |so |ok |hi |hey |hello |please |pls |sorry )*"
    r"(?:how|what|whats|when|where|who|which|why|can|could|may|is|are|am|was|do|does|did|will|would|should|has|have|any)\b"
    r"|\b(?:tell me|wonder(?:ing)?|want to know|like to know|how (?:much|many|long|do|can)|what is|is it possible)\b"
    r"|[吗呢么嘛谁哪几]|怎|什么|如何|为何|多[少久长大远快]|是否|能不能|可不可以|会不会|有没有|是不是|要不要|行不行|不$",
    re.IGNORECASE,
)


def looks_like_question(text: str) -> bool:
    """Whether ``text`` asks for something, as far as its words show; its first ``MAX_ASKING_CHARS`` are looked at."""
    return _ASKS.search(text[:MAX_ASKING_CHARS].strip()) is not None


class Vocabulary:
    """Turns texts of a language into the words that are searched for.

    ``synonyms`` are groups of words or phrases that mean the same. A word of a group becomes the group's own word; a
    phrase adds it, and keeps its words. A word may be in several groups.
    """

    def __init__(self, synonyms: Sequence[Sequence[str]] = ()) -> None:
        self._words: dict[str, list[str]] = {}
        self._phrases: dict[tuple[str, ...], list[str]] = {}
        self._han: dict[str, list[str]] = {}
        for number, group in enumerate(synonyms):
            name = f"={number}"
            for member in group:
                folded = _fold(member)
                stems = tuple(stem(run[2]) for run in _RUN.finditer(folded) if run[2])
                han = "".join(run[1] for run in _RUN.finditer(folded) if run[1])
                if han:
                    _add(self._han.setdefault(han, []), name)
                elif len(stems) == 1:
                    _add(self._words.setdefault(stems[0], []), name)
                elif stems:
                    _add(self._phrases.setdefault(stems, []), name)
        self._longest = max(map(len, self._phrases), default=0)
        for phrase in _COMMON_ZH.split("|"):
            self._han.setdefault(phrase, [])
        self._longest_han = max(map(len, self._han))

    def words(self, text: str) -> list[str]:
        """The words of ``text`` for searching, in its order, with repetitions. Linear in its length."""
        found: list[str] = []
        english: list[str] = []
        for run in _RUN.finditer(_fold(text)):
            if run[1]:
                found += self._chinese(run[1])
            else:
                english.append(run[2])
        found += self._english(english)
        return found

    def _english(self, words: list[str]) -> Iterator[str]:
        stems = [stem(word) for word in words]
        for place, (word, cut) in enumerate(zip(words, stems, strict=True)):
            for length in range(2, min(self._longest, len(stems) - place) + 1):
                yield from self._phrases.get(tuple(stems[place : place + length]), ())
            group = self._words.get(cut)
            if group is not None:
                yield from group
            elif word not in _STOP_EN and (len(word) > 1 or word.isdigit()):
                yield cut

    def _chinese(self, run: str) -> Iterator[str]:
        """The known phrases, also where they overlap; what lies between them in single characters and pairs."""
        end = 0
        for place in range(len(run)):
            for length in range(min(self._longest_han, len(run) - place), 0, -1):
                groups = self._han.get(run[place : place + length])
                if groups is not None:
                    # One that lies within the phrase before it says nothing more.
                    if place + length > end:
                        if place > end:
                            yield from _pairs(run[end:place])
                        yield from groups
                        end = place + length
                    break
        yield from _pairs(run[end:])


def _add(names: list[str], name: str) -> None:
    # Several members of a group may have one stem.
    if name not in names:
        names.append(name)


def _pairs(run: str) -> Iterator[str]:
    for place, char in enumerate(run):
        if char not in _STOP_HAN:
            yield char
            if place + 1 < len(run) and run[place + 1] not in _STOP_HAN:
                yield run[place : place + 2]


def _fold(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()
