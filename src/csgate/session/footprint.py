"""What a log takes in memory, estimated: cheap, the same at every call, and rather too much than too little.

Constants measured in CPython 3.11 (64 bits), for an event and all that the store keeps for it: the record of a
message's id, the numbers of a reply, the strings that are not counted by their length.
"""

from typing import Final

from csgate.events import ErrorEvent, LogEvent, MessageEvent, RateEvent, ReplyEvent
from csgate.session.store import Header

CONVERSATION_BYTES: Final = 700
MESSAGE_BYTES: Final = 500
REPLY_BYTES: Final = 1_350
EVENT_BYTES: Final = 300
# Up to 4 in the string, and as many in the UTF-8 form that stays with it once it was encoded. One wide character
# widens the whole string.
WIDE_CHARACTER_BYTES: Final = 8


def log_bytes(header: Header) -> int:
    """A conversation without its events."""
    return CONVERSATION_BYTES + sum(map(_text_bytes, (header.issuer, header.tenant, header.subject)))


def event_bytes(event: LogEvent) -> int:
    """One event in the log."""
    match event:
        case MessageEvent():
            return MESSAGE_BYTES + sum(map(_text_bytes, (event.id, event.text, event.image_url or "")))
        case ReplyEvent():
            size = REPLY_BYTES + sum(map(_text_bytes, (event.text, event.analysis, event.image_url or "")))
            return size + sum(map(_text_bytes, event.quick_replies))
        case ErrorEvent():
            return EVENT_BYTES + _text_bytes(event.message)
        case RateEvent():
            return EVENT_BYTES + _text_bytes(event.reply) + _text_bytes(event.comment or "")
        case _:
            return EVENT_BYTES


def _text_bytes(text: str) -> int:
    return len(text) if text.isascii() else WIDE_CHARACTER_BYTES * len(text)
