"""Pictures through a real server: every door in, the addresses out, what survives, what is erased."""

import hashlib
import http.client
import io
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from PIL import Image

from . import pictures
from .conftest import Server, start_server
from .raw import RawWebSocket, ask, final, open_v1

WIDE = 1600
BOUNDARY = "----form7"


def photo(seed: int = 0) -> bytes:
    """A picture too large for the log itself, another for each ``seed``."""
    image = pictures.photo(WIDE, 900)
    image.putpixel((seed % WIDE, 3), (255, 0, seed % 256))
    return pictures.encode(
        image, "JPEG", quality=90, exif=b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00"
    )


class Answer:
    """A whole response."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def request(server: Server, method: str, path: str, body: Any = None, **headers: str) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, named)
        return Answer(connection.getresponse())
    finally:
        connection.close()


def bearer(server: Server, subject: str = "ann") -> str:
    return f"Bearer {server.token(subject)}"


def form(content: bytes, name: str = "file", filename: str = "a.jpg") -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"\r\n\r\n'
    return head.encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()


def by_form(server: Server, content: bytes, subject: str = "ann", **more: str) -> Answer:
    kind = f"multipart/form-data; boundary={BOUNDARY}"
    who = bearer(server, subject)
    return request(server, "POST", "/v1/uploads", form(content), Authorization=who, Content_Type=kind, **more)


def by_body(server: Server, content: bytes, subject: str = "ann") -> Answer:
    who = bearer(server, subject)
    return request(server, "POST", "/v1/uploads", content, Authorization=who, Content_Type="image/jpeg")


def presigned(server: Server, content: bytes, subject: str = "ann", **wish: Any) -> Answer:
    asked = {"bytes": len(content), "type": "image/jpeg", "sha256": hashlib.sha256(content).hexdigest(), **wish}
    return request(server, "POST", "/v1/uploads/presign", json.dumps(asked), Authorization=bearer(server, subject))


def put(server: Server, offer: Any, content: bytes) -> Answer:
    assert offer["method"] == "PUT"
    return request(server, "PUT", offer["url"], content, **offer["headers"])


def path_of(url: str) -> str:
    parts = urlsplit(url)
    assert not parts.netloc
    return f"{parts.path}?{parts.query}"


def message_of(server: Server, conversation: str, id: str) -> Any:
    """A message as history tells it to another tab."""
    tab, _ = open_v1(server, conversation=conversation)
    with tab:
        return next(event for event in tab.expect("history")["events"] if event.get("id") == id)


# --- The doors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("door", ["inline", "frame", "form", "body", "presign"])
def test_every_door_leads_to_the_same_picture(server: Server, door: str) -> None:
    content = photo(1)
    client, welcome = open_v1(server)
    limits = welcome["limits"]
    assert (limits["inline_bytes"], limits["presign"]) == (5 * 1024, 0)
    assert limits["upload_bytes"] == 16 * 1024 * 1024
    with client:
        match door:
            case "inline":
                client.send_json({"id": "m1", "text": "look", "image": pictures.base64_text(content)})
            case "frame":
                client.send_binary({"id": "m1", "text": "look"}, content)
            case "presign":
                offer = presigned(server, content)
                assert offer.status == 201
                assert put(server, offer.json, content).status == 204
                client.send_json({"id": "m1", "text": "look", "upload": offer.json["upload"]})
            case _:
                upload = (by_form if door == "form" else by_body)(server, content)
                assert upload.status == 201, upload.body
                told = upload.json
                assert (told["width"], told["height"], told["kind"]) == (800, 450, "photo")
                assert told["expires_at"] > time.time() + 3000
                client.send_json({"id": "m1", "text": "look", "upload": told["upload"]})
        assert client.expect("ack", "error")["type"] == "ack"
        reply = final(client, "m1")
        assert reply["type"] == "reply", reply
        assert "picture" in reply["analysis"].lower()
    message = message_of(server, welcome["conversation"], "m1")
    shown = request(server, "GET", path_of(message["image_url"]))
    assert shown.status == 200
    assert shown.headers["content-type"] == "image/jpeg"
    assert hashlib.sha256(content).hexdigest() in message["image_url"]
    image = Image.open(io.BytesIO(shown.body))
    assert image.size == (800, 450)
    assert not image.getexif()
    result = request(server, "GET", path_of(reply["image_url"]))
    assert result.status == 200
    assert Image.open(io.BytesIO(result.body)).width >= 320


def test_uploads_in_simple_mode(server: Server) -> None:
    upload = by_form(server, photo(2)).json["upload"]
    with RawWebSocket(server.port, token=server.token()) as client:
        client.send_json({"text": "look", "upload": upload})
        reply = client.receive()
        assert reply["type"] == "reply"
        assert request(server, "GET", path_of(reply["image_url"])).status == 200


def test_small_pictures_stay_in_the_log(server: Server) -> None:
    sticker = pictures.png()
    assert len(sticker) < 5 * 1024
    client, welcome = open_v1(server)
    with client:
        assert ask(client, "m1", "nice", image=pictures.base64_text(sticker))["type"] == "reply"
    assert message_of(server, welcome["conversation"], "m1")["image_url"].startswith("data:image/png;base64,")


def test_an_upload_named_again_after_a_lost_ack(server: Server) -> None:
    upload = by_form(server, photo(3)).json["upload"]
    client, welcome = open_v1(server)
    ask(client, "m0", "hello")
    tab, _ = open_v1(server, conversation=welcome["conversation"])
    with tab:
        client.send_json({"type": "message", "id": "m1", "text": "look", "upload": upload})
        seen = tab.expect("message")
        client.sock.close()  # its ack has not been read
        again, _ = open_v1(server, conversation=welcome["conversation"])
        with again:
            for _ in range(2):
                again.send_json({"type": "message", "id": "m1", "text": "look", "upload": upload})
                assert again.expect("ack", "error") == {"type": "ack", "id": "m1", "offset": seen["offset"]}
            again.send_json({"type": "message", "id": "m1", "text": "look"})
            while (answer := again.expect("error", "reply"))["type"] == "reply":
                pass
            assert answer["code"] == "duplicate_mismatch"


# --- What is refused -------------------------------------------------------------------------------------------------


def test_names_that_are_not_mine(server: Server) -> None:
    upload = by_form(server, photo(4), "eve").json["upload"]
    never = presigned(server, photo(4)).json["upload"]
    forged = ("B" if never[0] == "A" else "A") + never[1:]
    client, _ = open_v1(server)
    with client:
        for name, code in (
            (upload, "not_found"),
            (never, "not_found"),
            (never[:-1] + ("A" if never[-1] != "A" else "Q"), "not_found"),
            ("u1", "bad_envelope"),
            (forged, "bad_envelope"),
        ):
            error = ask(client, "m1", "look", upload=name)
            assert (error["type"], error["code"]) == ("error", code), name
            assert not error.get("offset")


def test_a_put_of_something_else(server: Server) -> None:
    content = photo(5)
    offer = presigned(server, content).json
    for wrong in (content[:-1] + b"x", content[:-1], content + b"x"):
        answer = put(server, offer, wrong)
        assert (answer.status, answer.json["code"]) == (400, "bad_image")
    for url in (offer["url"].replace("s=", "s=x"), offer["url"].replace("n=", "n=1"), offer["url"].partition("?")[0]):
        assert put(server, {**offer, "url": url}, content).status == 404
    assert put(server, offer, content).status == 204
    client, _ = open_v1(server)
    with client:
        assert ask(client, "m1", "look", upload=offer["upload"])["type"] == "reply"


def test_uploads_that_are_refused(server: Server) -> None:
    content = photo(6)
    no_token = request(server, "POST", "/v1/uploads", content, Content_Type="image/jpeg")
    assert (no_token.status, no_token.json["code"]) == (401, "unauthorized")
    assert request(server, "POST", "/v1/uploads/presign", "{}").status == 401
    for refused, status, code in (
        (by_body(server, b"no picture at all"), 415, "unsupported_image"),
        (by_body(server, pictures.SVG), 415, "unsupported_image"),
        (by_body(server, content[:2000]), 400, "bad_image"),
        (by_body(server, pictures.huge_png()), 413, "image_too_large"),
        (by_body(server, b""), 400, "bad_image"),
        (presigned(server, content, type="image/svg+xml"), 415, "unsupported_image"),
        (presigned(server, content, bytes=10**9), 413, "too_large"),
        (presigned(server, content, sha256="00"), 400, "bad_envelope"),
        (presigned(server, content, bytes="many"), 400, "bad_envelope"),
    ):
        assert (refused.status, refused.json["code"]) == (status, code), refused.body
    wrong_form = request(
        server,
        "POST",
        "/v1/uploads",
        form(content, name="picture"),
        Authorization=bearer(server),
        Content_Type=f"multipart/form-data; boundary={BOUNDARY}",
    )
    assert (wrong_form.status, wrong_form.json["code"]) == (400, "bad_envelope")


def test_a_refusal_reaches_whoever_sends_on(server: Server) -> None:
    """Megabytes that nobody reads neither hold the connection nor the answer back."""
    for announced, body in ((3 * 1024 * 1024, bytes(1024)), (64 * 1024 * 1024, bytes(1024 * 1024))):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        connection.putrequest("POST", "/v1/uploads")
        connection.putheader("Content-Length", str(announced))
        connection.endheaders(body)
        status = connection.getresponse().status
        assert status == (413 if announced > 16 * 1024 * 1024 else 401)
        connection.close()


# --- Addresses -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shown(server: Server) -> str:
    """The address of a picture."""
    upload = by_form(server, photo(7)).json["upload"]
    client, welcome = open_v1(server)
    with client:
        assert ask(client, "m1", "look", upload=upload)["type"] == "reply"
    return path_of(message_of(server, welcome["conversation"], "m1")["image_url"])


def test_caching_and_ranges(server: Server, shown: str) -> None:
    whole = request(server, "GET", shown)
    size = len(whole.body)
    etag = whole.headers["etag"]
    assert whole.headers["cache-control"].startswith("private, max-age=")
    assert whole.headers["cache-control"].endswith(", immutable")
    assert whole.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert whole.headers["cross-origin-resource-policy"] == "cross-origin"
    assert whole.headers["x-content-type-options"] == "nosniff"
    assert whole.headers["content-length"] == str(size)
    head = request(server, "HEAD", shown)
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(size))
    known = request(server, "GET", shown, If_None_Match=f'"x", {etag}')
    assert (known.status, known.body, known.headers["etag"]) == (304, b"", etag)
    part = request(server, "GET", shown, Range="bytes=10-19")
    assert (part.status, part.body) == (206, whole.body[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{size}"
    end = request(server, "GET", shown, Range="bytes=-7", If_Range=etag)
    assert (end.status, end.body) == (206, whole.body[-7:])
    behind = request(server, "GET", shown, Range=f"bytes={size}-")
    assert (behind.status, behind.headers["content-range"]) == (416, f"bytes */{size}")
    assert request(server, "POST", shown).status == 405


def test_addresses_that_do_not_work(server: Server, shown: str) -> None:
    path, _, query = shown.partition("?")
    fields = dict(field.split("=") for field in query.split("&"))
    for wrong in (
        path,
        f"{path}?e={fields['e']}",
        f"{path}?e={int(fields['e']) + 1}&s={fields['s']}",
        f"{path}?e={fields['e']}&s={fields['s'][:-1]}",
        f"{path[:-1]}0?{query}" if path[-1] != "0" else f"{path[:-1]}1?{query}",
        f"/media/uploads/x?{query}",
        f"/media/../secret?{query}",
        f"/media/%2e%2e/secret?{query}",
        f"/media/?{query}",
        "/media",
    ):
        answer = request(server, "GET", wrong)
        assert (answer.status, answer.json["code"]) == (404, "not_found"), wrong


# --- What lasts ------------------------------------------------------------------------------------------------------


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_pictures_survive_a_restart_and_are_erased_with_their_owner(
    own_server: Callable[..., Server], tmp_path: Path
) -> None:
    origin = "https://shop.example"
    settings = {"CSGATE_SERVER__ORIGINS": f'["{origin}"]', "CSGATE_MEDIA__STORE": str(tmp_path / "pictures")}
    first = own_server(**settings)
    content = photo(8)
    client, welcome = open_v1(first)
    with client:
        reply = ask(client, "m1", "look", upload=by_form(first, content).json["upload"])
    other, _ = open_v1(first, "eve")
    with other:
        ask(other, "m1", "look", upload=by_form(first, content, "eve").json["upload"])
    assert first.metric('csgate_media_kept_total{outcome="new"}') == 1
    assert first.metric('csgate_media_kept_total{outcome="repeated"}') == 1
    address = path_of(reply["image_url"])
    before = request(first, "GET", address)
    assert before.status == 200
    # Another origin's page may upload and read.
    preflight = request(
        first,
        "OPTIONS",
        "/v1/uploads",
        Origin=origin,
        Access_Control_Request_Method="PUT",
        Access_Control_Request_Headers="authorization,content-type",
    )
    assert preflight.status == 200
    assert preflight.headers["access-control-allow-origin"] == origin
    read = request(first, "GET", address, Origin=origin)
    assert read.headers["access-control-allow-origin"] == origin
    assert read.headers["vary"] == "Origin"
    assert "access-control-allow-origin" not in request(first, "GET", address, Origin="https://evil.example").headers
    assert first.stop() == 0
    second = start_server(first.data_dir, **settings)
    try:
        again = request(second, "GET", address, If_None_Match=before.headers["etag"])
        assert again.status == 304
        assert request(second, "GET", address).body == before.body
        assert message_of(second, welcome["conversation"], "m1")["image_url"].startswith("/media/pictures/")
    finally:
        assert second.stop() == 0
    folder = tmp_path / "pictures"
    assert any(name.startswith("pictures/") for name in files(folder))
    erase = [sys.executable, "-m", "csgate", "conversations", "erase", "--data-dir", str(first.data_dir), "--subject"]
    environment = {"CSGATE_MEDIA__STORE": str(folder), "PATH": "/usr/bin"}
    done = subprocess.run([*erase, "ann"], env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.startswith("erased 1 conversation of 'ann'\nerased ")
    # Eve sent the same picture: it stays until she goes too.
    key = f"pictures/{hashlib.sha256(content).hexdigest()}"
    assert key in files(folder)
    subprocess.run([*erase, "eve"], env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert {name for name in files(folder) if name != "probe"} == set()


def until_ready(server: Server, wanted: int) -> Any:
    deadline = time.monotonic() + 20
    while True:
        status, body = server.status("/readyz")
        if status == wanted:
            return json.loads(body)
        assert time.monotonic() < deadline, body
        time.sleep(0.05)


def test_a_store_that_is_down_and_comes_back(own_server: Callable[..., Server], tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    server = own_server(CSGATE_MEDIA__STORE=str(folder))
    upload = by_form(server, photo(10)).json["upload"]
    client, welcome = open_v1(server)
    with client:
        ask(client, "m0", "hello")
        folder.rename(tmp_path / "away")
        folder.write_text("no folder")
        # Nobody knows yet: it is accepted, and its turn waits.
        client.send_json({"type": "message", "id": "m1", "text": "look", "image": pictures.base64_text(photo(9))})
        assert client.expect("ack", "error")["type"] == "ack"
        assert until_ready(server, 503)["reasons"] == ["the store of pictures cannot be used"]
        client.send_json({"type": "message", "id": "m2", "image": pictures.base64_text(photo(11))})
        refused = client.expect("error", "reply")
        assert (refused["id"], refused["code"]) == ("m2", "overloaded")
        assert refused["retry_after"] > 0
        client.send_json({"type": "message", "id": "m2", "upload": upload})
        assert client.expect("error", "reply")["code"] == "overloaded"
        for answer in (by_form(server, photo(10)), presigned(server, photo(10))):
            assert (answer.status, answer.json["code"]) == (503, "overloaded")
            assert int(answer.headers["retry-after"]) > 0
        folder.unlink()
        (tmp_path / "away").rename(folder)
        until_ready(server, 200)
        assert final(client, "m1")["type"] == "reply"
        # The very message that was refused, again.
        assert ask(client, "m2", upload=upload)["type"] == "reply"
    for id in ("m1", "m2"):
        url = message_of(server, welcome["conversation"], id)["image_url"]
        assert request(server, "GET", path_of(url)).status == 200
    assert server.metric('csgate_uploads_total{door="file",outcome="overloaded"}') == 1
    assert not [line for line in server.log if line["event"] == "picture_lost"]
