"""``csgate protocol``: the chat protocol as JSON Schema."""

import argparse
import json
from pathlib import Path
from typing import Any, Final

from csgate.cli.flags import Commands
from csgate.errors import ConfigError
from csgate.protocol import PROTOCOL_VERSION, documents, schemas

SUFFIX: Final = ".schema.json"


def add_command(commands: Commands) -> None:
    """Declares ``protocol``."""
    parser = commands.add_parser(
        "protocol",
        help="print the chat protocol as JSON Schema",
        description=f"Prints version {PROTOCOL_VERSION} of the chat protocol as one JSON Schema document.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--schemas",
        type=Path,
        metavar="DIR",
        help=f"instead, write one file an envelope there, as in docs/protocol/; removes other *{SUFFIX} files",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Prints, or writes the files.

    Raises:
        ConfigError: the folder cannot be written.
    """
    if arguments.schemas is None:
        print(text_of(schemas()), end="")
        return 0
    folder: Path = arguments.schemas
    found = documents()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for stale in folder.glob(f"*{SUFFIX}"):
            if stale.name not in found:
                stale.unlink()
        for name, document in found.items():
            (folder / name).write_text(text_of(document), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"'{folder}' cannot be written: {error.strerror or error}.") from None
    return 0


def text_of(document: Any) -> str:
    """The document as its file has it."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
