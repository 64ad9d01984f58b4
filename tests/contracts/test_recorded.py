"""The recorded exchanges themselves: complete, well formed, and unchanged; and the replayers find what is wrong."""

import copy
from typing import Any

import msgspec
import pytest

from csgate.errors import CloseCode
from csgate.protocol import PROTOCOL_VERSION, ServerEnvelope, decode_text
from csgate.protocol.schema import CLIENT, SERVER
from tests.protocol.test_document import rows, section

from . import client, freeze, server
from .exchange import Mismatch, Values, load, names

EXCHANGES = {name: load(name) for name in names()}
NOT_SHOWN = {
    1000: "either side is done: nothing to replay",
    1002: "a wrong frame, which a WebSocket library does not send",
    1011: "our fault: there is no way to ask for it",
    1013: "a full node: the bounds of the process, not of the protocol",
    4002: "a client that answers no ping, which a WebSocket library does by itself",
    4006: "a message that comes in pieces, slower than allowed",
}


def frames(kind: str) -> list[dict[str, Any]]:
    """Every envelope of that kind of step."""
    found = [step[kind] for one in EXCHANGES.values() for step in one["steps"] if kind in step]
    return [one.get("header", one) if kind == "sent_binary" else one for one in found]


# --- Unchanged -------------------------------------------------------------------------------------------------------


def test_what_was_promised_has_not_changed() -> None:
    wrong = freeze.broken(freeze.sums(), freeze.frozen())
    assert not wrong, freeze.EXPLANATION.format(version=PROTOCOL_VERSION, names=", ".join(wrong))
    new = sorted(set(freeze.sums()) - set(freeze.frozen()))
    assert not new, f"New exchanges are promises from now on: run 'python -m tests.contracts.freeze' for {new}."


def test_every_file_is_of_this_version() -> None:
    assert {one["protocol"] for one in EXCHANGES.values()} == {PROTOCOL_VERSION}


def test_a_changed_exchange_is_found() -> None:
    before = freeze.sums()
    assert freeze.broken(before, before) == []
    (name, *_) = sorted(before)
    assert freeze.broken(before | {name: "0"}, before) == [name]
    assert freeze.broken({}, {name: before[name]}) == [name]
    assert freeze.broken(before | {"new.json": "0"}, before) == []


# --- Complete --------------------------------------------------------------------------------------------------------


def test_every_message_type_is_shown() -> None:
    sent = {one.get("type", "message") for one in frames("sent") + frames("sent_binary")}
    assert {kind.__struct_config__.tag for kind in CLIENT} <= sent
    expected = {one.get("type") for one in frames("expected")}
    assert {kind.__struct_config__.tag for kind in SERVER} <= expected


def test_every_error_is_shown() -> None:
    listed = {
        code.strip("` ")
        for line in section("Errors").splitlines()
        if line.startswith("| `")
        for code in line.split("|")[1].split(",")
    }
    shown = {one["code"] for one in frames("expected") if one.get("type") == "error"}
    assert listed <= shown


def test_every_close_code_is_shown_or_explained() -> None:
    shown = {step["closed"] for one in EXCHANGES.values() for step in one["steps"] if "closed" in step}
    unused = {CloseCode.UNSUPPORTED_DATA, CloseCode.POLICY_VIOLATION}
    assert set(CloseCode) - unused == shown | set(NOT_SHOWN)
    assert not shown & set(NOT_SHOWN)


def test_the_document_lists_what_is_shown() -> None:
    listed = rows(section("What you send (`csgate.v1`)"))
    for one in frames("sent"):
        kind = one.get("type", "message")
        if kind in listed:
            promised = {name.rstrip("?") for name in listed[kind]} | {"type"}
            assert set(one) - promised <= {"x", "colour", "upload"}, one


# --- Well formed -----------------------------------------------------------------------------------------------------


def test_what_a_server_is_recorded_to_say_is_what_the_structs_say() -> None:
    for one in frames("expected"):
        if one["type"] != "a type of tomorrow":
            msgspec.convert(Values().play(one), ServerEnvelope)


def test_what_a_client_is_recorded_to_send_can_be_decoded() -> None:
    for name, exchange in EXCHANGES.items():
        if "client" in exchange["replay"]:
            for step in exchange["steps"]:
                if "sent" in step:
                    data = msgspec.json.encode(Values().play(step["sent"]))
                    assert decode_text(data, simple=False, max_depth=8, max_text_chars=8000), name


# --- The replayers notice --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recorded", "actual"),
    [
        ({"a": 1}, {"a": 2}),
        ({"a": 1}, {}),
        ({"a": 1}, []),
        ({"a": True}, {"a": 1}),
        ([1], [1, 2]),
        ([1], None),
        ({"$string": "x"}, ""),
        ({"$number": 1}, True),
        ({"$number": 1}, "1"),
        ({"$object": {}}, []),
        ({"$array": []}, {}),
        ({"$null": None}, 0),
        ({"$timestamp": "x"}, "2026-01-02"),
        ({"$repeat": ["x", 2]}, "x"),
        ([{"$var": "a"}, {"$var": "a"}], ["1", "2"]),
        ({"$var": "a"}, ""),
        ({"$token": {}}, 5),
    ],
)
def test_what_does_not_fit(recorded: Any, actual: Any) -> None:
    with pytest.raises(Mismatch):
        Values().check(recorded, actual)


def test_what_fits() -> None:
    values = Values()
    values.check(
        {"a": {"$var": "v"}, "b": [{"$var": "v"}, {"$null": None}], "c": {"$null": None}},
        {"a": "x", "b": ["x", None], "more": 1},
    )
    assert values.play({"a": {"$var": "v"}, "b": [{"$var": "w"}], "c": {"$repeat": ["x", 3]}, "d": {"$number": 5}}) == {
        "a": "x",
        "b": ["w"],
        "c": "xxx",
        "d": 5,
    }
    assert values.play({"$token": {"subject": "eve"}}) == "token of eve"
    with pytest.raises(ValueError, match="no matcher"):
        values.check({"$what": 1}, 1)


def changed(name: str, number: int, **step: Any) -> dict[str, Any]:
    exchange = copy.deepcopy(load(name))
    exchange["steps"][number] = step
    return exchange


async def test_a_server_that_does_otherwise_is_found(autojump_clock: Any) -> None:
    for wrong in (
        changed("message", 5, expected={"type": "reply", "text": "re: hello", "offset": 3}),
        changed("message", 5, wait=1),
        changed("token-bad", 2, closed=4503),
        changed("token-bad", 1, closed=4500),
    ):
        with pytest.raises(BaseException) as caught:
            await server.in_memory(wrong)
        assert caught.group_contains(Mismatch) if isinstance(caught.value, BaseExceptionGroup) else False


async def test_a_client_that_does_otherwise_is_found(autojump_clock: Any) -> None:
    for wrong in (
        changed("message", 3, sent={"type": "message", "id": {"$var": "m1"}, "text": "other"}),
        changed("client-resends", 6, expected={"type": "history", "events": []}) | {"events": []},
        load("message") | {"events": []},
    ):
        with pytest.raises((Mismatch, BaseExceptionGroup)):
            await client.replay(wrong)
