"""Addresses and names that this node signs."""

import math
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csgate.errors import BadEnvelope, NotFound
from csgate.media.keys import conversation_of, is_shown, segment
from csgate.media.signing import Addresses, PutTicket, UploadName, UploadNames

SECRET = b"a secret of this node, or of all that share a store"
KEY = "pictures/" + "ab" * 32
OWNER = ("https://issuer", "tenant", "subject")
NAME = UploadName("MTIzNDU2Nzg5MDEyMzQ1Ng", 12_345, "webp", b"s" * 32, b"o" * 32, 2_000)


class Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def addresses(clock: Clock, *, base_url: str = "", public: bool = False, secret: bytes = SECRET) -> Addresses:
    return Addresses(secret, base_url=base_url, public=public, seconds=100.0, now=clock)


def parts(address: str) -> tuple[str, str]:
    query = parse_qs(urlsplit(address).query)
    return query["e"][0], query["s"][0]


def test_an_address_works_for_at_least_its_time_and_stays_the_same_for_a_while() -> None:
    clock = Clock(1_001.0)
    made = addresses(clock)
    address = made.of(KEY)
    assert address.startswith(f"/media/{KEY}?e=1200&s=")
    clock.now = 1_100.0
    assert made.of(KEY) == address
    assert made.check(KEY, *parts(address)) == 100.0
    clock.now = 1_100.5
    assert made.of(KEY) != address
    clock.now = 1_199.9
    assert made.check(KEY, *parts(address)) == pytest.approx(0.1)
    clock.now = 1_200.0
    with pytest.raises(NotFound):
        made.check(KEY, *parts(address))


def test_another_node_with_the_same_secret_honours_it_and_one_with_another_does_not() -> None:
    clock = Clock(5.0)
    expires, signature = parts(addresses(clock).of(KEY))
    assert addresses(clock).check(KEY, expires, signature) > 0
    with pytest.raises(NotFound):
        addresses(clock, secret=SECRET + b"!").check(KEY, expires, signature)


def test_nothing_of_an_address_can_be_changed() -> None:
    made = addresses(Clock(5.0))
    expires, signature = parts(made.of(KEY))
    other = "pictures/" + "ac" * 32
    for key, e, s in (
        (other, expires, signature),
        (KEY, str(int(expires) + 100), signature),
        (KEY, "0" + expires, signature[:-1]),
        (KEY, expires, signature + "A"),
        (KEY, expires, "é" * 22),
        (KEY, expires, None),
        (KEY, None, signature),
        (KEY, "1e9", signature),
        (KEY, "-5", signature),
        ("../" + KEY, expires, signature),
        ("uploads/x", expires, signature),
        (KEY + "\n", expires, signature),
    ):
        with pytest.raises(NotFound):
            made.check(key, e, s)


def test_public_addresses_last() -> None:
    made = addresses(Clock(5.0), base_url="https://cdn.example/", public=True)
    assert made.of(KEY) == f"https://cdn.example/media/{KEY}"
    assert made.check(KEY, None, None) == math.inf
    with pytest.raises(NotFound):
        made.check("refs/x", None, None)


def test_the_name_of_an_upload_tells_its_owner_everything() -> None:
    names = UploadNames(SECRET, Clock(1_999.0))
    assert names.read(names.write(NAME, OWNER), OWNER) == NAME


@settings(max_examples=60, deadline=None)
@given(
    st.builds(
        UploadName,
        st.just(NAME.id),
        st.integers(1, 2**32 - 1),
        st.sampled_from(["jpeg", "png", "webp", "gif"]),
        st.binary(min_size=32, max_size=32),
        st.binary(min_size=32, max_size=32),
        st.integers(2_000, 2**40),
    ),
    st.tuples(st.text(), st.text(), st.text()),
)
def test_any_name_for_any_owner(name: UploadName, owner: tuple[str, str, str]) -> None:
    names = UploadNames(SECRET, Clock(1_999.0))
    assert names.read(names.write(name, owner), owner) == name


def test_no_name_can_be_written_in_two_ways() -> None:
    names = UploadNames(SECRET, Clock(1_999.0))
    text = names.write(NAME, OWNER)
    assert set(text) & set("-_")  # as it happens
    with pytest.raises(BadEnvelope):
        names.read(text.replace("-", "+").replace("_", "/"), OWNER)


def test_of_no_use_to_others_nor_later() -> None:
    clock = Clock(1_999.0)
    names = UploadNames(SECRET, clock)
    text = names.write(NAME, OWNER)
    for owner in (("https://issuer", "tenant", "other"), ("https://issuer", "tenantsubject", ""), ("\ud800", "", "")):
        with pytest.raises(NotFound):
            names.read(text, owner)
    clock.now = 2_000.0
    with pytest.raises(NotFound):
        names.read(text, OWNER)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.characters())
def test_a_changed_name_is_no_name_or_unknown(at: int, character: str) -> None:
    names = UploadNames(SECRET, Clock(1_999.0))
    text = names.write(NAME, OWNER)
    changed = text[: at % len(text)] + character + text[at % len(text) + 1 :]
    if changed != text:
        with pytest.raises((BadEnvelope, NotFound)):
            names.read(changed, OWNER)


@pytest.mark.parametrize("text", ["", "x", "é" * 144, "*" * 144, "A" * 144, "A" * 1_000_000])
def test_what_is_no_name_is_told_so(text: str) -> None:
    with pytest.raises(BadEnvelope) as caught:
        UploadNames(SECRET, Clock(0.0)).read(text, OWNER)
    assert "upload" in caught.value.text("en")
    assert "upload" in caught.value.text("zh")


def test_leave_to_put() -> None:
    clock = Clock(1_999.0)
    names = UploadNames(SECRET, clock)
    ticket = PutTicket("name", 12, "ab" * 32, 2_000)
    query = {name: value[0] for name, value in parse_qs(names.put_query(ticket)).items()}
    assert names.check_put("name", query) == ticket
    for field, value in (("n", "13"), ("h", "cd" * 32), ("e", "3000"), ("s", "A" * 22), ("n", ""), ("e", "soon")):
        with pytest.raises(NotFound):
            names.check_put("name", query | {field: value})
    with pytest.raises(NotFound):
        names.check_put("other", query)
    with pytest.raises(NotFound):
        names.check_put("name", {})
    clock.now = 2_000.0
    with pytest.raises(NotFound):
        names.check_put("name", query)


@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=60))
def test_any_conversation_has_a_segment_of_its_own(conversation: str) -> None:
    made = segment(conversation)
    assert made.isascii()
    assert "/" not in made
    assert "." not in made
    assert conversation_of(made) == conversation


def test_segments_that_were_not_made_of_anything() -> None:
    for wrong in ("~%", "~_w"):
        with pytest.raises(ValueError):
            conversation_of(wrong)
    assert not is_shown("pictures/ABC")
