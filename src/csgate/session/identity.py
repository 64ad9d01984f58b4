"""Random names, all from ``secrets``."""

import secrets


def new_conversation_id() -> str:
    """128 random bits, URL-safe Base64 (22 characters): whoever does not know it cannot guess it.

    None begins with ``-``, which a command line would take for a flag.
    """
    while (drawn := secrets.token_urlsafe(16)).startswith("-"):
        pass
    return drawn


def new_epoch() -> str:
    """Names one life of a log."""
    return secrets.token_hex(8)


def new_reference() -> str:
    """Ties the error that a client saw to the line in the log."""
    return secrets.token_hex(6)


def new_notice_id() -> str:
    """The id of a message that csgate itself puts into a conversation."""
    return f"notice-{secrets.token_hex(8)}"
