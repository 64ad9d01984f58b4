"""The body of a completion: what is taken, what is refused, and what the refusal says."""

import json
from typing import Any

import pytest

from csgate.errors import BadJson, CsgateError, TooLarge
from csgate.gateway.completions_request import (
    MAX_MESSAGES,
    MAX_PICTURES,
    TEXTS_A_REQUEST,
    Asked,
    BadRequest,
    parse_chat_request,
)

CHARS = 100


def parse(body: bytes | None = None, **fields: Any) -> Asked:
    asked = {"model": "csgate", "messages": [{"role": "user", "content": "hi"}]} | fields
    return parse_chat_request(body or json.dumps(asked).encode(), max_depth=8, max_text_chars=CHARS)


def refusal(**fields: Any) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        parse(**fields)
    return caught.value


def picture(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def test_the_smallest_request() -> None:
    asked = parse()
    assert (asked.model, asked.stream, asked.include_usage, asked.picture_bytes) == ("csgate", False, False, 0)
    assert (asked.temperature, asked.top_p, asked.max_tokens, asked.seed, asked.stop) == (None,) * 5


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tools", []),
        ("tools", None),
        ("tool_choice", "none"),
        ("logprobs", False),
        ("top_logprobs", 0),
        ("audio", None),
        ("modalities", ["text"]),
        ("response_format", {"type": "text"}),
        ("frequency_penalty", 0),
        ("presence_penalty", 0.0),
        ("logit_bias", {}),
        ("n", 1),
        ("n", None),
        ("store", False),
        ("functions", []),
        ("user", "ann"),
        ("metadata", {"a": "b"}),
        ("parallel_tool_calls", True),
        ("stream_options", {"include_usage": False, "include_obfuscation": False}),
        ("something_new", None),
    ],
)
def test_fields_that_ask_for_nothing_are_taken(name: str, value: Any) -> None:
    assert parse(**{name: value}).model == "csgate"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tools", [{"type": "function", "function": {"name": "f"}}]),
        ("tool_choice", "required"),
        ("functions", [{"name": "f" * 300}]),
        ("logprobs", True),
        ("top_logprobs", 3),
        ("audio", {"voice": "alloy"}),
        ("modalities", ["text", "audio"]),
        ("response_format", {"type": "json_object"}),
        ("frequency_penalty", 0.5),
        ("logit_bias", {"50256": -100}),
        ("store", True),
        ("prediction", {"type": "content", "content": "x"}),
        ("web_search_options", {"a": 1}),
        ("something_new", 7),
    ],
)
def test_fields_that_cannot_be_honoured_are_refused(name: str, value: Any) -> None:
    error = refusal(**{name: value})
    assert (error.param, error.reason) == (name, "unsupported_parameter")
    assert name in error.text()


def test_one_answer_a_request() -> None:
    for count in (0, 2, "1"):
        error = refusal(n=count)
        assert (error.text(), error.param, error.reason) == ("Only n=1 is supported.", "n", "unsupported_value")


def test_a_strange_field_is_not_repeated() -> None:
    error = refusal(**{"x" * 200: 1})
    assert "a field" in error.text()
    assert error.param is not None
    assert len(error.param) == 128


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": ""}, "model"),
        ({"model": 3}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [{"role": "user", "content": "hi"}] * (MAX_MESSAGES + 1)}, "messages"),
        ({"messages": [{"content": "hi"}]}, "messages[0]"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": [{"text": "hi"}]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": " "}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": []}]}, "messages[0].content"),
        ({"messages": [{"role": "tool", "content": "hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "assistant", "content": "hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": "hi", "tool_calls": [{"id": "1"}]}]}, "messages[0].tool_calls"),
        ({"messages": [{"role": "user", "content": "hi", "audio": {"id": "1"}}]}, "messages[0].audio"),
        ({"temperature": 2.5}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": -0.1}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": 1.5}, "max_completion_tokens"),
        ({"seed": 2**70}, "seed"),
        ({"stop": ""}, "stop"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"stop": "x" * 65}, "stop"),
        ({"stop": [1]}, "stop[0]"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], param: str) -> None:
    error = refusal(**fields)
    assert error.param == param
    assert error.text().endswith(".")
    assert "$" not in error.text()


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"model": "\\ud800"}', b"[" * 100_000])
def test_what_is_no_json(body: bytes) -> None:
    with pytest.raises((BadJson, BadRequest)):
        parse(body or b" ")


