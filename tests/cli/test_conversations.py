"""``csgate conversations`` on a file that a store wrote, with and without a server on it."""

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio
from PIL import Image

from csgate.cli.main import main
from csgate.config import SessionSettings, load_config
from csgate.errors import BadImage, NotFound
from csgate.events import Draft, ErrorEvent, Event, Picture, Principal, ReplyEvent
from csgate.media import open_media
from csgate.session import Attachment, Conversations, Turn, open_conversations
from csgate.session.sqlite import open_sqlite_store
from csgate.telemetry import Telemetry

ANN = Principal("ann", tenant="t1", issuer="shop")
NAMESAKE = Principal("ann", tenant="t2", issuer="shop")
BOB = Principal("bob\x1b[31m")


class Sink:
    def __init__(self) -> None:
        self.replied = trio.Event()
        self.gone = trio.Event()

    def deliver(self, event: Event) -> None:
        if isinstance(event, ReplyEvent | ErrorEvent):
            self.replied.set()

    def detached(self) -> None:
        self.gone.set()


async def answer(turn: Turn) -> Draft:
    if turn.text == "hold":
        await trio.sleep_forever()
    if turn.text == "refuse":
        raise BadImage
    return Draft(text=f"re: {turn.text}", hand_over=turn.text == "person")


Work = Callable[[Conversations], Any]


def serve(folder: Path, work: Work) -> Any:
    """Runs ``work`` with the conversations of a process that serves from ``folder``."""

    async def process() -> Any:
        settings = SessionSettings(durability="normal")
        with trio.fail_after(30):
            async with (
                open_sqlite_store(folder, settings, Telemetry()) as store,
                open_conversations(
                    store, answer, settings, Telemetry(), now=lambda: datetime(2026, 1, 2, tzinfo=UTC)
                ) as conversations,
            ):
                return await work(conversations)

    return trio.run(process)


async def say(conversations: Conversations, who: Principal, *texts: str, rating: int = 0) -> Attachment:
    sink = Sink()
    attachment = await conversations.attach(who, sink)
    for number, text in enumerate(texts):
        sink.replied = trio.Event()
        await attachment.submit(f"m{number}", text, None)
        await sink.replied.wait()
    if rating:
        await attachment.rate("m0", rating)
    return attachment


@pytest.fixture
def data(tmp_path: Path) -> Path:
    async def work(conversations: Conversations) -> None:
        await say(conversations, NAMESAKE, "I am another Ann", "refuse", rating=2)
        await say(conversations, BOB, "two\nlines \x1b[2J", "person")
        for number in range(20):
            await say(conversations, ANN, f"text {number}", rating=4)
        await conversations.drained()

    serve(tmp_path, work)
    return tmp_path


def run(data: Path, *arguments: str) -> int:
    return main(["conversations", *arguments, "--data-dir", str(data)])


