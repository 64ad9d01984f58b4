"""Nodes that die, sleep or lose their Redis in the middle of an answer: another goes on, and there is one end."""

import json
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ..redis_server import RedisServer
from .cluster import QUICK_LEASE, Babbler, start_node, three_nodes
from .conftest import Server
from .raw import RawWebSocket

LEASE_S = 1.0


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()


@pytest.fixture(scope="module")
def babbler() -> Iterator[Babbler]:
    running = Babbler()
    yield running
    running.close()


@pytest.fixture(scope="module")
def nodes(redis: RedisServer, babbler: Babbler, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    """Tests may replace one that they have killed."""
    folder = tmp_path_factory.mktemp("nodes")
    with three_nodes(folder, redis, **QUICK_LEASE, **babbler.environment) as running:
        yield running


def hello(node: Server, **known: Any) -> tuple[RawWebSocket, Any]:
    client = RawWebSocket(node.port, protocols=("csgate.v1", f"csgate.bearer.{node.token('ann')}"))
    client.send_json({"type": "hello", **known})
    return client, client.expect("welcome")


def open_turn(node: Server, id: str = "m1") -> tuple[RawWebSocket, Any]:
    """A conversation with an answer in progress."""
    client, welcome = hello(node)
    client.send_json({"type": "message", "id": id, "text": "Where is my order 12345?"})
    client.expect("delta")
    return client, welcome


def everything(node: Server, conversation: str) -> list[Any]:
    client, welcome = hello(node, conversation=conversation)
    with client:
        return list(client.expect("history")["events"]) if welcome["offset"] else []


def final_of(client: RawWebSocket, id: str = "m1") -> Any:
    while True:
        event = client.expect("reply", "error")
        if event.get("id") == id:
            return event


def test_a_node_dies_in_the_middle_and_another_one_answers(
    nodes: list[Server], redis: RedisServer, babbler: Babbler, tmp_path: Path
) -> None:
    client, welcome = open_turn(nodes[0])
    with client:
        nodes[0].stop(signal.SIGKILL)
    killed = time.monotonic()
    again, known = hello(nodes[1], conversation=welcome["conversation"], epoch=welcome["epoch"], offset=1)
    with again:
        assert known["recovered"]
        reply = final_of(again)
    assert reply["text"] == babbler.text
    assert time.monotonic() - killed < LEASE_S + 3.0 + babbler.pieces * babbler.pause
    for node in nodes[1:]:
        log = everything(node, welcome["conversation"])
        assert [event["offset"] for event in log] == [1, 2]
        assert [event["type"] for event in log] == ["message", "reply"]
    nodes[0] = start_node(tmp_path, redis, "node1", CSGATE_CLUSTER__ZONE="east", **QUICK_LEASE, **babbler.environment)


def test_a_node_that_slept_longer_than_its_lease_says_nothing_more(nodes: list[Server], babbler: Babbler) -> None:
    client, welcome = open_turn(nodes[1])
    with client:
        nodes[1].process.send_signal(signal.SIGSTOP)
        try:
            again, _ = hello(nodes[2], conversation=welcome["conversation"], epoch=welcome["epoch"], offset=1)
            with again:
                reply = final_of(again)
        finally:
            nodes[1].process.send_signal(signal.SIGCONT)
        assert final_of(client) == reply, "the sleeper's own client gets the other node's answer"
    # The sleeper has been told by Redis that it is too late, and has said so.
    deadline = time.monotonic() + 10
    while not any(line["event"] == "lease_lost" for line in nodes[1].log):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    log = everything(nodes[0], welcome["conversation"])
    assert [event["type"] for event in log] == ["message", "reply"]
    assert nodes[1].process.poll() is None


def test_redis_restarts_in_the_middle_of_an_answer(nodes: list[Server], redis: RedisServer, babbler: Babbler) -> None:
    client, welcome = open_turn(nodes[0])
    other, _ = hello(nodes[1], conversation=welcome["conversation"], epoch=welcome["epoch"], offset=1)
    with client, other:
        redis.kill()
        deadline = time.monotonic() + 10
        while nodes[0].status("/readyz")[0] != 503:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert "Redis" in nodes[0].status("/readyz")[1]
        client.send_json({"type": "message", "id": "m2", "text": "hi"})
        refused = client.expect("error")
        assert (refused["code"], refused["id"], refused.get("offset")) == ("overloaded", "m2", None)
        redis.start()
        while nodes[0].status("/readyz")[0] != 200:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        replies = [final_of(client), final_of(other)]
        assert replies[0] == replies[1]
        assert replies[0]["text"] == babbler.text
        client.send_json({"type": "message", "id": "m2", "text": "hi"})
        assert client.expect("ack")["offset"] == 3
        assert final_of(client, "m2")["offset"] == final_of(other, "m2")["offset"] == 4


def test_nodes_know_one_another(nodes: list[Server], redis: RedisServer, tmp_path: Path) -> None:
    def addresses(node: Server) -> list[str]:
        client, welcome = hello(node)
        with client:
            return list(welcome["nodes"])

    one, two, three = (node.ws for node in nodes)
    deadline = time.monotonic() + 10
    while addresses(nodes[0]) != [two, three] or addresses(nodes[2])[-2:] not in ([one, two], [two, one]):
        assert time.monotonic() < deadline, (addresses(nodes[0]), addresses(nodes[2]), one, two, three)
        time.sleep(0.1)
    fourth = start_node(tmp_path, redis, "node4", CSGATE_CLUSTER__ADVERTISE="wss://node4.example/ws")
    while "wss://node4.example/ws" not in addresses(nodes[0]):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    request = urllib.request.Request(
        f"{nodes[0].http}/v1/nodes", headers={"Authorization": f"Bearer {nodes[0].token('ops', role='service')}"}
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        described = {node["name"]: node for node in json.loads(response.read())["nodes"]}
    assert described.keys() == {"node1", "node2", "node3", "node4"}
    assert described["node3"]["zone"] == "west"
    assert described["node4"]["load"] == {"connections": 0, "turns": 0}
    assert described["node1"]["version"]
    for token, status in ((None, 401), (nodes[0].token("ann"), 403)):
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(urllib.request.Request(f"{nodes[0].http}/v1/nodes", headers=headers), timeout=10)
        assert refused.value.code == status
        refused.value.close()
    assert fourth.stop() == 0
    deadline = time.monotonic() + 3.0  # less than its entry would have lived on
    while "wss://node4.example/ws" in addresses(nodes[0]):
        assert time.monotonic() < deadline
        time.sleep(0.1)
