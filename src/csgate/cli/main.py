"""The command line: finds the command, runs it, and turns what it refuses into one sentence and an exit code.

Exit codes: 0 done; 1 the work failed; 2 the arguments or the configuration are wrong; 130 stopped with Ctrl-C.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Final

from csgate.cli import chat, conversations, models, protocol, serve, settings, token
from csgate.cli.parser import Parser
from csgate.errors import ConfigError, CsgateError

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_INTERRUPTED: Final = 130

_DESCRIPTION = """\
csgate is a customer-service chat gateway: people write text and send pictures over a WebSocket, ONNX models read
both, and the answer comes back in Markdown.

  csgate serve                          start with embedded defaults, page at http://127.0.0.1:8080/
  csgate chat ws://127.0.0.1:8080/ws    talk to it from this terminal
"""


def build_parser() -> argparse.ArgumentParser:
    """The whole command line; every command sets ``run(arguments) -> exit code``."""
    parser = Parser(
        prog="csgate",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="'csgate COMMAND --help' explains a command. Settings: docs/configuration.md, or 'csgate config'.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--version",
        action="store_true",
        help="print the versions of csgate, Python, Trio and ONNX Runtime, the providers and the native core, and exit",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    for module in (serve, chat, token, models, conversations, protocol, settings):
        module.add_command(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs ``csgate`` with ``argv`` (the process's own arguments by default) and returns its exit code."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    try:
        if arguments.version:
            # Imported here: the inference libraries take a second to load, and no other command should wait for them.
            from csgate.cli.version import version_report

            print(version_report())
            return 0
        if arguments.command is None:
            parser.print_help()
            return EXIT_USAGE
        code: int = arguments.run(arguments)
        sys.stdout.flush()
    except CsgateError as error:
        _say(str(error))
        return EXIT_USAGE if isinstance(error, ConfigError) else EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone (`csgate … | head`). Keep the interpreter from flushing into it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    return code


def _say(sentence: str) -> None:
    print(f"csgate: {sentence}", file=sys.stderr)
