"""``csgate chat``: lines of a pipe or a person become messages, and the exit code says how it went."""

import argparse
import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from csgate.cli import chat as chat_module
from csgate.cli.chat import Conversation
from csgate.cli.main import main
from csgate.cli.screen import Screen
from csgate.client import ChatRefused, ClientEvent
from csgate.errors import ConfigError, CsgateError
from csgate.events import AckEvent, ErrorEvent, MessageEvent, ReplyEvent

from ..client.scripted import Gateway, Peer, run_gateway, welcome

WHEN = "2026-01-01T00:00:00Z"


def reply(message_id: str, offset: int, text: str) -> ReplyEvent:
    return ReplyEvent(message_id, offset, text, None, None, (), "", "canned", WHEN)


async def parrot(peer: Peer) -> None:
    """Answers a message with its text and the size of its picture; ``no`` with an error."""
    await peer.read()
    await peer.send(welcome(), MessageEvent("old", 1, "human", "Welcome!", WHEN))
    offset = 1
    while True:
        message = await peer.read()
        peer.got.append(message)  # type: ignore[attr-defined]
        if message["type"] != "message":
            continue
        offset += 2
        if message.get("text") == "no":
            await peer.send(ErrorEvent("bad_image", "No.", "r", id=message["id"], offset=offset))
        elif message.get("text") == "unreadable":
            await peer.send(ErrorEvent("too_large", "Too large.", "r"))
        elif message.get("text") != "silence":
            text = f"{message.get('text', '')}+{len(message.get('image', b''))}"
            await peer.send(AckEvent(message["id"], offset - 1), reply(message["id"], offset, text))


def told(gateway: Gateway) -> list[dict[str, Any]]:
    return gateway.peers[0].got  # type: ignore[attr-defined, no-any-return]


@pytest.fixture(autouse=True)
def remembering(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Peer.__init__

    def init(self: Peer, *arguments: Any) -> None:
        original(self, *arguments)
        self.got = []  # type: ignore[attr-defined]

    monkeypatch.setattr(Peer, "__init__", init)


def lines(*texts: str) -> Callable[[], str]:
    """What ``readline`` gives: the lines, then the end of input."""
    waiting: Iterator[str] = iter([f"{text}\n" for text in texts])
    return lambda: next(waiting, "")


class Run:
    """One run against a scripted gateway."""

    def __init__(self) -> None:
        self.out = io.StringIO()

    async def piped(self, gateway: Gateway, *texts: str, timeout_s: float = 5.0) -> int:
        return await self._conversation(gateway, timeout_s, *texts).piped()

    async def interactive(self, gateway: Gateway, *texts: str) -> int:
        return await self._conversation(gateway, 5.0, *texts).interactive()

    def _conversation(self, gateway: Gateway, timeout_s: float, *texts: str) -> Conversation:
        screen = Screen(self.out, clock=lambda: 0.0)
        return Conversation([gateway.address.websocket], "mine", "en", timeout_s, lines(*texts), screen)


def single(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        (error,) = error.exceptions
    return error


async def test_a_pipe_gets_its_answers_in_order(tmp_path: Path) -> None:
    picture = tmp_path / "a sticker.png"
    picture.write_bytes(b"12345")
    plain = tmp_path / "plain.png"
    plain.write_bytes(b"123")
    run = Run()
    async with run_gateway(parrot) as gateway:
        code = await run.piped(gateway, "one", "", f"/image {picture}", f"/image {plain} what is it?", "//two")
    assert code == 0
    answers = [line for line in run.out.getvalue().splitlines() if "+" in line]
    assert answers == ["one+0", "+5", "what is it?+3", "/two+0"]


@pytest.mark.parametrize("text", ["no", "unreadable"])
async def test_an_error_instead_of_a_reply_is_exit_code_1(text: str) -> None:
    run = Run()
    async with run_gateway(parrot) as gateway:
        assert await run.piped(gateway, text, "more") == 1
    assert "⚠" in run.out.getvalue()
    assert "more+0" in run.out.getvalue()


async def test_no_answer_in_time_is_said() -> None:
    async with run_gateway(parrot) as gateway:
        with pytest.raises(CsgateError) as caught:
            await Run().piped(gateway, "silence", timeout_s=0.05)
    assert str(caught.value) == "No answer came within 0.05 seconds; see --timeout."


async def test_nothing_to_say_is_nothing_wrong() -> None:
    async with run_gateway(parrot, parrot) as gateway:
        assert await Run().piped(gateway) == 0
        assert await Run().piped(gateway, "/quit", "never") == 0


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("/dance", "'/dance' is not a command"),
        ("/image", "Cannot read the picture ''"),
        ("/image /no/such.png", "Cannot read the picture '/no/such.png': No such file or directory"),
        ("/rate 5", "after a reply"),
    ],
)
async def test_a_line_that_cannot_be_done(line: str, sentence: str) -> None:
    async with run_gateway(parrot) as gateway:
        with pytest.raises(ConfigError) as caught:
            await Run().piped(gateway, line)
    assert sentence in str(caught.value)


