"""``csgate conversations``: what the gateway keeps on disk; handing out or erasing what it has of one customer."""

import argparse
import re
import sys
from pathlib import Path
from typing import Any, Final

import msgspec

from csgate.cli.flags import Commands, add_config_flag, add_setting_flag, read_config
from csgate.session.sqlite_archive import Archive, open_archive

_DESCRIPTION = """\
Reads and changes the conversations that the gateway keeps in its data folder (session.store = "sqlite"), also while it
runs: a customer who is connected when his conversations are erased is disconnected and begins a new one.
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
        add_setting_flag(
            action,
            "--data-dir",
            "server.data_dir",
            metavar="DIR",
            type=Path,
            help="the gateway's data folder (default .data)",
        )
        action.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Does one action.

    Raises:
        CsgateError: there is nothing there, it is not clear who is meant, or the file cannot be used.
    """
    data_dir = read_config(arguments).server.data_dir
    with open_archive(data_dir, erasing=arguments.action == "erase") as archive:
        match arguments.action:
            case "list":
                _list(archive, arguments)
            case "show":
                _show(archive, arguments.conversation)
            case "export":
                return _export(archive, arguments)
            case _:
                count = archive.erase(arguments.subject, arguments.tenant, arguments.issuer)
                print(f"erased {count} conversation{'' if count == 1 else 's'} of '{clean(arguments.subject)}'")
    return 0


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


def _export(archive: Archive, arguments: argparse.Namespace) -> int:
    owned = archive.owned(arguments.subject, arguments.tenant, arguments.issuer)
    for entry in archive.export(owned):
        sys.stdout.write(msgspec.json.encode(entry).decode() + "\n")
    return 0


def clean(text: str) -> str:
    """Safe to print; a line of its own stays recognisable as a part of the text."""
    return _CONTROL.sub(" ", text).replace("\n", _CONTINUED)


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 1")
    return int(text)
