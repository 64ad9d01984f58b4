"""Files in a folder of one's own, put there so that a power failure takes nothing back.

obstore writes to a folder as well, but leaves it to the system when the disk has it. Blocking: for worker threads.
"""

import os
import secrets
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

UNFINISHED: Final = "unfinished"
"""Where files are written before they are moved to their place; nothing lists it."""
UNFINISHED_S: Final = 3_600.0
_COPY_BYTES: Final = 256 * 1024
_ATTEMPTS: Final = 50


def write_file(root: Path, key: str, data: bytes | BinaryIO, *, durable: bool) -> None:
    """Puts ``data`` at ``key`` below ``root``, as a whole or not at all; a file is read from where it stands.

    ``durable``: it is on the disk when this returns, and so is its name, with those of the folders above.

    Raises:
        OSError: it cannot be; not FileNotFoundError, which for a store means that there is no such object.
    """
    target = root / key
    unfinished = root / UNFINISHED / secrets.token_hex(16)
    try:
        unfinished.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("xb") as file:
            if isinstance(data, bytes):
                file.write(data)
            else:
                shutil.copyfileobj(data, file, _COPY_BYTES)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        _move(unfinished, target)
        if durable:
            # Up to the root: somebody else may have made a folder this moment, and not be done with it.
            for folder in target.parents:
                _sync_folder(folder)
                if folder == root:
                    break
    except FileNotFoundError as error:
        raise OSError(f"the folder went away: {error.filename}") from error
    finally:
        with suppress(OSError):
            unfinished.unlink()


def remove_unfinished(root: Path) -> None:
    """Removes what a process left that ended while it wrote; other processes may be writing just now."""
    with suppress(OSError):
        for path in (root / UNFINISHED).iterdir():
            if path.stat().st_mtime < time.time() - UNFINISHED_S:
                path.unlink(missing_ok=True)


def _move(source: Path, target: Path) -> None:
    for attempt in range(_ATTEMPTS):
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            source.replace(target)
        except (FileNotFoundError, FileExistsError):
            # Whoever removes the last object of a folder removes the folder too, perhaps just now: before the file
            # is moved there, or (mkdir's FileExistsError) after it was found to be there.
            if attempt == _ATTEMPTS - 1:
                raise
        else:
            return


def _sync_folder(folder: Path) -> None:
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return  # removed again by now, with what was in it
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
