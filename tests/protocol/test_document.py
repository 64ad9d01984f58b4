"""docs/protocol.md describes what the code does, and its examples run."""

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from websockets.sync.server import ServerConnection, serve

from csgate import errors
from csgate.errors import CloseCode, CsgateError, PeerError
from csgate.events import AckEvent, ReplyEvent
from csgate.protocol import Hello, Message, Welcome, decode_text, encode, encode_simple, error_event
from csgate.protocol.schema import CLIENT, SERVER, SimpleMessage

DOCUMENT = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
WHEN = "2026-01-02T03:04:05Z"


def section(title: str) -> str:
    return DOCUMENT.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


def rows(text: str) -> dict[str, set[str]]:
    """Type -> fields, of a table whose first two columns they are."""
    found = re.findall(r"^\| `(\w+)` \| (.*?) \|", text, re.MULTILINE)
    return {name: set(re.findall(r"`(\w+\??)`", fields)) for name, fields in found}


def fields_of(kind: type) -> set[str]:
    """Field names, with ``?`` where one may be missing from the JSON."""
    optional = {
        field.name
        for field in msgspec.structs.fields(kind)
        if field.default is None or (field.default == 0 and kind.__struct_config__.omit_defaults)
    }
    return {field.name + ("?" if field.name in optional else "") for field in msgspec.structs.fields(kind)}


def test_every_type_and_field() -> None:
    client = {kind.__struct_config__.tag: fields_of(kind) for kind in CLIENT if kind is not SimpleMessage}
    assert rows(section("What you send (`csgate.v1`)")) == client
    server = {kind.__struct_config__.tag: fields_of(kind) for kind in SERVER}
    told = rows(section("What you get").split("A `reply`:")[0])
    del told["reply"], server["reply"]
    assert told == server


def test_every_field_of_a_reply() -> None:
    table = section("What you get").split("A `reply`:")[1]
    first_columns = " ".join(re.findall(r"^\| (.*?) \|", table, re.MULTILINE))
    assert set(re.findall(r"`(\w+)`", first_columns)) == {field.name for field in msgspec.structs.fields(ReplyEvent)}


def test_every_code() -> None:
    codes = {
        kind.code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, CsgateError) and kind is not errors.ConfigError
    }
    told = section("Errors")
    listed = " ".join(re.findall(r"^\| (`.*?) \|", told, re.MULTILINE))
    assert set(re.findall(r"`(\w+)`", listed)) == codes
    closes = " ".join(re.findall(r"^\| (\d.*?) \|", told, re.MULTILINE))
    assert {int(code) for code in closes.replace(",", " ").split()} == set(CloseCode) - {
        CloseCode.UNSUPPORTED_DATA,
        CloseCode.POLICY_VIOLATION,
    }


# --- The examples ----------------------------------------------------------------------------------------------------


def reply(id: str, text: str) -> ReplyEvent:
    return ReplyEvent(id, 2, text, None, None, (), "", "canned", WHEN)


def converse(socket: ServerConnection) -> None:
    """A gateway of few words, in the mode that the client offers."""
    simple = socket.subprotocol is None
    for frame in socket:
        try:
            envelope: Any = decode_text(str(frame).encode(), simple=simple, max_depth=8, max_text_chars=8000)
        except PeerError as error:
            envelope = error_event(error, "r")
        match envelope:
            case Hello():
                answers = [encode(Welcome("c", "e", 0, False, {}, {}))]
            case Message(id=None, picture=picture):
                answers = [encode_simple(reply("s1", f"picture: {picture is not None}"))]
            case Message(id=str() as id):
                answers = [encode(AckEvent(id, 1)), encode(reply(id, "**On its way**"))]
            case _:
                answers = [encode(envelope)]
        for answer in answers:
            socket.send(answer.decode())


@pytest.fixture
def url() -> Iterator[str]:
    with serve(converse, "127.0.0.1", 0, subprotocols=["csgate.v1"], select_subprotocol=_choose) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}/ws"
        server.shutdown()
        thread.join()


def _choose(_: ServerConnection, offered: Any) -> Any:
    return "csgate.v1" if "csgate.v1" in offered else None


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", DOCUMENT, re.DOTALL)


def test_the_python_examples_run(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sticker.png").write_bytes(b"\x89PNG")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CSGATE_URL", url)
    monkeypatch.setenv("CSGATE_TOKEN", "a.b.c")
    simple, full = blocks("python")
    exec(compile(simple, "simple.py", "exec"), {})
    assert capsys.readouterr().out.splitlines() == ["picture: False", "picture: True"]
    exec(compile(full, "full.py", "exec"), {})
    assert capsys.readouterr().out.splitlines() == ["ack 1", "reply 2", "**On its way**"]


def test_the_javascript_example_is_ten_lines() -> None:
    (example,) = blocks("js")
    assert len(example.splitlines()) <= 10
    sent = re.search(r"JSON\.stringify\((\{.*?\})\)", example)
    assert sent is not None
    frame = re.sub(r"(\w+):", r'"\1":', sent[1])
    assert json.loads(frame) == {"text": "Where is my order 12345?"}
