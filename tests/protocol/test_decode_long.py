"""Messages with a long string: taken out before parsing, with the same result as without."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csgate.errors import CsgateError
from csgate.events import Picture
from csgate.protocol import decode
from csgate.protocol.client import Message

LONG = "QUJD" * 3000
OPTIONS = {"max_depth": 8, "max_text_chars": 8000}


def outcome(data: bytes | bytearray | memoryview, simple: bool) -> object:
    try:
        found = decode.decode_text(data, simple=simple, **OPTIONS)
    except CsgateError as error:
        return type(error), error.text()
    if isinstance(found, Message) and found.picture is not None:
        return found.id, found.text, bytes(found.picture.data), found.picture.encoding
    return found


def test_the_picture_is_a_view_of_the_message() -> None:
    data = bytearray(json.dumps({"id": "m1", "text": "grüß", "image": LONG}).encode())
    found = decode.decode_text(data, simple=False, **OPTIONS)
    assert isinstance(found, Message)
    assert found.picture is not None
    assert isinstance(found.picture.data, memoryview)
    assert found.picture.data.obj is data
    assert (found.id, found.text) == ("m1", "grüß")
    assert found.picture == Picture(memoryview(LONG.encode()), "base64")


MESSAGES = {
    "image last": {"text": "t", "image": LONG},
    "image first": {"image": LONG, "text": "t"},
    "image only": {"image": LONG},
    "escapes before": {"text": 'say "hi" \\ \n', "image": LONG},
    "escapes behind": {"image": LONG, "text": 'say "hi" \\ \n'},
    "escape in the image": {"text": "t", "image": LONG + "/\n" + LONG},
    "long text": {"text": LONG, "image": "QUJD"},
    "two long ones": {"text": "a" * 7000, "image": LONG},
    "text too long": {"text": LONG * 3, "image": LONG},
    "long id": {"id": LONG, "text": "t", "image": "QUJD"},
    "long in an unknown field": {"extra": LONG, "text": "t", "image": LONG},
    "long in a nested field": {"extra": {"deep": [LONG]}, "text": "t"},
    "unknown field beside": {"text": "t", "image": LONG, "extra": {"a": [1, "x"]}},
    "image in an array": {"text": "t", "image": [LONG]},
    "upload": {"upload": LONG, "text": "t"},
    "another type": {"type": "ping", "t": LONG},
    "unknown type": {"type": LONG},
    "the stand-in as text": {"text": "csgate: a long string stood here", "image": LONG},
    "the stand-in as image": {"text": LONG[:7000], "image": "csgate: a long string stood here"},
    "many strings first": {**{f"k{i}": "v" for i in range(20)}, "image": LONG},
    "text of the wrong type": {"text": 5, "image": LONG},
    "data URL": {"text": "t", "image": "data:image/png;base64," + LONG},
}


@pytest.mark.parametrize("simple", [True, False])
@pytest.mark.parametrize("name", list(MESSAGES))
def test_as_without(name: str, simple: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytearray(json.dumps({"id": "m1", **MESSAGES[name]}, ensure_ascii=False).encode())
    lifted = outcome(data, simple)
    monkeypatch.setattr(decode, "_LIFT_BYTES", 10**9)
    assert lifted == outcome(data, simple)


STAND_IN = "csgate: a long string stood here"
SPELT = "\\u0063" + STAND_IN[1:]
WRITTEN = {
    "the stand-in spelt with an escape as image": f'"junk":"{LONG}","image":"{SPELT}"',
    "and a long text": f'"text":"{LONG}","image":"{SPELT}"',
    "and a long key": f'"{LONG}":1,"image":"{SPELT}"',
    "and an earlier image": f'"image":"{LONG}","image":"{SPELT}"',
    "an earlier image": f'"image":"{LONG}","image":"QUJD"',
    "a later image": f'"image":"QUJD","image":"{LONG}"',
    "much besides": f'"junk":"{LONG * 20}","image":"{SPELT}"',
    "a control character in the media type": f'"image":"data:im\x01age/png;base64,{LONG}"',
    "a line in the media type": f'"image":"DATA:image/png\n;base64,{LONG}"',
    "a media type without an end": f'"image":"data:{LONG}"',
}


@pytest.mark.parametrize("name", list(WRITTEN))
def test_as_without_as_written(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = ('{"id":"m1",' + WRITTEN[name] + "}").encode()
    lifted = outcome(data, False)
    monkeypatch.setattr(decode, "_LIFT_BYTES", 10**9)
    assert lifted == outcome(data, False)


@pytest.mark.parametrize("cut", [0, 1, 20, 5000, -1, -2, -3])
def test_broken_json_is_refused_the_same(cut: int, monkeypatch: pytest.MonkeyPatch) -> None:
    data = json.dumps({"id": "m1", "text": "t", "image": LONG}).encode()
    data = data[:cut] + b"\x01" + data[cut + 1 :] if cut >= 0 else data[:cut]
    lifted = outcome(data, False)
    monkeypatch.setattr(decode, "_LIFT_BYTES", 10**9)
    if cut != 5000:  # a control character inside the picture: said by the Base64 decoder
        assert lifted == outcome(data, False)


@given(
    st.lists(st.sampled_from(['"', "\\", "{", "}", ":", ",", '"image"', '"text"', "x" * 5000, "a", " "]), max_size=14)
)
def test_any_soup_is_judged_the_same(parts: list[str]) -> None:
    data = ("".join(parts) + " " * 9000).encode()
    view = memoryview(data)  # a view is not lifted
    assert outcome(data, True) == outcome(view, True)
