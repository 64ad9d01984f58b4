"""Pictures in a chat: what is taken in before a message is accepted, and the addresses in what is sent."""

from typing import Any

import msgspec
import pytest
from tests.gateway.conftest import Gate, OpenGate

from csgate.errors import BadEnvelope, BadImage, MediaUnavailable, NotFound
from csgate.events import Draft, Picture
from csgate.session import Turn


class FakeAlbum:
    """Uploads are named ``<owner>-<content>``; pictures above five bytes get a key."""

    def __init__(self) -> None:
        self.trouble: str | None = None
        self.received = 0
        self.kept: list[tuple[str, str | None]] = []
        self.error: Exception | None = None

    async def receive(self, picture: Picture) -> Picture:
        self.received += 1
        data = bytes(picture.data)
        reference = "data:image/png;base64,AA" if len(data) <= 5 else f"pictures/{data.decode()}"
        return msgspec.structs.replace(picture, reference=reference)

    async def claim(self, upload: str, owner: tuple[str, str, str]) -> Picture:
        whose, _, content = upload.partition("-")
        if not content:
            raise BadEnvelope(public="The field 'upload' does not name an upload.")
        if whose != owner[2]:
            raise NotFound
        if content == "broken":
            raise BadImage
        return Picture(content.encode(), "binary", f"pictures/{content}")

    async def keep(self, conversation: str, picture: Picture) -> None:
        if self.error is not None:
            raise self.error
        self.kept.append((conversation, picture.reference))

    def address(self, reference: str) -> str:
        return reference if reference.startswith("data:") else f"/media/{reference}?s=1"


@pytest.fixture
def album(gate: Gate) -> FakeAlbum:
    made = FakeAlbum()
    gate.change(album=made, limits={"inline_bytes": 5, "upload_bytes": 10, "presign": 1})

    async def answer(turn: Turn) -> Draft:
        assert turn.picture is None or turn.picture.reference is not None
        return Draft(text=f"re: {turn.text}", image_url=None if turn.picture is None else "results/1")

    gate.conversations._office.answer = answer
    return made


async def test_addresses_live_and_in_history(autojump_clock: Any, gate: Gate, album: FakeAlbum) -> None:
    ann, welcome = await gate.v1()
    assert welcome["limits"] | {"inline_bytes": 5, "upload_bytes": 10, "presign": 1} == welcome["limits"]
    await ann.ask("before")
    tab, _ = await gate.v1(conversation=welcome["conversation"])
    await ann.say_binary(b"a large picture", type="message", id="a", text="look")
    reply = await ann.expect("reply")
    assert reply["image_url"] == "/media/results/1?s=1"
    assert (await tab.expect("message"))["image_url"] == "/media/pictures/a large picture?s=1"
    assert (await tab.expect("reply"))["image_url"] == "/media/results/1?s=1"
    await ann.say(type="message", id="b", image="tiny")
    assert (await tab.expect("message"))["image_url"] == "data:image/png;base64,AA"
    await ann.expect("reply")
    late, _ = await gate.v1(conversation=welcome["conversation"])
    history = (await late.expect("history"))["events"]
    assert [event.get("image_url") for event in history] == [
        None,
        None,
        "/media/pictures/a large picture?s=1",
        "/media/results/1?s=1",
        "data:image/png;base64,AA",
        "/media/results/1?s=1",
    ]


async def test_uploads(autojump_clock: Any, gate: Gate, album: FakeAlbum) -> None:
    ann, _ = await gate.v1()
    await ann.say(type="message", id="a", upload="ann-sunset")
    assert (await ann.receive())["type"] == "ack"
    assert (await ann.expect("reply"))["id"] == "a"
    await ann.say(type="message", id="a", upload="ann-sunset")
    assert (await ann.receive())["type"] == "ack"
    for upload, code in (("u1", "bad_envelope"), ("eve-sunset", "not_found"), ("ann-broken", "bad_image")):
        await ann.say(type="message", id=upload, text="hi", upload=upload)
        error = await ann.receive()
        assert (error["type"], error["code"], error["id"]) == ("error", code, upload)
        assert "offset" not in error or error["offset"] == 0
    await ann.say(type="message", id="a", upload="ann-sunrise")
    assert (await ann.receive())["code"] == "duplicate_mismatch"
    assert album.received == 0


async def test_uploads_and_addresses_in_simple_mode(autojump_clock: Any, gate: Gate, album: FakeAlbum) -> None:
    ann = await gate.simple()
    await ann.say(text="hi")
    await ann.say(upload="ann-sunset")
    await ann.say(text="hi", upload="eve-sunset")
    answers = [await ann.receive() for _ in range(3)]
    assert [answer.get("image_url") for answer in answers] == [None, "/media/results/1?s=1", None]
    assert answers[2]["code"] == "not_found"


@pytest.mark.parametrize("simple", [True, False])
async def test_without_a_store_there_are_no_uploads(autojump_clock: Any, gate: Gate, simple: bool) -> None:
    ann = await gate.simple() if simple else (await gate.v1())[0]
    await ann.say(id="a", text="hi", upload="u1")
    error = await ann.receive()
    assert (error["code"], error["message"]) == (
        "bad_envelope",
        "Uploads are not available; send the picture in the message.",
    )


async def test_pictures_are_refused_while_their_store_is_down(
    autojump_clock: Any, gate: Gate, album: FakeAlbum
) -> None:
    """Those that the log itself keeps are not, and words neither."""
    album.trouble = "the store of pictures does not answer"
    ann, _ = await gate.v1()
    await ann.say_binary(b"a large picture", type="message", id="a")
    error = await ann.receive()
    assert (error["code"], error["id"], error["message"]) == ("overloaded", "a", MediaUnavailable.safe_en)
    assert error["retry_after"] > 0
    await ann.say(type="message", id="b", upload="ann-sunset")
    assert (await ann.receive())["code"] == "overloaded"
    await ann.say(type="message", id="c", image="tiny")
    assert (await ann.expect("reply", "error"))["type"] == "reply"
    album.trouble = None
    await ann.say_binary(b"a large picture", type="message", id="a")
    assert (await ann.expect("reply", "error"))["type"] == "reply"


async def test_a_persons_picture_is_kept_before_the_ack(autojump_clock: Any, gate: Gate, album: FakeAlbum) -> None:
    """No turn would see to it."""
    ann, welcome = await gate.v1()
    await ann.ask("before")
    conversation = welcome["conversation"]
    bob, _ = await gate.v1("bob", claims={"role": "agent"}, conversation=conversation)
    album.error = MediaUnavailable("away", retry_after=5.0)
    await bob.say_binary(b"a large picture", type="message", id="x")
    assert (await bob.expect("ack", "error"))["code"] == "overloaded"
    album.error = None
    await bob.say_binary(b"a large picture", type="message", id="x")
    assert (await bob.expect("ack", "error"))["id"] == "x"
    await bob.say(type="message", id="y", text="words")
    assert album.kept == [(conversation, "pictures/a large picture")]
    shown = await ann.expect("message")
    assert (shown["author"], shown["image_url"]) == ("human", "/media/pictures/a large picture?s=1")


async def test_a_reference_without_a_store_is_not_told(open_gate: OpenGate, autojump_clock: Any) -> None:
    """It was switched off after pictures were kept."""
    async with open_gate() as gate:

        async def answer(turn: Turn) -> Draft:
            return Draft(text="ok", image_url="results/1")

        gate.conversations._office.answer = answer
        ann, _ = await gate.v1()
        assert "image_url" not in await ann.ask("a")
