"""Clients that go on through every death of their server, and what must be true of the log when all is over.

Each client keeps what it saw across its connections: it resumes with its epoch and offset, and sends again, under the
same id, what was not acknowledged. The checker reads these records and the log.
"""

import random
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from .raw import Closed, RawWebSocket

TEXTS = (
    "Where is my order 12345?",
    "I want my money back",
    "你好",
    "Do you ship to Norway?",
    "My parcel arrived broken",
)
PATIENCE_S = 120.0


class Talker(threading.Thread):
    """One customer in one conversation, until :meth:`finish` is called and all that was sent has its final event."""

    def __init__(self, name: str, port: Callable[[], int], token: str, seed: int) -> None:
        super().__init__(name=name, daemon=True)
        self.port = port
        self.token = token
        self.chance = random.Random(seed)
        self.conversation: str | None = None
        self.epoch: str | None = None
        self.offset = 0
        self.sent: dict[str, str] = {}
        self.acks: dict[str, int] = {}
        self.finals: dict[str, Any] = {}
        self.attempts: Counter[int] = Counter()
        self.connections = 0
        self.wrong: list[str] = []
        self._leaving = threading.Event()

    def finish(self) -> None:
        """Nothing new from now on."""
        self._leaving.set()

    def run(self) -> None:
        until = None
        while not (self._leaving.is_set() and len(self.finals) == len(self.sent)):
            if self._leaving.is_set():
                until = until or time.monotonic() + PATIENCE_S
                if time.monotonic() > until:
                    self.wrong.append(f"no final event of {sorted(self.sent.keys() - self.finals.keys())}")
                    return
            try:
                self._visit()
            except (OSError, Closed):
                time.sleep(0.02 + 0.1 * self.chance.random())
            except Exception as error:  # the test reads it; a thread's own traceback nobody would
                self.wrong.append(repr(error))
                return

    def _visit(self) -> None:
        """One connection, as long as it lasts."""
        protocols = ("csgate.v1", f"csgate.bearer.{self.token}")
        with RawWebSocket(self.port(), protocols=protocols, timeout=20.0) as client:
            if client.status != 101:
                raise Closed(None)
            self.connections += 1
            known = {"conversation": self.conversation, "epoch": self.epoch, "offset": self.offset}
            client.send_json({"type": "hello", **(known if self.conversation else {})})
            welcome = client.expect("welcome", "error")
            if welcome["type"] == "error":
                if welcome["code"] == "not_found" and not self.acks:
                    self.conversation = None  # nothing was said in it yet, so nothing was kept
                raise Closed(None, welcome["code"])
            if self.conversation and self.sent.keys() & self.acks.keys() and not welcome["recovered"]:
                self.wrong.append("not recovered")
            if self.conversation and welcome["epoch"] != self.epoch and self.acks:
                self.wrong.append("another epoch")
            self.conversation, self.epoch = welcome["conversation"], welcome["epoch"]
            # As the server has it: what was sent and not acknowledged goes again, in its order.
            for id, text in self.sent.items():
                if id not in self.acks:
                    client.send_json({"type": "message", "id": id, "text": text})
            while not (self._leaving.is_set() and len(self.finals) == len(self.sent)):
                if len(self.sent) - len(self.finals) < 2 and not self._leaving.is_set():
                    id = f"{self.name}-{len(self.sent)}"
                    self.sent[id] = self.chance.choice(TEXTS)
                    client.send_json({"type": "message", "id": id, "text": self.sent[id]})
                self._take(client.receive())

    def _take(self, event: Any) -> None:
        match event["type"]:
            case "history":
                for old in event["events"]:
                    self._logged(old)
            case "ack":
                self._acknowledged(event["id"], event["offset"])
            case "delta" | "snapshot":
                self.attempts[event["attempt"]] += 1
            case "error" if event.get("offset") is None:
                # Refused: it is not in the log, and goes again with the next connection.
                raise Closed(None, event["code"])
            case "message" | "reply" | "error" | "state":
                self._logged(event)

    def _logged(self, event: Any) -> None:
        if event["type"] == "message" and event["author"] == "customer":
            self._acknowledged(event["id"], event["offset"])
            return
        if event["type"] == "state" and event["offset"] <= self.offset:
            return  # who answers, told again after a resume
        self._step(event["offset"])
        if event["type"] in ("reply", "error"):
            if event["id"] in self.finals:
                self.wrong.append(f"a second final event of {event['id']}")
            self.finals[event["id"]] = event

    def _acknowledged(self, id: str, offset: int) -> None:
        if self.acks.setdefault(id, offset) != offset:
            self.wrong.append(f"{id} acknowledged at {offset} as well as {self.acks[id]}")
        if offset > self.offset:
            self._step(offset)

    def _step(self, offset: int) -> None:
        if offset != self.offset + 1:
            self.wrong.append(f"offset {offset} after {self.offset}")
        self.offset = offset


def read_logs(file: Path) -> dict[str, list[dict[str, Any]]]:
    """All events of all conversations, from the file itself."""
    connection = sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        rows = connection.execute(
            "SELECT c.id, e.offset, e.body FROM events AS e JOIN conversations AS c ON c.key = e.conversation"
            " WHERE e.offset >= c.first ORDER BY c.id, e.offset"
        ).fetchall()
    finally:
        connection.close()
    logs: dict[str, list[dict[str, Any]]] = {}
    for id, offset, body in rows:
        event = msgspec.json.decode(body)
        assert event["offset"] == offset
        logs.setdefault(id, []).append(event)
    return logs


def check(talkers: list[Talker], logs: dict[str, list[dict[str, Any]]]) -> dict[str, int]:
    """Counts what happened; whatever is not as promised is in ``lost``, ``duplicated`` or ``wrong``."""
    counts = Counter(sent=0, acknowledged=0, answered=0, errors=0, duplicated=0, lost=0, wrong=0, reconnects=0)
    for talker in talkers:
        log = logs.get(talker.conversation or "", [])
        asked = [event for event in log if event["type"] == "message" and event["author"] == "customer"]
        messages = {event["id"]: event["offset"] for event in asked}
        finals = Counter(event["id"] for event in log if event["type"] in ("reply", "error"))
        counts["sent"] += len(talker.sent)
        counts["acknowledged"] += len(talker.acks)
        counts["answered"] += sum(finals[id] > 0 for id in talker.acks)
        counts["errors"] += sum(event["type"] == "error" for event in log)
        counts["duplicated"] += sum(count - 1 for count in finals.values())
        counts["duplicated"] += len(asked) - len(messages)
        counts["lost"] += sum(messages.get(id) != offset or not finals[id] for id, offset in talker.acks.items())
        counts["wrong"] += len(talker.wrong)
        counts["wrong"] += [event["offset"] for event in log] != list(range(1, len(log) + 1))
        counts["wrong"] += sum(id not in messages for id in finals) + sum(not finals[id] for id in messages)
        counts["wrong"] += set(finals) != talker.finals.keys()
        counts["reconnects"] += talker.connections - 1
    return dict(counts)
