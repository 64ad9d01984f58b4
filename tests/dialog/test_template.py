"""Templates: places, optional parts, escaping, choice of variant."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csgate.dialog.template import MAX_VALUE_CHARS, Template, escape_markdown, pick, plain


def test_places_and_optional_parts() -> None:
    template = Template.parse("Order **{order_number}**[[ for {amount}]][[ on {date}]].")
    assert template.needed == {"order_number"}
    assert template.optional == {"amount", "date"}
    assert template.render({"order_number": "12345"}) == "Order **12345**."
    assert template.render({"order_number": "12345", "date": "today"}) == "Order **12345** on today."


def test_an_optional_part_needs_all_its_slots() -> None:
    template = Template.parse("A[[ {amount} on {date}]]")
    assert template.render({"amount": "1"}) == "A"
    assert template.render({"amount": "1", "date": "2"}) == "A 1 on 2"


def test_missing_needed_slot() -> None:
    with pytest.raises(KeyError):
        Template.parse("{amount}").render({})


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("  ", "blank"),
        ("a {b", "brace"),
        ("a b}", "brace"),
        ("{Order}", "brace"),
        ("{}", "brace"),
        ("[[ {amount}", "partner"),
        ("{amount} ]]", "partner"),
        ("[[ nothing ]]", "without a"),
    ],
)
def test_wrong_templates(source: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Template.parse(source)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("12345", "12345"),
        ("ORD-1143", "ORD-1143"),
        ("$49.99", "$49.99"),
        ("a_b@x.com", "a\\_b@x.com"),
        ("**bold**", "\\*\\*bold\\*\\*"),
        ("[x](javascript:alert(1))", "\\[x\\](javascript:alert(1))"),
        ("<script>&", "&lt;script&gt;&amp;"),
        ("`code`", "\\`code\\`"),
        ("a\nb\r\n# c", "a b \\# c"),
        ("\x00a\u202eb", "a b"),
        ("http://evil.example", "http:\u2060//evil.example"),
        ("www.evil.example", "www\u2060.evil.example"),
        ("\\", "\\\\"),
        ("~~x~~ | y", "\\~\\~x\\~\\~ \\| y"),
    ],
)
def test_escape(value: str, shown: str) -> None:
    assert escape_markdown(value) == shown


def test_long_values_are_cut() -> None:
    assert len(plain("x" * 500)) == MAX_VALUE_CHARS
    assert plain("x" * MAX_VALUE_CHARS) == "x" * MAX_VALUE_CHARS


@given(st.text(max_size=200))
def test_nothing_that_was_put_in_is_markup(value: str) -> None:
    shown = escape_markdown(value)
    assert "\n" not in shown
    assert "<" not in shown
    assert ">" not in shown
    assert "://" not in shown
    bare = shown
    for sign in "\\`*_[]|~#":
        bare = bare.replace("\\" + sign, "")
    assert not set(bare) & set("\\`*_[]|~#")


def test_a_message_keeps_its_variant_and_messages_differ() -> None:
    variants = tuple(Template.parse(text) for text in ("one", "two", "three"))
    chosen = {pick(variants, f"m{index}", "reply").render({}) for index in range(40)}
    assert chosen == {"one", "two", "three"}
    assert all(pick(variants, "m1", "reply") is pick(variants, "m1", "reply") for _ in range(5))
    assert pick(variants, "\ud800", "reply") in variants
