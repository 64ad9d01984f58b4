"""The SQLite store's file as an operator sees it: what is kept, of whom, and how to take one customer out of it.

Works beside a process that serves from the file. Reading sees one state of it. Erasing is a row of small write
transactions, between which the server writes; it notices within a second what is gone.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from csgate.errors import ConfigError, CsgateError, NotFound
from csgate.session.archive import Archive, Kept
from csgate.session.sqlite_desk import TIDY_ROWS
from csgate.session.sqlite_file import FILE, open_eraser, open_reader
from csgate.session.sqlite_ledger import Ledger
from csgate.telemetry import open_logger

ERASE_CONVERSATIONS: Final = 16

_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode
_COLUMNS: Final = "id, issuer, tenant, subject, epoch, first, last, touched, state, key"


class SqliteArchive(Archive):
    """Made by :func:`open_archive`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def newest(self, limit: int, subject: str | None = None) -> list[Kept]:
        where = "" if subject is None else "WHERE subject = ?"
        given = (limit,) if subject is None else (subject, limit)
        statement = f"SELECT {_COLUMNS} FROM conversations {where} ORDER BY active DESC LIMIT ?"  # noqa: S608  ours
        return [_kept(row) for row in self._connection.execute(statement, given).fetchall()]

    def find(self, conversation: str) -> Kept:
        statement = f"SELECT {_COLUMNS} FROM conversations WHERE id = ?"  # noqa: S608  ours
        row = self._connection.execute(statement, (conversation,)).fetchone()
        if row is None:
            raise NotFound(public=f"There is no conversation '{conversation}'.")
        return _kept(row)

    def events(self, kept: Kept) -> Iterator[dict[str, Any]]:
        rows = self._connection.execute(
            "SELECT body FROM events WHERE conversation = ? AND offset >= ? ORDER BY offset", (kept.key, kept.first)
        )
        for (body,) in rows:
            yield _decode(body)

    def of_subject(self, subject: str) -> list[Kept]:
        statement = f"SELECT {_COLUMNS} FROM conversations WHERE subject = ? ORDER BY key"  # noqa: S608  ours
        return [_kept(row) for row in self._connection.execute(statement, (subject,)).fetchall()]

    def erase(self, subject: str, tenant: str | None = None, issuer: str | None = None) -> list[str]:
        """As :meth:`Archive.erase`, in small steps.

        From the first step on nobody can come back to them. A process that ends in the middle leaves the rest to the
        next that serves, or that erases.

        Raises:
            ConfigError: as :meth:`owned`.
        """
        erased = []
        # Again until none is left: the customer may be talking.
        while owned := self.owned(subject, tenant, issuer):
            with _writing(self._connection):
                for kept in owned[:ERASE_CONVERSATIONS]:
                    self._connection.execute("DELETE FROM conversations WHERE key = ?", (kept.key,))
                    self._connection.execute("INSERT INTO garbage VALUES (?)", (kept.key,))
                    self._connection.execute("INSERT INTO erased (id) VALUES (?)", (kept.id,))
                    erased.append(kept.id)
        ledger = Ledger(self._connection, 1, open_logger())
        more = True
        while more:
            with _writing(self._connection):
                more = ledger.tidy(TIDY_ROWS)
        # So that the write-ahead log does not keep it either; where somebody reads just now, the server does it later.
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return erased


@contextmanager
def open_archive(data_dir: Path, *, erasing: bool = False) -> Iterator[SqliteArchive]:
    """The file in ``data_dir``; all reading within the block sees it as it was at the beginning, unless ``erasing``.

    Raises:
        ConfigError: there is no file, or it cannot be used.
        CsgateError: it is damaged, locked for long, or the disk is full; the message is one sentence.
    """
    path = data_dir / FILE
    if not path.exists():
        raise ConfigError(f"There are no conversations in '{data_dir}'; name the gateway's data folder by --data-dir.")
    connection = open_eraser(path) if erasing else open_reader(path)
    try:
        if not erasing:
            connection.execute("BEGIN")
        yield SqliteArchive(connection)
    except (sqlite3.Error, msgspec.MsgspecError) as error:
        raise CsgateError(f"The conversations in '{path}' cannot be read or changed: {error}.") from error
    finally:
        connection.close()


@contextmanager
def _writing(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _kept(row: tuple[Any, ...]) -> Kept:
    kept = Kept(*row)
    return kept._replace(state="bot" if row[8] is None else str(_decode(row[8])["state"]))
