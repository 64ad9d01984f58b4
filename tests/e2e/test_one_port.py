"""One port for HTTP and WebSocket: kept-alive connections, a proxy in front, TLS, an operator address."""

import contextlib
import http.client
import json
import socket
import ssl
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import trustme

from .conftest import Server
from .raw import RawWebSocket, ask, open_v1


def test_an_upgrade_that_comes_second(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), 10) as sock:
        for _ in range(2):
            sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
            answer = b""
            while b'"ok"' not in answer:
                answer += sock.recv(65536)
        sock.sendall(b"POST /v1/guest HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}")
        answer = b""
        while b"expires_at" not in answer:
            answer += sock.recv(65536)
        client = RawWebSocket(server.port, token=server.token(), protocols=("csgate.v1",), sock=sock)
        assert client.status == 101
        client.send_json({"type": "hello"})
        client.expect("welcome")
        assert ask(client, "m1", "hello")["type"] == "reply"


HAPROXY = """
global
    maxconn 200
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
    timeout tunnel 60s
    http-reuse always
frontend front
    bind 127.0.0.1:{front}
    option forwardfor
    default_backend csgate
backend csgate
    server one 127.0.0.1:{port} maxconn 1
"""


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def test_behind_haproxy_that_reuses_connections(own_server: Any, tmp_path: Path) -> None:
    """With ``maxconn 1`` and ``http-reuse always`` the upgrade travels on the connection that served the GETs."""
    server = own_server(CSGATE_SERVER__TRUSTED_PROXIES='["127.0.0.1"]')
    front = free_port()
    config = tmp_path / "haproxy.cfg"
    config.write_text(HAPROXY.format(front=front, port=server.port))
    proxy = subprocess.Popen(["/usr/sbin/haproxy", "-db", "-f", str(config)], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", front), 1).close()
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        for _ in range(3):
            client = http.client.HTTPConnection("127.0.0.1", front, timeout=10, source_address=("127.0.0.2", 0))
            client.request("GET", "/healthz", headers={"X-Forwarded-For": "6.6.6.6"})
            assert client.getresponse().read() == b'{"status":"ok"}'
            client.close()
        with RawWebSocket(front, token=server.token(), protocols=("csgate.v1",)) as chat:
            assert chat.status == 101, chat.head
            chat.send_json({"type": "hello"})
            chat.expect("welcome")
            assert ask(chat, "m1", "Where is my order 12345?")["intent"]["name"] == "track_order"
        addresses = {entry["address"] for entry in server.log if entry["event"] == "http_request"}
        assert addresses == {"127.0.0.2"}, "what the proxy saw, whatever the client claims"
    finally:
        proxy.terminate()
        proxy.wait(10)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[trustme.CA, Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    ca = trustme.CA()
    issued = ca.issue_cert("localhost", "127.0.0.1")
    certificate, key = folder / "cert.pem", folder / "key.pem"
    for blob in issued.cert_chain_pems:
        blob.write_to_path(certificate, append=True)
    issued.private_key_pem.write_to_path(key)
    return ca, certificate, key


def test_tls_carries_both(own_server: Any, authority: tuple[trustme.CA, Path, Path]) -> None:
    ca, certificate, key = authority
    server = own_server(CSGATE_SERVER__TLS_CERTIFICATE=str(certificate), CSGATE_SERVER__TLS_KEY=str(key))
    context = ssl.create_default_context()
    ca.configure_trust(context)
    context.set_alpn_protocols(["h2", "http/1.1"])
    with urllib.request.urlopen(f"https://127.0.0.1:{server.port}/readyz", context=context, timeout=10) as response:
        assert json.load(response)["status"] == "ready"
    plain = socket.create_connection(("127.0.0.1", server.port), 10)
    wrapped = context.wrap_socket(plain, server_hostname="127.0.0.1")
    assert wrapped.selected_alpn_protocol() == "http/1.1"
    with RawWebSocket(server.port, token=server.token(), protocols=("csgate.v1",), sock=wrapped) as client:
        client.send_json({"type": "hello"})
        client.expect("welcome")
        assert ask(client, "m1", "hello")["type"] == "reply"
        photo = b"x" * 300_000
        client.send_binary({"type": "message", "id": "m2"}, photo)
        assert client.expect("error")["code"] == "unsupported_image"
    # Plain HTTP on the TLS port costs nobody anything.
    with socket.create_connection(("127.0.0.1", server.port), 10) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert b"HTTP/1.1 200" not in sock.recv(1000)
    assert server.stop() == 0


def test_operator_endpoints_on_an_address_of_their_own(own_server: Any) -> None:
    port = free_port()
    server = own_server(CSGATE_SERVER__OPERATOR_PORT=str(port))
    for path in ("/metrics", "/readyz", "/healthz"):
        assert server.status(path, port)[0] == 200
        assert server.status(path)[0] == 404
    assert server.status("/", port)[0] == 404
    with RawWebSocket(port, token=server.token()) as client:
        assert client.status == 404
    client, _ = open_v1(server)
    with client:
        ask(client, "m1", "hello")
    text = server.status("/metrics", port)[1]
    for name in (
        "csgate_inference_queue_seconds_bucket",
        "csgate_inference_batch_size_bucket",
        "csgate_inference_prepare_seconds_bucket",
        "csgate_inference_run_seconds_bucket",
        "csgate_inference_total_seconds_bucket",
        "csgate_connections ",
        "csgate_inference_queue_depth",
        'csgate_messages_total{kind="text"}',
    ):
        assert name in text


def test_connection_limits(own_server: Any) -> None:
    server = own_server(CSGATE_LIMITS__CONNECTIONS_PER_PRINCIPAL="2", CSGATE_LIMITS__CONNECTIONS_PER_ADDRESS="8")
    held = [open_v1(server, "ann")[0] for _ in range(2)]
    third = RawWebSocket(server.port, protocols=("csgate.v1",), token=server.token("ann"))
    with third:
        third.send_json({"type": "hello"})
        assert third.receive()["code"] == "overloaded"
        assert third.close_code() == 1013
    with contextlib.suppress(AssertionError, OSError):
        for i in range(20):
            held.append(open_v1(server, f"other-{i}")[0])
    assert 6 <= len(held) <= 8
    for client in held:
        client.sock.close()
    deadline = time.monotonic() + 10
    while True:
        try:
            client, _ = open_v1(server, "ann")
            break
        except (AssertionError, OSError):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    client.sock.close()


def test_the_socket_path_without_an_upgrade(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", "/ws")
        response = connection.getresponse()
        body = json.loads(response.read())
        assert (response.status, response.headers["upgrade"], body["code"]) == (426, "websocket", "upgrade_required")
        connection.request("GET", "/healthz")  # the connection is as good as before
        assert connection.getresponse().status == 200
