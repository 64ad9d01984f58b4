"""``csgate chat``: a conversation from the terminal, or from a pipe."""

import argparse
import locale
import math
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final

import trio

from csgate.cli.flags import Commands
from csgate.cli.groups import one_reason
from csgate.cli.screen import Screen
from csgate.client import Client, connect, parse_address
from csgate.errors import ConfigError, CsgateError
from csgate.events import ErrorEvent, ReplyEvent

MAX_PICTURE_BYTES: Final = 8 * 1024 * 1024
UNREADABLE: Final = frozenset({"bad_json", "bad_envelope", "too_large"})
"""Errors that name no message, because none could be read."""

_HELP: Final = """\
/image FILE [TEXT]  send a picture, with a text if you like
/cancel             stop the answer in progress
/person [REASON]    ask for a person
/rate 1-5 [TEXT]    rate the last reply
/quit               leave (as Ctrl-D does)
Anything else is sent as it stands; a line that starts with two slashes is sent with one."""

_DESCRIPTION = """\
Holds a conversation with a gateway. Reconnects when the connection breaks, resumes where it broke off, and sends again
what was not acknowledged. Without a token it is a guest's conversation.
"""
_EPILOG = f"""\
while chatting:
{chr(10).join("  " + line for line in _HELP.splitlines())}

without a terminal each line is a message; the replies are printed in order, and the exit code is 0 if all came:
  printf 'Where is my order 12345?\\n/image sticker.png\\n' | csgate chat ws://127.0.0.1:8080/ws
"""


