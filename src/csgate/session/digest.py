"""The content digest that tells a resent message from another one under the same id."""

import xxhash

from csgate.events import Picture


def content_digest(text: str | None, picture: Picture | None) -> bytes:
    """XXH3 (128 bits, https://xxhash.com) over text and picture payload as they came: 16 bytes, the same everywhere.

    Not a cryptographic hash, and none is needed: whoever makes two messages collide under one id of a conversation of
    his own loses one of his own messages. It is fifty times as fast as SHA-256, so that it stays on the event loop at
    any size (8 MiB in a tenth of a millisecond).

    A text of None and an empty one are the same. The same picture as Base64 and as binary is not: a client that
    resends uses the same form.
    """
    words = (text or "").encode("utf-8", "surrogatepass")
    head = len(words).to_bytes(8, "big") + words
    if picture is None:
        return xxhash.xxh3_128_digest(head)
    digest = xxhash.xxh3_128(head + picture.encoding.encode())
    digest.update(picture.data)
    return digest.digest()
