"""What things are called in the store.

pictures/<sha256 of the file as it came>        a picture, made ready for showing
results/<sha256>                                a result picture
uploads/<random>                                a file that waits for the message that names it
of/<conversation>/<key>                         empty: the conversation refers to that object …
refs/<key>/<conversation>                       … and the same seen from the object
"""

import base64
import hashlib
import re
from typing import Final

UPLOADS: Final = "uploads"
OF: Final = "of"
REFS: Final = "refs"
_SHOWN: Final = re.compile(r"(?:pictures|results)/[0-9a-f]{64}")
_PLAIN: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_ENCODED: Final = "~"


def picture_key(sha256: str) -> str:
    return f"pictures/{sha256}"


def result_key(data: bytes) -> str:
    return f"results/{hashlib.sha256(data).hexdigest()}"


def sized(key: str, width: int, height: int) -> str:
    """A reference that tells how large the picture is, so that room can be left for it before it has come."""
    return f"{key}#{width}x{height}"


def bare(reference: str) -> str:
    """The key in a reference, without the size."""
    return reference.partition("#")[0]


def upload_key(name: str) -> str:
    return f"{UPLOADS}/{name}"


def is_shown(key: str) -> bool:
    """Whether ``key`` is of the objects that readers may be given."""
    return _SHOWN.fullmatch(key) is not None


def segment(conversation: str) -> str:
    """A conversation's id as one segment of a key; :func:`conversation_of` turns it back."""
    if _PLAIN.fullmatch(conversation):
        return conversation
    return _ENCODED + base64.urlsafe_b64encode(conversation.encode()).decode().rstrip("=")


def conversation_of(segment: str) -> str:
    """The id that :func:`segment` was made of.

    Raises:
        ValueError: it was made of none.
    """
    if not segment.startswith(_ENCODED):
        return segment
    text = segment.removeprefix(_ENCODED)
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode()


def of_marker(conversation: str, key: str) -> str:
    return f"{OF}/{segment(conversation)}/{key}"


def ref_marker(key: str, conversation: str) -> str:
    return f"{REFS}/{key}/{segment(conversation)}"