def add_command(commands: Commands) -> None:
    """Declares ``chat``."""
    parser = commands.add_parser(
        "chat",
        help="talk to a gateway from this terminal",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    parser.add_argument(
        "urls",
        metavar="URL",
        nargs="+",
        help="where the gateway is: ws://127.0.0.1:8080/ws, or 127.0.0.1:8080; where it is not there, the next one",
    )
    parser.add_argument(
        "--token", default=os.environ.get("CSGATE_TOKEN"), help="who you are (default: $CSGATE_TOKEN, or a guest)"
    )
    parser.add_argument(
        "--standby", action="store_true", help="keep a second connection open, to go on over it without a pause"
    )
    parser.add_argument(
        "--locale", default=None, metavar="TAG", help="language you prefer, e.g. zh-CN (default: this terminal's)"
    )
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=60.0,
        metavar="SECONDS",
        help="without a terminal: how long to wait for one answer (default 60)",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Talks until the input ends. Returns 1 if a message of a pipe got an error instead of a reply.

    Raises:
        CsgateError: the gateway cannot be reached, refuses, or does not answer in time.
    """
    conversation = Conversation(
        arguments.urls,
        arguments.token,
        arguments.locale or _language(),
        arguments.timeout,
        standby=arguments.standby,
    )
    try:
        return trio.run(conversation.interactive if sys.stdin.isatty() else conversation.piped)
    except BaseExceptionGroup as group:
        raise one_reason(group) from None


class Conversation:
    """One run of the command. ``read_line`` blocks in a thread and gives ``""`` at the end of input."""

    def __init__(
        self,
        urls: Sequence[str],
        token: str | None,
        language: str | None,
        timeout_s: float,
        read_line: Callable[[], str] | None = None,
        screen: Screen | None = None,
        *,
        standby: bool = False,
    ) -> None:
        for url in urls:
            parse_address(url)  # What is none is said at once, and not out of a nursery.
        self._urls = urls
        self._standby = standby
        self._token = token
        self._language = language
        self._timeout_s = timeout_s
        self._read_line = read_line or sys.stdin.readline
        styled = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        self._screen = screen or Screen(styled=styled)
        self._last_sent: str | None = None
        self._last_reply: str | None = None

    def _connect(self) -> AbstractAsyncContextManager[Client]:
        return connect(self._urls, token=self._token, locale=self._language, standby=self._standby, keep_trying=False)

    async def piped(self) -> int:
        """One message a line, each answered before the next is sent, so that replies come in the order of the lines."""
        failed = False
        async with self._connect() as chat:
            while (line := await self._next_line()) is not None:
                message_id = await self._act(chat, line)
                if message_id is None:
                    continue
                with trio.move_on_after(self._timeout_s) as waiting:
                    failed |= not await self._until_final(chat, message_id)
                if waiting.cancelled_caught:
                    raise CsgateError(f"No answer came within {self._timeout_s:g} seconds; see --timeout.")
        return 1 if failed else 0

    async def interactive(self) -> int:
        """Shows what comes while the person types."""
        self._screen.note("type a message; /help lists the commands, Ctrl-D leaves")
        async with self._connect() as chat:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._show_all, chat)
                while (line := await self._next_line()) is not None:
                    try:
                        await self._act(chat, line)
                    except ConfigError as error:
                        self._screen.note(str(error))
                nursery.cancel_scope.cancel()
        return 0

    async def _show_all(self, chat: Client) -> None:
        while True:
            event = await chat.receive()
            if isinstance(event, ReplyEvent):
                self._last_reply = event.id
            self._screen.show(event)

    async def _until_final(self, chat: Client, message_id: str) -> bool:
        while True:
            event = await chat.receive()
            self._screen.show(event)
            if isinstance(event, ReplyEvent) and event.id == message_id:
                self._last_reply = event.id
                return True
            if isinstance(event, ErrorEvent) and (event.id == message_id or event.code in UNREADABLE):
                return False

    async def _next_line(self) -> str | None:
        """The next line that is not empty; None when the input, or the person, has come to an end."""
        # A thread that waits for a terminal cannot be interrupted; it is left behind when the chat ends.
        while True:
            line: str = await trio.to_thread.run_sync(self._read_line, abandon_on_cancel=True)
            text = line.strip()
            if not line or text == "/quit":
                return None
            if text:
                return text

    async def _act(self, chat: Client, line: str) -> str | None:
        """Does what a line asks for. Returns the id of the message, where it was one."""
        command, _, rest = line.partition(" ")
        rest = rest.strip()
        match command:
            case "/help":
                for text in _HELP.splitlines():
                    self._screen.note(text)
            case "/cancel":
                if self._last_sent is not None:
                    chat.cancel(self._last_sent)
            case "/person":
                chat.handoff(rest or None)
            case "/rate":
                self._rate(chat, rest)
            case "/image":
                return await self._send_picture(chat, rest)
            case _ if command.startswith("/") and not command.startswith("//"):
                raise ConfigError(f"'{command}' is not a command; /help lists them. To send it, write '/{command}'.")
            case _:
                return self._sent((await chat.send(line.removeprefix("/") if line.startswith("//") else line)).id)
        return None

    def _sent(self, message_id: str) -> str:
        self._last_sent = message_id
        self._screen.sent(message_id)
        return message_id

    def _rate(self, chat: Client, rest: str) -> None:
        score, _, comment = rest.partition(" ")
        if self._last_reply is None or score not in {"1", "2", "3", "4", "5"}:
            raise ConfigError("Write /rate and a number from 1 to 5, after a reply.")
        chat.rate(self._last_reply, int(score), comment or None)

    async def _send_picture(self, chat: Client, rest: str) -> str:
        name, _, text = rest.partition(" ")
        whole = await trio.Path(rest).expanduser()
        if await whole.is_file():  # A name with spaces in it.
            name, text = str(whole), ""
        path = await trio.Path(name).expanduser()
        try:
            picture = await path.read_bytes()
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise ConfigError(f"Cannot read the picture '{name}': {reason}; write /image FILE [TEXT].") from None
        if not 0 < len(picture) <= MAX_PICTURE_BYTES:
            raise ConfigError(f"The picture '{name}' is empty or larger than {MAX_PICTURE_BYTES // 2**20} MiB.")
        return self._sent((await chat.send(text.strip() or None, picture)).id)


def _language() -> str | None:
    name = locale.setlocale(locale.LC_CTYPE).partition(".")[0] or ""
    for variable in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if value := os.environ.get(variable, "").partition(".")[0]:
            name = value
            break
    return None if name in ("", "C", "POSIX") else name.replace("_", "-")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not (seconds > 0 and math.isfinite(seconds)):
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of seconds")
    return seconds
