"""The conversation log in SQL: each method is one operation of a store, within a transaction of the caller's.

Synchronous; called from the thread that has the connection. A method that raises a :class:`~csgate.errors.CsgateError`
has changed nothing.
"""

import sqlite3
from collections.abc import Iterable
from typing import Any, Final, Literal, NamedTuple

import msgspec

from csgate.errors import DuplicateMismatch, NotFound
from csgate.events import ErrorEvent, LogEvent, MessageEvent, Picture, Principal, RateEvent, StateEvent
from csgate.session.store import Accepted, FinalEvent, Header, OpenTurn, Page, Record, Reopened, Stored
from csgate.telemetry import Logger

Outcome = Literal["open", "reply", "error", "unanswered"]
OUTCOMES: Final[tuple[Outcome, ...]] = ("open", "reply", "error", "unanswered")
_OPEN, _REPLY, _ERROR, _UNANSWERED = range(4)

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(LogEvent).decode
_decode_state: Final = msgspec.json.Decoder(StateEvent).decode
# Not JSON, which has no infinity for an expiry.
_encode_principal: Final = msgspec.msgpack.Encoder().encode
_decode_principal: Final = msgspec.msgpack.Decoder(Principal).decode


class Added(NamedTuple):
    """An event as it was logged; ``first`` is what the log retains from then on."""

    first: int
    event: LogEvent


class Candidate(NamedTuple):
    """A conversation that may be forgotten. ``active`` orders by last activity, which was at ``touched``."""

    id: str
    active: int
    touched: str


class _Row(NamedTuple):
    key: int
    first: int
    last: int


# id, digest, outcome
_Columns = tuple[str | None, bytes | None, int | None]


