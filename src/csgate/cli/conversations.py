"""``csgate conversations``: what the gateway keeps; handing out or erasing what it has of one customer."""

import argparse
import io
import re
import secrets
import sys
from typing import Any, Final

import msgspec
import trio

from csgate.cli.flags import Commands, add_config_flag, add_data_dir_flag, read_config
from csgate.config import Config
from csgate.errors import CsgateError, MediaUnavailable
from csgate.session.archive import Archive
from csgate.session.sqlite_archive import open_archive
from csgate.telemetry import Telemetry, open_logger

_DESCRIPTION = """\
Reads and changes the conversations that the gateway keeps, in its data folder (session.store = "sqlite") or in the
Redis of its configuration (session.store = "redis"), also while it runs: a customer who is connected when his
conversations are erased is disconnected and begins a new one.
"""
_COLUMNS: Final = ("CONVERSATION", "SUBJECT", "TENANT", "EVENTS", "STATE", "LAST ACTIVE")
# Escape sequences in what people wrote would let a stranger drive the terminal.
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
_CONTINUED: Final = "\n" + 33 * " "


def add_command(commands: Commands) -> None:
    """Declares ``conversations`` and its actions."""
    parser = commands.add_parser(
        "conversations",
        help="list, show, export or erase stored conversations",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    listing = actions.add_parser("list", help="list those that were active last", allow_abbrev=False)
    listing.add_argument("--subject", metavar="NAME", help="only this customer's")
    listing.add_argument("--limit", type=_count, default=50, metavar="N", help="so many at the most (default 50)")
    show = actions.add_parser("show", help="print one for a person to read", allow_abbrev=False)
    show.add_argument("conversation", metavar="ID", help="as list shows it")
    export = actions.add_parser(
        "export", help="write all that one customer has to standard output, as JSON lines", allow_abbrev=False
    )
    erase = actions.add_parser("erase", help="delete all that one customer has, for good", allow_abbrev=False)
    for action in (export, erase):
        action.add_argument("--subject", required=True, metavar="NAME", help="the customer (claim sub)")
        action.add_argument("--tenant", metavar="NAME", help="where several tenants have a customer of that name")
        action.add_argument("--issuer", metavar="NAME", help="where several issuers have")
    for action in (listing, show, export, erase):
        add_config_flag(action)
        add_data_dir_flag(action)
        action.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Does one action.

    Raises:
        CsgateError: there is nothing there, it is not clear who is meant, or the store cannot be used.
    """
    config = read_config(arguments)
    if config.session.store == "redis":
        # Imported here: coredis takes its time.
        from csgate.cluster.archive import in_archive

        telemetry = Telemetry(log=open_logger("error", stream=io.StringIO()))
        erased = in_archive(config, telemetry, lambda archive: _act(archive, arguments))
    else:
        with open_archive(config.server.data_dir, erasing=arguments.action == "erase") as file:
            erased = _act(file, arguments)
    if erased and config.media.keep:
        pictures = trio.run(_forget_pictures, config, erased)
        if pictures:
            print(f"erased {_counted(pictures, 'picture')}")
    return 0


def _act(archive: Archive, arguments: argparse.Namespace) -> list[str]:
    """Does it, and says which conversations were erased."""
    erased: list[str] = []
    match arguments.action:
        case "list":
            _list(archive, arguments)
        case "show":
            _show(archive, arguments.conversation)
        case "export":
            _export(archive, arguments)
        case _:
            erased = archive.erase(arguments.subject, arguments.tenant, arguments.issuer)
            print(f"erased {_counted(len(erased), 'conversation')} of '{clean(arguments.subject)}'")
    return erased


async def _forget_pictures(config: Config, conversations: list[str]) -> int:
    """Removes pictures that nobody else's conversation shows; how many files went.

    Raises:
        CsgateError: the store of pictures cannot be used. The gateway removes them with its next sweep.
    """
    # Imported here: no other command should wait for the libraries that open pictures and buckets.
    from csgate.media import open_media

    async def known(conversation: str) -> bool:
        return True  # this is no sweep

    telemetry = Telemetry(log=open_logger("error", stream=io.StringIO()))
    try:
        async with open_media(
            config.media,
            config.server.data_dir,
            secrets.token_bytes(),  # nothing is signed here
            telemetry,
            max_pixels=config.inference.max_pixels,
            known=known,
        ) as media:
            return sum([await media.forget(conversation) for conversation in conversations])
    except* MediaUnavailable as group:
        detail = group.exceptions[0]
    raise CsgateError(
        f"The conversations are erased, but their pictures cannot be reached ({detail}); csgate serve removes them "
        f"within media.sweep_seconds once they can."
    )


def _list(archive: Archive, arguments: argparse.Namespace) -> None:
    rows = [_COLUMNS]
    for kept in archive.newest(arguments.limit, arguments.subject):
        events = str(kept.last - kept.first + 1)
        rows.append((kept.id, clean(kept.subject), clean(kept.tenant), events, kept.state, kept.touched))
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _show(archive: Archive, conversation: str) -> None:
    kept = archive.find(conversation)
    print(clean(f"{kept.id}: '{kept.subject}', tenant '{kept.tenant}', issuer '{kept.issuer}', state {kept.state}"))
    for event in archive.events(kept):
        print(clean(f"{event['offset']:>5}  {event.get('timestamp') or '':24}  {_line(event)}"))


def _line(event: dict[str, Any]) -> str:
    match event["type"]:
        case "message":
            return f"{event['author']}: {event['text'] or '(a picture)'}"
        case "reply":
            return f"reply: {event['text']}"
        case "error":
            return f"error {event['code']}: {event['message']}"
        case "state":
            return f"state: {event['state']}"
        case _:
            return f"rated {event['score']}: {event.get('comment') or ''}".rstrip(": ")


def _export(archive: Archive, arguments: argparse.Namespace) -> None:
    owned = archive.owned(arguments.subject, arguments.tenant, arguments.issuer)
    for entry in archive.export(owned):
        sys.stdout.write(msgspec.json.encode(entry).decode() + "\n")


def clean(text: str) -> str:
    """Safe to print; a line of its own stays recognisable as a part of the text."""
    return _CONTROL.sub(" ", text).replace("\n", _CONTINUED)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 1")
    return int(text)
