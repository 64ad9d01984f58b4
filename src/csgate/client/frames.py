"""What a client sends, as WebSocket payloads: text for a text frame, bytes for a binary one."""

from typing import Any

import msgspec


def text_frame(type: str, **fields: Any) -> str:
    """One JSON object; fields that are None are left out."""
    return msgspec.json.encode(
        {"type": type, **{name: value for name, value in fields.items() if value is not None}}
    ).decode()


def message_frame(message_id: str, text: str | None, picture: bytes | None) -> str | bytes:
    """A message. With a picture it is a binary frame, which saves the third that Base64 costs:
    ``uint32 big-endian header length | JSON header | picture bytes``.
    """
    head = text_frame("message", id=message_id, text=text)
    if picture is None:
        return head
    encoded = head.encode()
    return len(encoded).to_bytes(4, "big") + encoded + picture