class Ledger:
    """All operations on one connection. Those that only read work on a connection that only reads."""

    __slots__ = ("_active", "_erasures", "_execute", "_log", "_max_events", "connection")

    def __init__(self, connection: sqlite3.Connection, max_events: int, log: Logger) -> None:
        self.connection = connection
        self._log = log
        self._execute = connection.execute
        self._max_events = max_events
        self._active: int = self._execute("SELECT coalesce(max(active), 0) FROM conversations").fetchone()[0]
        self._erasures: int = self._execute("SELECT coalesce(max(number), 0) FROM erased").fetchone()[0]

    # --- Reading ---

    def load(self, conversation: str) -> Stored | None:
        row = self._execute(
            "SELECT id, epoch, issuer, tenant, subject, state FROM conversations WHERE id = ?", (conversation,)
        ).fetchone()
        return None if row is None else Stored(Header(*row[:5]), _state(row[5]))

    def read(self, conversation: str, after: int, limit: int | None) -> Page | None:
        row = self._find(conversation)
        if row is None:
            return None
        start = max(after, row.first - 1)
        if limit is not None:
            start = max(start, row.last - limit)
        bodies = self._execute(
            "SELECT body FROM events WHERE conversation = ? AND offset > ? ORDER BY offset", (row.key, start)
        )
        return Page(row.first, row.last, tuple([_decode(body) for (body,) in bodies.fetchall()]))

    def recall(self, conversation: str, id: str) -> Record | None:
        row = self._execute(
            "SELECT m.offset, m.digest, m.outcome FROM conversations AS c"
            " JOIN events AS m ON m.conversation = c.key AND m.id = ? WHERE c.id = ?",
            (id, conversation),
        ).fetchone()
        return None if row is None else Record(row[0], row[1], OUTCOMES[row[2]])

    def count(self) -> int:
        return int(self._execute("SELECT count(*) FROM conversations").fetchone()[0])

    def candidates(self, active_after: int, at_most: int) -> list[Candidate]:
        """The longest idle first."""
        rows = self._execute(
            "SELECT id, active, touched FROM conversations WHERE active > ? ORDER BY active LIMIT ?",
            (active_after, at_most),
        )
        return [Candidate(*row) for row in rows.fetchall()]

    # --- Changing ---

    def accept(
        self, header: Header, event: MessageEvent, digest: bytes, turn: OpenTurn | None
    ) -> tuple[Accepted, Added | None]:
        found = self._execute(
            "SELECT c.key, c.first, c.last, m.offset, m.digest FROM conversations AS c"
            " LEFT JOIN events AS m ON m.conversation = c.key AND m.id = ? WHERE c.id = ?",
            (event.id, header.id),
        ).fetchone()
        if found is not None and found[3] is not None:
            if found[4] != digest:
                raise DuplicateMismatch
            return Accepted(found[3], new=False), None
        row = self._create(header) if found is None else _Row(*found[:3])
        offset = row.last + 1
        outcome = _UNANSWERED if turn is None else _OPEN
        if turn is not None:
            picture = turn.picture
            self._execute(
                "INSERT INTO turns VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    row.key,
                    offset,
                    turn.id,
                    turn.text,
                    turn.language,
                    _encode_principal(turn.principal),
                    turn.attempt,
                    None if picture is None else picture.encoding,
                    None if picture is None else picture.data,
                    None if picture is None else picture.reference,
                ),
            )
        return Accepted(offset, new=True), self._add(row, event, (event.id, digest, outcome))

    def append(self, header: Header, event: StateEvent | RateEvent | MessageEvent) -> Added:
        return self._add(self._find(header.id) or self._create(header), event)

    def finish(self, header: Header, id: str, event: FinalEvent, state: StateEvent | None = None) -> list[Added]:
        found = self._execute(
            "SELECT c.key, c.first, c.last, m.offset FROM conversations AS c"
            " JOIN events AS m ON m.conversation = c.key AND m.id = ? AND m.outcome = 0 WHERE c.id = ?",
            (id, header.id),
        ).fetchone()
        if found is None:
            return []
        row = _Row(*found[:3])
        outcome = _ERROR if isinstance(event, ErrorEvent) else _REPLY
        self._execute("DELETE FROM turns WHERE conversation = ? AND offset = ?", (row.key, found[3]))
        self._execute(
            "UPDATE events SET outcome = ? WHERE conversation = ? AND offset = ?", (outcome, row.key, found[3])
        )
        added = [self._add(row, event)]
        if state is not None:
            added.append(self._add(_Row(row.key, added[0].first, row.last + 1), state))
        return added

    def reopen(self) -> list[Reopened]:
        self._execute(
            "UPDATE turns SET attempt = attempt + 1 WHERE (conversation, offset) IN"
            " (SELECT conversation, min(offset) FROM turns GROUP BY conversation)"
        )
        rows = self._execute(
            "SELECT c.key, c.id, c.epoch, c.issuer, c.tenant, c.subject, c.state, t.offset, t.id, t.text, t.encoding,"
            " t.picture, t.reference, t.principal, t.language, t.attempt"
            " FROM turns AS t JOIN conversations AS c ON c.key = t.conversation ORDER BY t.conversation, t.offset"
        )
        reopened = []
        for key, *row in rows.fetchall():
            try:
                reopened.append(_reopened(tuple(row)))
            except Exception as error:
                # It stays as it was, for a version that can read it.
                self._uncount(key, offset=row[6])
                self._log.error("turn_unreadable", conversation=row[0], turn=row[7], error=repr(error))
        return reopened

    def forget(self, doomed: Iterable[Candidate], kept: Iterable[Candidate], now: str) -> list[str]:
        """Takes ``doomed`` out of reach unless they were active meanwhile, and takes ``kept`` to be active ``now``.

        Returns:
            The ids that are gone.
        """
        gone = []
        for candidate in doomed:
            row = self._execute(
                "DELETE FROM conversations WHERE id = ? AND active = ? RETURNING key", (candidate.id, candidate.active)
            ).fetchall()
            if row:
                self._execute("INSERT INTO garbage VALUES (?)", row[0])
                gone.append(candidate.id)
        for candidate in kept:
            self._active += 1
            self._execute(
                "UPDATE conversations SET touched = ?, active = ? WHERE id = ?", (now, self._active, candidate.id)
            )
        return gone

    def tidy(self, rows: int) -> bool:
        """Deletes about ``rows`` rows of what was forgotten; false where nothing is left."""
        found = self._execute("SELECT conversation FROM garbage LIMIT 1").fetchone()
        if found is None:
            return False
        # A turn may have a picture of megabytes: with the first step, and there are never many.
        self._execute("DELETE FROM turns WHERE conversation = ?", found)
        deleted = self._execute(
            "DELETE FROM events WHERE conversation = ?1 AND offset IN"
            " (SELECT offset FROM events WHERE conversation = ?1 ORDER BY offset LIMIT ?2)",
            (*found, rows),
        ).rowcount
        if not deleted:
            self._execute("DELETE FROM garbage WHERE conversation = ?", found)
        return True

    def newly_erased(self) -> list[str]:
        """Ids that another process erased since the last call, or since this was made."""
        rows = self._execute(
            "SELECT number, id FROM erased WHERE number > ? ORDER BY number", (self._erasures,)
        ).fetchall()
        if rows:
            self._erasures = rows[-1][0]
        return [id for _, id in rows]

    # --- Parts ---

    def _find(self, conversation: str) -> _Row | None:
        row = self._execute("SELECT key, first, last FROM conversations WHERE id = ?", (conversation,)).fetchone()
        return None if row is None else _Row(*row)

    def _create(self, header: Header) -> _Row:
        if self._execute("SELECT 1 FROM erased WHERE id = ?", (header.id,)).fetchone() is not None:
            raise NotFound("erased while it was in use")
        key = self._execute(
            "INSERT INTO conversations VALUES (NULL, ?, ?, ?, ?, ?, 1, 0, '', 0, NULL)",
            (header.id, header.epoch, header.issuer, header.tenant, header.subject),
        ).lastrowid
        assert key is not None
        return _Row(key, first=1, last=0)

    def _add(self, row: _Row, event: LogEvent, record: _Columns = (None, None, None)) -> Added:
        offset = row.last + 1
        event = msgspec.structs.replace(event, offset=offset)
        body = _encode(event)
        self._execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", (row.key, offset, *record, body))
        self._active += 1
        # An event without a time leaves that of the last activity, any but a state event the state.
        self._execute(
            "UPDATE conversations SET last = ?, touched = coalesce(?, touched), active = ?, state = coalesce(?, state)"
            " WHERE key = ?",
            (offset, event.timestamp or None, self._active, body if isinstance(event, StateEvent) else None, row.key),
        )
        first = max(row.first, offset - self._max_events + 1)
        if first > row.first:
            self._trim(row.key, first)
        return Added(first, event)

    def _uncount(self, key: int, offset: int) -> None:
        """The attempt of the first turn of a conversation, which there will not be."""
        self._execute(
            "UPDATE turns SET attempt = attempt - 1 WHERE conversation = ?1 AND offset = ?2"
            " AND offset = (SELECT min(offset) FROM turns WHERE conversation = ?1)",
            (key, offset),
        )

    def _trim(self, key: int, first: int) -> None:
        self._execute("UPDATE conversations SET first = ? WHERE key = ?", (first, key))
        # An id with an open turn outlives its message's event, and so do those behind it.
        self._execute(
            "DELETE FROM events WHERE conversation = ?1 AND offset < min(?2,"
            " coalesce((SELECT min(offset) FROM turns WHERE conversation = ?1), ?2))",
            (key, first),
        )


def _state(body: bytes | None) -> StateEvent | None:
    return None if body is None else _decode_state(body)


def _reopened(row: tuple[Any, ...]) -> Reopened:
    offset, id, text, encoding, picture, reference, principal, language, attempt = row[6:]
    shown = None if encoding is None else Picture(picture, encoding, reference)
    turn = OpenTurn(id, text, shown, _decode_principal(principal), language, attempt)
    return Reopened(Header(*row[:5]), _state(row[5]), offset, turn)
