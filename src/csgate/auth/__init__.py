"""Authentication: credentials -> Principal. Tokens are JSON Web Tokens; ``now`` is always the caller's."""

from csgate.auth.authenticator import Authenticator, GuestToken, open_authenticator
from csgate.auth.credentials import Credentials, bearer_from, choose_mode
from csgate.auth.secret import load_or_make_secret

__all__ = [
    "Authenticator",
    "Credentials",
    "GuestToken",
    "bearer_from",
    "choose_mode",
    "load_or_make_secret",
    "open_authenticator",
]
