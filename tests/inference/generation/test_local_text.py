from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from csgate.inference.generation.local_text import Detokenizer, StopStrings, TextStream

TEXTS = ("您的订单 12345 已经发货 😀 thanks!", "a  b\n\nc", "👩‍👩‍👧‍👦 naïve café 你好")


def bytewise(ids: Sequence[int]) -> str:
    """A vocabulary of bytes; 256 is a special token, which has no text."""
    return bytes(token for token in ids if token < 256).decode("utf-8", "replace")


@pytest.mark.parametrize("text", TEXTS)
def test_characters_come_whole_one_byte_at_a_time(text: str) -> None:
    detokenizer = Detokenizer(bytewise)
    pieces = [detokenizer.push(byte) for byte in text.encode()]
    assert "".join(pieces) + detokenizer.finish() == text
    assert not any("\ufffd" in piece for piece in pieces)
    assert sum(map(bool, pieces)) == len(text)


@pytest.mark.parametrize("text", TEXTS)
def test_a_real_byte_level_tokenizer_gives_the_text_back(llama: Path, text: str) -> None:
    tokenizer = Tokenizer.from_file(str(llama / "tokenizer.json"))
    detokenizer = Detokenizer(lambda ids: tokenizer.decode(list(ids)))
    pieces = [detokenizer.push(token) for token in tokenizer.encode(text).ids]
    assert "".join(pieces) + detokenizer.finish() == text


def test_a_character_that_never_becomes_whole_is_left_out() -> None:
    detokenizer = Detokenizer(bytewise)
    assert [detokenizer.push(byte) for byte in (0x61, 0xE4, 0xBD)] == ["a", "", ""]
    assert detokenizer.finish() == ""


def test_bytes_that_are_no_character_do_not_hold_back_what_follows() -> None:
    detokenizer = Detokenizer(bytewise)
    text = "".join(detokenizer.push(token) for token in (0x80,) * 6 + tuple(b"abc"))
    assert text + detokenizer.finish() == "abc"


def test_a_special_token_has_no_text_and_changes_nothing() -> None:
    detokenizer = Detokenizer(bytewise)
    assert [detokenizer.push(token) for token in (0x61, 256, 0x62)] == ["a", "", "b"]
    assert detokenizer.finish() == ""


def stopped_at(pieces: Sequence[str], stops: Sequence[str]) -> tuple[str, bool]:
    gate = StopStrings(stops)
    shown = ""
    for piece in pieces:
        shown += gate.push(piece)
        if gate.met:
            return shown, True
    return shown + gate.finish(), False


@given(st.text("abX", max_size=12), st.lists(st.text("abX", min_size=1, max_size=3), max_size=3), st.data())
def test_a_stop_string_never_shows_however_it_is_cut(text: str, stops: list[str], data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=4)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    at = min((at for stop in stops if (at := text.find(stop)) >= 0), default=None)
    shown, met = stopped_at(pieces, stops)
    assert met == (at is not None)
    if at is None:
        assert shown == text
    else:
        assert text.startswith(shown)
        assert not any(stop in shown for stop in stops)


def test_text_that_only_begins_like_a_stop_string_is_shown_at_the_end() -> None:
    assert stopped_at(["say S", "TO", "Q", " and ST"], ["STOP", ""]) == ("say STOQ and ST", False)


def test_the_stream_ends_at_a_stop_string_within_characters() -> None:
    stream = TextStream(bytewise, ["订单"])
    pieces = []
    for byte in "您的订单号".encode():
        pieces.append(stream.push(byte))
        if stream.stopped:
            break
    assert "".join(pieces) == "您的"
    assert stream.stopped


def test_the_stream_gives_the_rest_when_it_is_finished() -> None:
    stream = TextStream(bytewise, ["END!"])
    assert "".join(stream.push(byte) for byte in b"the EN") == "the "
    assert stream.finish() == "EN"


def test_a_stop_string_may_be_met_by_what_was_held_back() -> None:
    stream = TextStream(lambda ids: "ab\ufffd" if len(ids) == 1 else "", ["b"])
    assert stream.push(1) == ""
    assert (stream.finish(), stream.stopped) == ("a", True)
