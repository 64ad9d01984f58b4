"""The simple mode with the clients that people have: Python's websockets, plain JavaScript in a browser."""

import json
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import sync_playwright
from websockets.sync.client import connect

from . import pictures
from .conftest import Server
from .raw import TEXT, RawWebSocket, frame

CHROMIUM = "/usr/bin/chromium"
CHROMIUM_FLAGS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]

TEN_LINES = """
async ([url, token]) => {
  const socket = new WebSocket(url, ["csgate.simple", "csgate.bearer." + token]);
  const answers = [];
  return new Promise((resolve, reject) => {
    socket.onopen = () => { socket.send(JSON.stringify({text: "Where is my order 12345?"}));
                            socket.send(JSON.stringify({text: "我要退款"})); };
    socket.onmessage = (event) => { answers.push(JSON.parse(event.data)); if (answers.length == 2) resolve(answers); };
    socket.onclose = (event) => reject(new Error("closed " + event.code));
  });
}
"""


def ticket(server: Server) -> str:
    request = urllib.request.Request(
        server.http + "/v1/tickets", method="POST", headers={"Authorization": f"Bearer {server.token()}"}
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        return str(json.load(response)["ticket"])


def test_websockets_client(server: Server) -> None:
    with connect(server.ws, additional_headers={"Authorization": f"Bearer {server.token()}"}) as socket:
        socket.send(json.dumps({"text": "Where is my order 12345?"}))
        reply = json.loads(socket.recv(timeout=20))
        assert reply["type"] == "reply"
        assert reply["intent"]["name"] == "track_order"
        assert "12345" in reply["text"]
        socket.send(json.dumps({"image": pictures.base64_text(pictures.png())}))
        assert json.loads(socket.recv(timeout=20))["tags"]
        socket.send(json.dumps({}))
        assert json.loads(socket.recv(timeout=20))["code"] == "bad_envelope"
        socket.send("not json")
        assert json.loads(socket.recv(timeout=20))["code"] == "bad_json"
        socket.send(json.dumps({"text": "谢谢"}))
        assert json.loads(socket.recv(timeout=20))["intent"]["name"] == "thanks"


def test_ten_lines_of_javascript(server: Server) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_FLAGS)
        try:
            page = browser.new_page()
            page.goto(server.http + "/healthz")
            english, chinese = page.evaluate(TEN_LINES, [server.ws, server.token()])
        finally:
            browser.close()
    assert english["intent"]["name"] == "track_order"
    assert chinese["intent"]["name"] == "get_refund"


def test_a_ticket_opens_once(server: Server) -> None:
    path = f"/ws?ticket={ticket(server)}"
    with RawWebSocket(server.port, path) as client:
        client.send_json({"text": "hi"})
        assert client.receive()["type"] == "reply"
    with RawWebSocket(server.port, path) as client:
        assert client.receive()["code"] == "unauthorized"
        assert client.close_code() == 4500


def test_a_token_in_the_address_only_where_configured(server: Server, own_server: Any) -> None:
    path = f"/ws?token={server.token()}"
    with RawWebSocket(server.port, path) as client:
        assert client.receive()["code"] == "unauthorized"
        assert client.close_code() == 4502
    configured = own_server(CSGATE_AUTH__QUERY_TOKEN="true")
    with RawWebSocket(configured.port, path) as client:
        client.send_json({"text": "hi"})
        assert client.receive()["type"] == "reply"


def test_text_format_is_markdown_alone(server: Server) -> None:
    with connect(
        server.ws + "?format=text", additional_headers={"Authorization": f"Bearer {server.token()}"}
    ) as socket:
        socket.send(json.dumps({"text": "Where is my order 12345?"}))
        answer = socket.recv(timeout=20)
        assert isinstance(answer, str)
        assert "12345" in answer
        assert not answer.startswith("{")
        socket.send("{")
        answer = socket.recv(timeout=20)
        assert isinstance(answer, str)
        assert answer.startswith("⚠ ")


def test_answers_come_in_order_errors_included(server: Server) -> None:
    """A picture takes longer than an error; the error waits for its turn all the same."""
    photo = pictures.base64_text(pictures.jpeg(1600, 1200))
    with RawWebSocket(server.port, token=server.token()) as client:
        for i in range(5):
            client.send_json({"text": "hello", "image": photo})
            client.send_json({"nothing": i})
        kinds = [client.receive()["type"] for _ in range(10)]
    assert kinds == ["reply", "error"] * 5


def test_more_than_sixteen_waiting_get_overloaded(own_server: Callable[..., Server]) -> None:
    # In memory: a disk might take so long over each message that never so many wait.
    server = own_server(CSGATE_SESSION__STORE="memory", CSGATE_INFERENCE__WARM_UP="false")
    photo = pictures.base64_text(pictures.encode(pictures.photo(2400, 1800), "PNG"))
    with RawWebSocket(server.port, token=server.token()) as client:
        client.send(frame(TEXT, json.dumps({"image": photo}).encode()) + frame(TEXT, b'{"text": "hello"}') * 39)
        answers = [client.receive() for _ in range(40)]
        codes = [answer.get("code", "reply") for answer in answers]
        assert codes[:16] == ["reply"] * 16
        assert set(codes) == {"reply", "overloaded"}
        client.send_json({"text": "hello"})
        assert client.receive()["type"] == "reply"


def test_no_acknowledgements_and_no_binary(server: Server) -> None:
    with RawWebSocket(server.port, token=server.token()) as client:
        client.send_binary({"text": "hello"}, b"")
        assert client.receive()["type"] == "error"
        client.send_json({"type": "ping", "t": 1})
        assert client.receive()["type"] == "error"
        client.send_json({"type": "message", "text": "hello"})
        assert client.receive()["type"] == "reply"


@pytest.mark.parametrize("protocol", ["csgate.simple", None])
def test_the_selected_subprotocol_never_is_the_token(server: Server, protocol: str | None) -> None:
    token = server.token()
    offered = [f"csgate.bearer.{token}", *([protocol] if protocol else [])]
    with RawWebSocket(server.port, protocols=tuple(offered)) as client:
        assert token not in client.head
        selected = [line for line in client.head.splitlines() if line.lower().startswith("sec-websocket-protocol")]
        assert selected == ([f"sec-websocket-protocol: {protocol}"] if protocol else []) or (
            protocol and selected[0].lower() == f"sec-websocket-protocol: {protocol}"
        )
    assert not any(token in line for line in server.text)
