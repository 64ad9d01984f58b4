"""One connection killed, one turn failed, inside a load of 200: every other answer is right."""

import io
import json
import re
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jwt
import pytest
import trio
from trio_websocket import open_websocket_url

from csgate.config import load_config
from csgate.dialog import Dialog
from csgate.events import Draft
from csgate.gateway.node import Node, open_node
from csgate.session import Turn
from csgate.telemetry import Telemetry, open_logger

from .conftest import SECRET

CONNECTIONS = 200
MESSAGES = 3


@asynccontextmanager
async def node_at(tmp_path: Path, log: Any) -> AsyncIterator[Node]:
    config = load_config(
        None,
        {
            "server": {"port": 0, "data_dir": str(tmp_path)},
            "auth": {"secret": SECRET},
            "limits": {"connections_per_principal": 1000, "messages_per_second": 1e5, "messages_burst": 100_000},
        },
        environ={},
    )
    with trio.fail_after(120):
        async with open_node(config, Telemetry(log=open_logger(stream=log))) as node:
            yield node


async def customer(
    node: Node, number: int, answers: dict[int, list[dict[str, Any]]], before_last: Callable[[Any], Any] | None = None
) -> None:
    """Holds a simple-mode conversation about its own order number."""
    token = jwt.encode({"sub": f"c{number}", "exp": 4e9}, SECRET, "HS256")
    url = f"ws://127.0.0.1:{node.address[1]}/ws"
    async with open_websocket_url(url, extra_headers=[("Authorization", f"Bearer {token}")]) as socket_:
        for i in range(MESSAGES):
            await socket_.send_message(json.dumps({"text": f"Where is my order {number}00{i}?"}))
            if before_last is not None and i == MESSAGES - 1:
                before_last(socket_)
                return
            answers.setdefault(number, []).append(json.loads(await socket_.get_message()))


def check(answers: dict[int, list[dict[str, Any]]], number: int) -> None:
    assert len(answers[number]) == MESSAGES
    for i, answer in enumerate(answers[number]):
        assert answer["type"] == "reply"
        assert re.search(rf"\b{number}00{i}\b", answer["text"]), (number, i, answer["text"])


def reset(client: Any) -> None:
    """The connection ends with a TCP reset, in the middle of its turn."""
    raw = client._stream.socket
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raw.close()


async def test_killing_one_connection(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers: dict[int, list[dict[str, Any]]] = {}
    victim = 117

    async def doomed(node: Node) -> None:
        try:
            await customer(node, victim, answers, reset)
        except* (trio.ClosedResourceError, trio.BrokenResourceError, OSError):
            pass

    log = io.StringIO()
    async with node_at(tmp_path, log) as node, trio.open_nursery() as nursery:
        nursery.start_soon(doomed, node)
        for number in range(100, 100 + CONNECTIONS):
            if number != victim:
                nursery.start_soon(customer, node, number, answers)
    assert "failed" not in log.getvalue()
    for number in range(100, 100 + CONNECTIONS):
        if number != victim:
            check(answers, number)
    assert node.conversations.open_turns == 0


async def test_failing_one_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers: dict[int, list[dict[str, Any]]] = {}
    right = Dialog.answer

    async def answer(self: Dialog, turn: Turn) -> Draft:
        if "150001" in turn.text:
            raise RuntimeError("secret words of an inner failure")
        return await right(self, turn)

    monkeypatch.setattr(Dialog, "answer", answer)
    log = io.StringIO()
    async with node_at(tmp_path, log) as node, trio.open_nursery() as nursery:
        for number in range(100, 100 + CONNECTIONS):
            nursery.start_soon(customer, node, number, answers)
    lines = log.getvalue()
    failed = answers[150][1]
    assert (failed["type"], failed["code"]) == ("error", "internal")
    assert "secret words" not in json.dumps(failed)
    assert "secret words" in lines
    assert failed["ref"] in lines
    answers[150][1] = {"type": "reply", "text": "150001"}
    for number in range(100, 100 + CONNECTIONS):
        check(answers, number)