async def test_a_picture_that_is_empty_or_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = tmp_path / "x.png"
    picture.write_bytes(b"")
    async with run_gateway(parrot, parrot) as gateway:
        with pytest.raises(ConfigError):
            await Run().piped(gateway, f"/image {picture}")
        monkeypatch.setattr(chat_module, "MAX_PICTURE_BYTES", 3)
        picture.write_bytes(b"1234")
        with pytest.raises(ConfigError) as caught:
            await Run().piped(gateway, f"/image {picture}")
    assert "is empty or larger than" in str(caught.value)


async def test_commands_of_a_pipe() -> None:
    run = Run()
    async with run_gateway(parrot) as gateway:
        assert await run.piped(gateway, "/cancel", "one", "/help", "/rate 4 fine", "/cancel", "/person now", "two") == 0
        got = [{name: value for name, value in one.items() if name != "id"} for one in told(gateway)]
    assert [one["type"] for one in got] == ["message", "rate", "cancel", "handoff", "message"]
    assert (got[1]["score"], got[1]["comment"], got[3]["reason"]) == (4, "fine", "now")
    assert "/image FILE [TEXT]" in run.out.getvalue()


async def test_a_person_sees_what_comes_and_is_told_what_was_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run()
    seen = trio.Event()

    def typed() -> Iterator[str]:
        yield "hello\n"
        trio.from_thread.run(seen.wait)
        yield "/dance\n"
        yield "/rate 5\n"
        yield "/person\n"

    waiting = typed()

    async def script(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome())
        message = await peer.read()
        await peer.send(reply(message["id"], 1, "Hi!"))
        peer.got.extend([await peer.read(), await peer.read()])  # type: ignore[attr-defined]
        left.set()

    left = trio.Event()

    def read_line() -> str:
        line = next(waiting, "")
        if not line:
            trio.from_thread.run(left.wait)
        return line

    async with run_gateway(script) as gateway:
        screen = Screen(run.out, clock=lambda: 0.0)
        show = screen.show

        def show_and_tell(event: ClientEvent) -> None:
            show(event)
            if isinstance(event, ReplyEvent):
                seen.set()

        monkeypatch.setattr(Screen, "show", lambda _, event: show_and_tell(event))
        conversation = Conversation([gateway.address.websocket], "mine", "en", 5.0, read_line, screen)
        with trio.fail_after(10):
            assert await conversation.interactive() == 0
        assert [one["type"] for one in told(gateway)] == ["rate", "handoff"]
    shown = run.out.getvalue()
    assert shown.startswith("· type a message")
    assert "Hi!" in shown
    assert "'/dance' is not a command" in shown


async def test_a_person_whose_chat_ends_is_told_why() -> None:
    async def script(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome())
        await peer.close(4503, "no more")

    never = trio.Event()

    def read_line() -> str:
        trio.from_thread.run(never.wait)
        return ""

    async with run_gateway(script) as gateway:
        conversation = Conversation([gateway.address.websocket], "mine", "en", 5.0, read_line, Screen(io.StringIO()))
        with pytest.raises(BaseExceptionGroup) as caught:
            await conversation.interactive()
        never.set()
    assert isinstance(single(caught.value), ChatRefused)


# --- The command itself ----------------------------------------------------------------------------------------------


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """How the command called the conversation, which then gives exit code 7."""
    calls: list[tuple[str, Any]] = []

    class Asked:
        def __init__(self, *arguments: Any, standby: bool) -> None:
            calls.append(("made", (*arguments, standby)))

        async def piped(self) -> int:
            calls.append(("piped", None))
            return 7

        async def interactive(self) -> int:
            calls.append(("interactive", None))
            return 7

    monkeypatch.setattr(chat_module, "Conversation", Asked)
    return calls


@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_is_a_person(terminal: bool, asked: list[tuple[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: terminal, raising=False)
    monkeypatch.setenv("CSGATE_TOKEN", "from-the-environment")
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    assert main(["chat", "gate.example", "--timeout", "3"]) == 7
    assert asked == [
        ("made", (["gate.example"], "from-the-environment", "zh-CN", 3.0, False)),
        ("interactive" if terminal else "piped", None),
    ]


def test_flags_win(asked: list[tuple[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CSGATE_TOKEN", "from-the-environment")
    assert main(["chat", "gate.example", "other.example", "--token", "mine", "--locale", "en-GB", "--standby"]) == 7
    assert asked[0] == ("made", (["gate.example", "other.example"], "mine", "en-GB", 60.0, True))


@pytest.mark.parametrize(("name", "language"), [("C.UTF-8", None), ("de_DE", "de-DE"), ("POSIX", None)])
def test_the_language_of_the_terminal(name: str, language: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(variable, raising=False)
    assert chat_module._language() is None
    monkeypatch.setenv("LANG", name)
    assert chat_module._language() == language


def test_an_address_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chat", "ftp://gate.example"]) == 2
    assert "is not the address of a gateway" in capsys.readouterr().err


def test_nobody_there(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("hello\n"))
    assert main(["chat", "127.0.0.1:1", "--token", "mine"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("csgate: Nobody answers at ws://127.0.0.1:1/ws")
    assert error.count("\n") == 1


@pytest.mark.parametrize("text", ["soon", "-1", "0", "inf", "nan"])
def test_a_timeout_is_a_number_of_seconds(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is not a number of seconds"):
        chat_module._seconds(text)


def test_our_errors_are_sentences() -> None:
    assert str(CsgateError("A sentence.")) == "A sentence."
