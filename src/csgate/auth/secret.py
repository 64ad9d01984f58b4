"""The shared secret that csgate makes for itself where none is configured."""

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from csgate.errors import ConfigError

SECRET_FILE: Final = "secret"  # noqa: S105 - a file name
SECRET_BYTES: Final = 64
"""Random bytes in a made secret: enough for HS512 (RFC 7518 section 3.2: no shorter than the hash)."""
MIN_SECRET_BYTES: Final = {"HS256": 32, "HS384": 48, "HS512": 64}
_MAX_FILE_BYTES: Final = 4096


def load_or_make_secret(data_dir: Path) -> str:
    """Reads ``data_dir/secret``, made first where there is none.

    A secret is written whole to a file of its own (mode 0600) and then linked to its name, which fails if the name is
    taken: of several processes that start at once one wins and the others read what it wrote, never half of it.

    Raises:
        ConfigError: the folder or file cannot be used, others than its owner may read it, or it is too short.
    """
    path = data_dir / SECRET_FILE
    try:
        try:
            return _read(path)
        except FileNotFoundError:
            _make(data_dir, path)
            return _read(path)
    except OSError as error:
        raise ConfigError(
            f"Cannot keep a secret in {data_dir}: {error.strerror}. Set auth.secret, or another server.data_dir."
        ) from error


def _make(data_dir: Path, path: Path) -> None:
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = data_dir / f".secret.{secrets.token_hex(8)}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(SECRET_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):  # somebody was faster: theirs holds
            os.link(draft, path)
    finally:
        draft.unlink()


def _read(path: Path) -> str:
    with path.open("rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)  # of the file that is read, not of what the name is by now
        content = file.read(_MAX_FILE_BYTES + 1)
    if mode & 0o077:
        raise ConfigError(f"Others may read the secret in {path} (mode {mode:04o}); run: chmod 600 {path}")
    try:
        secret = content.decode("ascii").strip()
    except UnicodeDecodeError:
        secret = ""
    if not MIN_SECRET_BYTES["HS256"] <= len(secret) <= _MAX_FILE_BYTES:
        raise ConfigError(f"The secret in {path} is damaged; delete the file to have a new one made.")
    return secret
