"""``analysis``: one or two plain sentences that say what was understood of text and picture. Pure, plain text."""

from typing import Final, assert_never

from csgate.dialog.decide import Answer, Ask, Clarify, Decision, HandOver, Knowledge, PictureReply
from csgate.dialog.pack import Pack
from csgate.dialog.picture_text import shown_text
from csgate.dialog.template import plain
from csgate.dialog.understand import Understanding
from csgate.events import Intent, Tag
from csgate.inference.results import PictureKind

MAX_TAGS: Final = 3

_KINDS_ZH: Final[dict[PictureKind | None, str]] = {
    "sticker": "表情贴纸",
    "photo": "照片",
    "screenshot": "截图",
    None: "图片",
}


def believable_tags(understanding: Understanding, pack: Pack) -> tuple[Tag, ...]:
    """The best few tags that score enough to be said aloud."""
    least = pack.thresholds.picture
    return tuple([tag for tag in understanding.tags if tag.score >= least])[:MAX_TAGS]


def listed_tags(understanding: Understanding, pack: Pack) -> str:
    """Their labels as a list in the language of the message; empty where there is none."""
    separator = "、" if understanding.language == "zh" else ", "
    return separator.join([plain(tag.label) for tag in believable_tags(understanding, pack)])


def analyse(decision: Decision, understanding: Understanding, pack: Pack) -> str:
    """What was understood, in the language of the message."""
    if understanding.language == "zh":
        return _text_zh(decision, understanding, pack) + _picture_zh(understanding, pack)
    sentences = (_text_en(decision, understanding, pack), _picture_en(understanding, pack))
    return " ".join(sentence for sentence in sentences if sentence)


def _percent(intent: Intent) -> str:
    # Never "100 %": nothing that a model says is that sure, and what a rule decided is not given a number.
    return f"{min(99, round(intent.confidence * 100))}"


def _text_en(decision: Decision, u: Understanding, pack: Pack) -> str:
    match decision:
        case Answer(intent=intent) | Ask(intent=intent):
            sure = "" if intent.confidence >= 1 else f" ({_percent(intent)}% sure)"
            return (
                f"I read your {_source_en(u)} as being about {pack.intents[intent.name].title['en']}{sure}"
                f"{_rest_en(u, pack)}."
            )
        case Knowledge(intent=intent, passage=passage):
            about = "" if intent is None else f" about {pack.intents[intent.name].title['en']}"
            return (
                f"I read your {_source_en(u)} as a question{about}{_rest_en(u, pack)}; "
                f"the page “{passage.source}” answers it."
            )
        case Clarify(candidates=()):
            return f"I could not tell what your message is about{_rest_en(u, pack)}."
        case Clarify(candidates=candidates):
            names = " or ".join(f"{pack.intents[one.name].title['en']} ({_percent(one)}%)" for one in candidates)
            return f"I was not sure about your message: it may be about {names}{_rest_en(u, pack)}."
        case HandOver(reason="asked"):
            return f"You asked for a person{_rest_en(u, pack)}."
        case HandOver(reason="unclear"):
            return f"I could not make out what you need{_rest_en(u, pack)}, so a person should look at it."
        case HandOver(intent=intent):
            about = "" if intent is None else f" about {pack.intents[intent.name].title['en']}"
            return f"I read your messages{about} as unhappy more than once, so a person should look at it."
        case PictureReply():
            return "You sent a picture without words."
        case _:
            assert_never(decision)


def _rest_en(u: Understanding, pack: Pack) -> str:
    said, read = (_named(u, pack, read) for read in (False, True))
    found = f", with {_and(said)}" if said else ""
    mood = ""
    if "sentiment" in u.lacking:
        mood = "; its mood was not judged"
    elif u.sentiment is not None and abs(u.sentiment.score) >= pack.thresholds.mood:
        mood = f", in {'good' if u.sentiment.score > 0 else 'low'} spirits"
    names = f"; the {u.kind or 'picture'} names {_and(read)}" if read else ""
    return f"{found}{mood}{names}"


def _and(named: list[str]) -> str:
    return " and ".join([", ".join(named[:-1]), named[-1]] if len(named) > 1 else named)


