"""The file of the SQLite store: who may have it open, how it is opened, and how its schema came to be.

Pragmas as in https://sqlite.org/pragma.html. WAL: readers do not wait for the writer, nor the writer for them.
"""

import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, Literal

from csgate.errors import ConfigError

FILE: Final = "csgate.db"
# "csgt": tells `file` and us whose file it is.
APPLICATION_ID: Final = 0x63736774
BUSY_MS: Final = 2_000
CACHE_KIB: Final = 8_192
# 16 MiB: most pages are written again and again, so the fewer checkpoints, the less is written in all.
CHECKPOINT_PAGES: Final = 4_096
FILE_MODE: Final = 0o600
FOLDER_MODE: Final = 0o700

# Each lifts the schema by one version, user_version counts them. Never change one that was released: add one.
# ``conversation`` elsewhere is conversations.key, which is never used twice (AUTOINCREMENT): the rows of a forgotten
# conversation are out of reach at once, and are deleted bit by bit (``garbage``).
MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        """CREATE TABLE conversations (
            key INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            epoch TEXT NOT NULL,
            issuer TEXT NOT NULL,
            tenant TEXT NOT NULL,
            subject TEXT NOT NULL,
            first INTEGER NOT NULL,
            last INTEGER NOT NULL,
            touched TEXT NOT NULL,
            active INTEGER NOT NULL,
            state BLOB
        ) STRICT""",
        # The order of last activity; ``touched`` is the time of it.
        "CREATE INDEX conversations_active ON conversations (active)",
        """CREATE TABLE events (
            conversation INTEGER NOT NULL,
            offset INTEGER NOT NULL,
            id TEXT,
            digest BLOB,
            outcome INTEGER,
            body BLOB NOT NULL,
            PRIMARY KEY (conversation, offset)
        ) STRICT, WITHOUT ROWID""",
        # What is remembered of a message is in its event's row, which outlives the event's time in the log where it
        # must: the log is from conversations.first on.
        "CREATE UNIQUE INDEX events_id ON events (conversation, id) WHERE id IS NOT NULL",
        """CREATE TABLE turns (
            conversation INTEGER NOT NULL,
            offset INTEGER NOT NULL,
            id TEXT NOT NULL,
            text TEXT NOT NULL,
            language TEXT NOT NULL,
            principal BLOB NOT NULL,
            attempt INTEGER NOT NULL,
            encoding TEXT,
            picture BLOB,
            PRIMARY KEY (conversation, offset)
        ) STRICT, WITHOUT ROWID""",
        "CREATE TABLE garbage (conversation INTEGER PRIMARY KEY) STRICT",
        "CREATE TABLE erased (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE) STRICT",
        "CREATE TABLE probe (number INTEGER PRIMARY KEY, filling BLOB NOT NULL) STRICT",
    ),
    # For whoever wants all that is kept of one customer.
    ("CREATE INDEX conversations_subject ON conversations (subject)",),
    # What the log keeps of the picture, which the turn has yet to put where that says.
    ("ALTER TABLE turns ADD COLUMN reference TEXT",),
)


def open_writer(path: Path, durability: Literal["full", "normal"]) -> sqlite3.Connection:
    """A connection that writes, to a file with the newest schema, made where there is none (mode 0600).

    Raises:
        ConfigError: the file cannot be opened, is no store of csgate's, or was written by a newer one.
    """
    try:
        path.parent.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE))
        path.chmod(FILE_MODE)
    except OSError as error:
        raise ConfigError(f"The conversations in '{path}' cannot be opened: {error.strerror}.") from error
    try:
        connection = _connect(path, "rw")
    except sqlite3.Error as error:
        raise ConfigError(f"The conversations in '{path}' cannot be opened: {error}.") from error
    try:
        # Before the first table: it cannot be changed later.
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {durability.upper()}")
        # What is deleted is overwritten: it is what people said, and somebody may have asked for its end.
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        migrate(connection, path)
    except sqlite3.Error as error:
        connection.close()
        raise ConfigError(f"The conversations in '{path}' cannot be opened: {error}.") from error
    except BaseException:
        connection.close()
        raise
    return connection


def open_reader(path: Path) -> sqlite3.Connection:
    """A connection that only reads, to a file that is there.

    Raises:
        ConfigError: it cannot be opened, or its schema is not of this version.
    """
    return _open_as_it_is(path, "ro")


def open_eraser(path: Path) -> sqlite3.Connection:
    """A connection beside that of the process that serves, for taking something out of a file that is there.

    Raises:
        ConfigError: it cannot be opened, or its schema is not of this version.
    """
    connection = _open_as_it_is(path, "rw")
    connection.execute("PRAGMA secure_delete = ON")
    return connection


def _open_as_it_is(path: Path, mode: Literal["rw", "ro"]) -> sqlite3.Connection:
    try:
        connection = _connect(path, mode)
    except sqlite3.Error as error:
        raise ConfigError(f"The conversations in '{path}' cannot be opened: {error}.") from error
    try:
        with closing(connection.execute("PRAGMA user_version")) as cursor:
            version = cursor.fetchone()[0]
    except sqlite3.Error as error:
        connection.close()
        raise ConfigError(f"The conversations in '{path}' cannot be opened: {error}.") from error
    if version != len(MIGRATIONS):
        connection.close()
        raise ConfigError(_other_version(path, version, len(MIGRATIONS)))
    return connection


def _connect(path: Path, mode: Literal["rw", "ro"]) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    except BaseException:
        connection.close()
        raise
    return connection


def migrate(connection: sqlite3.Connection, path: Path, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> None:
    """Lifts the schema to the newest version, in one step that happens as a whole or not at all.

    Raises:
        ConfigError: the file is no store of csgate's, or was written by a newer one.
        sqlite3.Error: it cannot be read or written.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        owner = connection.execute("PRAGMA application_id").fetchone()[0]
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if owner != APPLICATION_ID and (owner or version or tables):
            raise ConfigError(
                f"'{path}' is a database of another program; move it away, or choose another data folder."
            )
        if version > len(migrations):
            raise ConfigError(_other_version(path, version, len(migrations)))
        for migration in migrations[version:]:
            for statement in migration:
                connection.execute(statement)
        if version < len(migrations):
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {len(migrations)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _other_version(path: Path, version: int, known: int) -> str:
    if version > known:
        return (
            f"'{path}' was written by a newer csgate (schema {version}; this one knows {known}): start that one, or "
            "choose another data folder."
        )
    return f"'{path}' is of an older schema ({version}; this csgate has {known}): 'csgate serve' brings it up to date."


@contextmanager
def sole_owner(path: Path) -> Iterator[None]:
    """Holds the lock that lets one process serve from the file; it ends with the process, however that ends.

    Raises:
        ConfigError: another process has it, or the lock file cannot be made.
    """
    lock = path.with_name(path.name + ".lock")
    try:
        path.parent.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    except OSError as error:
        raise ConfigError(f"The lock '{lock}' cannot be made: {error.strerror}.") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(
                f"Another csgate serves from '{path}': stop it, or give this one a folder of its own with --data-dir."
            ) from error
        yield
    finally:
        os.close(descriptor)