def test_list(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(data, "list") == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["CONVERSATION", "SUBJECT", "TENANT", "EVENTS", "STATE", "LAST", "ACTIVE"]
    assert len(lines) == 22
    assert lines[0].split()[1:] == ["ann", "t1", "3", "bot", "2026-01-02T00:00:00.000Z"]
    assert "waiting" in lines[-2]
    assert "\x1b" not in "".join(lines)
    assert run(data, "list", "--subject", "ann", "--limit", "3") == 0
    assert len(capsys.readouterr().out.splitlines()) == 4


def test_show(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(data, "list", "--limit", "22")
    *_, bob, namesake = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert run(data, "show", bob) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "    1  2026-01-02T00:00:00.000Z  customer: two",
        "                                 lines  [2J",
        "    2  2026-01-02T00:00:00.000Z  reply: re: two",
        "                                 lines  [2J",
        "    3  2026-01-02T00:00:00.000Z  customer: person",
        "    4  2026-01-02T00:00:00.000Z  reply: re: person",
        "    5  2026-01-02T00:00:00.000Z  state: waiting",
    ]
    assert run(data, "show", namesake) == 0
    head, *_, refused, rated = capsys.readouterr().out.splitlines()
    assert "tenant 't2', issuer 'shop', state bot" in head
    assert refused.endswith("error bad_image: The picture is damaged and cannot be opened.")
    assert rated.endswith("rated 2")
    assert run(data, "show", "nobody") == 1
    assert "There is no conversation 'nobody'" in capsys.readouterr().err


def test_export_and_erase_one_customer(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(data, "export", "--subject", "ann") == 2
    assert "tenant 't1' of issuer 'shop', tenant 't2' of issuer 'shop'" in capsys.readouterr().err
    assert run(data, "export", "--subject", "ann", "--tenant", "t1") == 0
    entries = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(entries) == 20 * 4
    about, message, reply, rate = entries[:4]
    assert (about["type"], about["subject"], about["tenant"], about["issuer"]) == ("conversation", "ann", "t1", "shop")
    assert {message["conversation"], reply["conversation"]} == {about["id"]}
    assert (message["text"], reply["text"], rate["score"]) == ("text 0", "re: text 0", 4)
    assert run(data, "erase", "--subject", "ann", "--tenant", "t1", "--issuer", "shop") == 0
    assert capsys.readouterr().out == "erased 20 conversations of 'ann'\n"
    assert run(data, "export", "--subject", "ann") == 0
    assert len(capsys.readouterr().out.splitlines()) == 6
    assert run(data, "erase", "--subject", "ann") == 0
    assert capsys.readouterr().out == "erased 1 conversation of 'ann'\n"
    kept = b"".join(file.read_bytes() for file in data.rglob("*") if file.is_file())
    assert b"text 1" not in kept
    assert b"another Ann" not in kept
    assert b"two" in kept


def test_erased_while_it_is_in_use(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def work(conversations: Conversations) -> None:
        before = conversations.count
        sink = Sink()
        talking = await conversations.attach(ANN, sink)
        await talking.submit("m", "hold", None)
        waiting = await say(conversations, ANN, "person")
        other = await say(conversations, NAMESAKE, "hi")
        assert conversations.count == before + 3
        erased = await trio.to_thread.run_sync(run, data, "erase", "--subject", "ann", "--tenant", "t1")
        assert erased == 0
        await sink.gone.wait()
        with pytest.raises(trio.ClosedResourceError):
            await talking.submit("n", "hi", None)
        for gone in (talking, waiting):
            with pytest.raises(NotFound):
                await conversations.attach(ANN, Sink(), conversation=gone.conversation)
        await conversations.drained()
        assert conversations.count == before + 3 - 22
        assert conversations.live == 1
        assert (await other.submit("n", "hi", None)).offset == 3
        # The customer begins anew.
        assert (await (await conversations.attach(ANN, Sink())).submit("m", "hello", None)).offset == 1

    serve(data, work)
    assert capsys.readouterr().out == "erased 22 conversations of 'ann'\n"


def test_what_cannot_be_done_is_one_sentence(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(tmp_path / "nowhere", "list") == 2
    assert "There are no conversations in" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run(data, "list", "--limit", "none")
    capsys.readouterr()
    file = data / "csgate.db"
    whole = bytearray(file.read_bytes())
    for page in range(2, len(whole) // 4096):
        whole[page * 4096 : page * 4096 + 8] = b"\xff" * 8
    file.write_bytes(whole)
    assert run(data, "list") == 1
    assert "cannot be read or changed: database disk image is malformed." in capsys.readouterr().err


def keep_a_picture(folder: Path, conversation: str) -> None:
    """As the gateway would, of something that was said there."""

    async def known(conversation: str) -> bool:
        return True

    async def keep() -> None:
        settings = load_config(environ={}).media
        async with open_media(settings, folder, b"s" * 32, Telemetry(), max_pixels=10**6, known=known) as media:
            noise = np.random.default_rng(1).integers(0, 256, (90, 90, 3), np.uint8)
            out = io.BytesIO()
            Image.fromarray(noise).save(out, "PNG")
            await media.keep(conversation, await media.receive(Picture(out.getvalue(), "binary")))

    trio.run(keep)


def kept_files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder).parts[0]) for path in folder.rglob("*") if path.is_file()}


def test_pictures_are_erased_with_their_conversation(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(data, "list", "--subject", "ann", "--limit", "1") == 0
    conversation = capsys.readouterr().out.splitlines()[1].split()[0]
    keep_a_picture(data, conversation)
    assert kept_files(data / "media") >= {"pictures", "of", "refs"}
    assert run(data, "erase", "--subject", "ann", "--tenant", "t1") == 0
    assert capsys.readouterr().out == "erased 20 conversations of 'ann'\nerased 1 picture\n"
    assert kept_files(data / "media") == {"probe"}


def test_pictures_that_cannot_be_reached(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = (
        "media.store=s3://bucket",
        "media.endpoint=http://127.0.0.1:1",
        "media.access_key=a",
        "media.secret_key=s",
        "media.store_seconds=0.2",
    )
    flags = [flag for setting in settings for flag in ("--set", setting)]
    assert run(data, "erase", "--subject", "ann", "--tenant", "t1", *flags) == 1
    out, err = capsys.readouterr()
    assert out == "erased 20 conversations of 'ann'\n"
    assert "The conversations are erased, but their pictures cannot be reached" in err
    # Nothing is left to be erased, thus no store is asked.
    assert run(data, "erase", "--subject", "ann", "--tenant", "t1", *flags) == 0
