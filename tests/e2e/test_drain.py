"""SIGTERM under load: what was acknowledged is answered, everybody is told, the exit code is 0."""

import json
import signal
import socket
import threading
import time
from typing import Any

import pytest

from . import pictures
from .conftest import Server
from .raw import TEXT, Closed, RawWebSocket, ask, frame, open_v1

CONNECTIONS = 40


class Customer(threading.Thread):
    """Sends messages as fast as they are answered until the server says goodbye."""

    def __init__(self, server: Server, number: int, picture: str) -> None:
        super().__init__(daemon=True)
        self.client, _ = open_v1(server, f"customer-{number}")
        self.picture = picture
        self.acknowledged: set[str] = set()
        self.finals: list[str] = []
        self.draining = False
        self.code: int | None = None

    def run(self) -> None:
        count = 0
        try:
            while True:
                if not self.draining:
                    count += 1
                    fields = {"image": self.picture} if count % 3 == 0 else {"text": "Where is my order 12345?"}
                    self.client.send_json({"type": "message", "id": f"m{count}", **fields})
                while True:
                    event = self.client.receive()
                    match event["type"]:
                        case "ack":
                            self.acknowledged.add(event["id"])
                        case "reply":
                            self.finals.append(event["id"])
                            break
                        case "error":
                            if event.get("id") in self.acknowledged:
                                self.finals.append(event["id"])
                            break
                        case "draining":
                            self.draining = True
        except Closed as closed:
            self.code = closed.code
        except OSError:
            pass
        finally:
            self.client.sock.close()


def never_reads(server: Server) -> RawWebSocket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", server.port))
    client = RawWebSocket(server.port, protocols=("csgate.v1", f"csgate.bearer.{server.token('idle')}"), sock=sock)
    client.send_json({"type": "hello"})
    flood = b"".join(frame(TEXT, json.dumps({"type": "ping", "t": i}).encode()) for i in range(3_000))
    client.send(flood)
    return client


@pytest.mark.parametrize("slow_reader", [False, True])
def test_everything_acknowledged_is_answered(own_server: Any, slow_reader: bool) -> None:
    server = own_server(CSGATE_SERVER__DRAIN_SECONDS="15", CSGATE_LIMITS__CLOSE_SECONDS="2")
    picture = pictures.base64_text(pictures.jpeg(800, 600))
    customers = [Customer(server, number, picture) for number in range(CONNECTIONS)]
    stuck = never_reads(server) if slow_reader else None
    for customer in customers:
        customer.start()
    time.sleep(1.5)
    code = server.stop(signal.SIGTERM)
    for customer in customers:
        customer.join(20)
    assert code == 0, "".join(server.text[-20:])
    assert sum(len(customer.finals) for customer in customers) > CONNECTIONS
    for customer in customers:
        assert customer.draining
        assert customer.code == 4001
        assert set(customer.finals) == customer.acknowledged
        assert len(customer.finals) == len(customer.acknowledged)
    if stuck is not None:
        stuck.sock.close()


def test_readiness_fails_and_nobody_is_let_in_while_an_answer_is_awaited(own_server: Any) -> None:
    server = own_server(CSGATE_SERVER__DRAIN_SECONDS="10")
    client, _ = open_v1(server)
    assert json.loads(server.get("/readyz"))["status"] == "ready"
    heavy = pictures.base64_text(pictures.encode(pictures.photo(4000, 3000), "PNG"))
    with client:
        for i in range(12):
            client.send_json({"type": "message", "id": f"m{i}", "image": heavy})
        for _ in range(12):
            client.expect("ack")
        server.process.send_signal(signal.SIGTERM)
        client.expect("draining")
        status, body = server.status("/readyz")
        assert status == 503
        assert "draining" in body
        with RawWebSocket(server.port, token=server.token()) as late:
            assert late.status == 503
        client.send_json({"type": "message", "id": "late", "text": "hello"})
        finals: dict[str, str] = {}
        while len(finals) < 13:
            event = client.expect("reply", "error")
            finals[event["id"]] = event.get("code", "reply")
        assert finals.pop("late") == "overloaded"
        assert set(finals.values()) == {"reply"}
        assert client.close_code() == 4001
    assert server.wait(10) == 0


def test_a_second_signal_ends_the_drain(own_server: Any) -> None:
    server = own_server(CSGATE_SERVER__DRAIN_SECONDS="60", CSGATE_LIMITS__CLOSE_SECONDS="60")
    client, _ = open_v1(server)
    with client:
        assert ask(client, "m1", "hello")["type"] == "reply"
        server.process.send_signal(signal.SIGTERM)
        client.expect("draining")
        server.process.send_signal(signal.SIGINT)
        assert server.wait(10) == 0