def test_an_object_is_expected() -> None:
    with pytest.raises(BadRequest) as caught:
        parse(b"[]")
    assert caught.value.param is None


def test_nesting_is_bounded_in_fields_that_are_not_read_too() -> None:
    deep: Any = []
    for _ in range(8):
        deep = [deep]
    error = refusal(user=deep)
    assert "levels deep" in error.text()
    assert parse(user="[[[[[[[[[[[[").model == "csgate"


def test_texts_are_bounded() -> None:
    whole = [{"role": "user", "content": "x" * CHARS}]
    assert parse(messages=whole * TEXTS_A_REQUEST).utterances
    for messages in ([{"role": "user", "content": "x" * (CHARS + 1)}], whole * (TEXTS_A_REQUEST + 1)):
        with pytest.raises(TooLarge) as caught:
            parse(messages=messages)
        assert "00 characters" in caught.value.text()
        assert "个字符" in caught.value.text("zh")


def test_parts_become_one_text() -> None:
    said: list[Any] = [
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}, {"type": "text", "text": "sorry"}]},
        {"role": "user", "content": [{"type": "text", "text": "a"}, picture("data:,x"), {"type": "text", "text": "b"}]},
    ]
    refused, asked = parse(messages=said).utterances
    assert (refused.text, asked.text) == ("no\nsorry", "a\nb")
    assert parse(messages=[{"role": "user", "content": [picture("DATA:image/png;base64,AA==")]}]).picture_bytes == 26


@pytest.mark.parametrize(
    "url", ["http://a.example/x.png", "https://a.example/x.png", "file:///etc/passwd", "x.png", "", "//a.example/x"]
)
def test_links_are_refused(url: str) -> None:
    error = refusal(messages=[{"role": "user", "content": [{"type": "text", "text": "see"}, picture(url)]}])
    assert error.param == "messages[0].content[1].image_url.url"
    assert error.reason == "unsupported_image_url"
    assert "data: URL" in error.text()
    assert ("not followed" in error.text()) is (":" in url)


def test_pictures_are_the_users_and_not_too_many() -> None:
    one = picture("data:image/png;base64,AA==")
    assert "user's" in refusal(messages=[{"role": "system", "content": [one]}]).text()
    assert str(MAX_PICTURES) in refusal(messages=[{"role": "user", "content": [one] * (MAX_PICTURES + 1)}]).text()
    assert refusal(messages=[{"role": "user", "content": [picture("data:图")]}]).reason == "bad_base64"


def test_the_smaller_of_two_limits_holds() -> None:
    assert parse(max_tokens=5, max_completion_tokens=9).max_tokens == 5
    assert parse(max_completion_tokens=9).max_tokens == 9
    assert parse(stop="END").stop == ("END",)


def test_refusals_are_csgates() -> None:
    assert issubclass(BadRequest, CsgateError)
    assert BadRequest.http_status == 400


@pytest.mark.parametrize("name", ["tool_calls", "function_call", "audio"])
@pytest.mark.parametrize("value", [b'"\xff"', b"1e999", b'["\xc3("]'])
def test_what_is_wrong_in_a_field_that_is_not_read_is_the_request_s_fault(name: str, value: bytes) -> None:
    message = b'{"role": "user", "content": "hi", "%b": %b}' % (name.encode(), value)
    with pytest.raises((BadJson, BadRequest)):
        parse(b'{"model": "csgate", "messages": [%b]}' % message)