def _named(u: Understanding, pack: Pack, read: bool) -> list[str]:
    """The slots that were said, or those that were ``read``."""
    return [
        f"{pack.slots[name].title[u.language]} {plain(slot.value)}"
        for name, slot in u.slots.items()
        if name in pack.slots and slot.read is read
    ]


def _source_en(u: Understanding) -> str:
    return (u.kind or "picture") if u.ranking_read else "message"


def _picture_en(u: Understanding, pack: Pack) -> str:
    if not u.picture:
        return ""
    says = shown_text(u.read) if u.read is not None else ""
    said = f"The {u.kind or 'picture'} says “{says}”." if says else ""
    if "tagger" in u.lacking:
        return said or "I could not look at the picture."
    listed = listed_tags(u, pack)
    if said and not listed:
        return said
    return f"{_shows_en(u, listed)} {said}".rstrip()


def _shows_en(u: Understanding, listed: str) -> str:
    if u.kind is not None:
        shows = f", and looks like: {listed}" if listed else "; I cannot say for certain what it shows"
        return f"The picture seems to be a {u.kind}{shows}."
    return f"The picture looks like: {listed}." if listed else "I cannot say for certain what the picture shows."


def _text_zh(decision: Decision, u: Understanding, pack: Pack) -> str:
    match decision:
        case Answer(intent=intent) | Ask(intent=intent):
            sure = "" if intent.confidence >= 1 else f"（把握 {_percent(intent)}%）"
            return (
                f"我理解您的{_source_zh(u)}是关于“{pack.intents[intent.name].title['zh']}”{sure}{_rest_zh(u, pack)}。"
            )
        case Knowledge(intent=intent, passage=passage):
            about = "" if intent is None else f"关于“{pack.intents[intent.name].title['zh']}”的"
            return f"我理解您在问{about}问题{_rest_zh(u, pack)}，页面“{passage.source}”里有答案。"
        case Clarify(candidates=()):
            return f"我没能看出您的消息想说什么{_rest_zh(u, pack)}。"
        case Clarify(candidates=candidates):
            names = "或".join(f"“{pack.intents[one.name].title['zh']}”（{_percent(one)}%）" for one in candidates)
            return f"我不太确定您的意思，可能是{names}{_rest_zh(u, pack)}。"
        case HandOver(reason="asked"):
            return f"您希望由人工客服来处理{_rest_zh(u, pack)}。"
        case HandOver(reason="unclear"):
            return f"我没能弄清您的需要{_rest_zh(u, pack)}，应当由人工客服来看。"
        case HandOver(intent=intent):
            about = "" if intent is None else f"关于“{pack.intents[intent.name].title['zh']}”的"
            return f"您{about}消息里多次流露出不满，应当由人工客服来看。"
        case PictureReply():
            return "您发来了一张没有文字的图片。"
        case _:
            assert_never(decision)


def _rest_zh(u: Understanding, pack: Pack) -> str:
    said, read = (_named(u, pack, read) for read in (False, True))
    found = f"，提到{'、'.join(said)}" if said else ""
    mood = ""
    if "sentiment" in u.lacking:
        mood = "，未判断情绪"
    elif u.sentiment is not None and abs(u.sentiment.score) >= pack.thresholds.mood:
        mood = f"，情绪{'不错' if u.sentiment.score > 0 else '低落'}"
    names = f"，{_KINDS_ZH[u.kind]}中有{'、'.join(read)}" if read else ""
    return f"{found}{mood}{names}"


def _source_zh(u: Understanding) -> str:
    return _KINDS_ZH[u.kind] if u.ranking_read else "消息"


def _picture_zh(u: Understanding, pack: Pack) -> str:
    if not u.picture:
        return ""
    says = shown_text(u.read) if u.read is not None else ""
    said = f"{_KINDS_ZH[u.kind]}上写着“{says}”。" if says else ""
    if "tagger" in u.lacking:
        return said or "我没能查看图片。"
    listed = listed_tags(u, pack)
    if said and not listed:
        return said
    return _shows_zh(u, listed) + said


def _shows_zh(u: Understanding, listed: str) -> str:
    if u.kind is not None:
        shows = f"，看起来像：{listed}" if listed else "，我不能确定其中的内容"
        return f"图片应该是一张{_KINDS_ZH[u.kind]}{shows}。"
    return f"图片看起来像：{listed}。" if listed else "我不能确定图片的内容。"
