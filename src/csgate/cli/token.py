"""``csgate token``: mints a token that the gateway with the same configuration accepts."""

import argparse
import time
from typing import Any

import trio

from csgate.auth import open_authenticator
from csgate.cli.flags import Commands, add_config_flag, add_data_dir_flag, read_config
from csgate.config import Config

_DESCRIPTION = """\
Prints a signed token (JWT) for one principal. It is signed with auth.secret, or, where none is configured, with the
secret that csgate keeps in the data folder; so run it with the configuration and in the folder of the gateway.
"""
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def add_command(commands: Commands) -> None:
    """Declares ``token``."""
    parser = commands.add_parser(
        "token",
        help="mint a token for a person or a service",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Example: csgate chat ws://127.0.0.1:8080/ws --token $(csgate token --sub alice --lifetime 8h)",
        allow_abbrev=False,
    )
    parser.add_argument("--sub", required=True, metavar="NAME", help="who the token is for (claim sub)")
    parser.add_argument(
        "--role",
        choices=("customer", "agent", "service"),
        default="customer",
        help="customer (default); agent: sees the tenant's conversations; service: a program",
    )
    parser.add_argument("--tier", type=_tier, default=1, metavar="N", help="priority, 0 is the most urgent (default 1)")
    parser.add_argument(
        "--tenant", default="", metavar="NAME", help="whose customer this is, where one gateway serves several"
    )
    parser.add_argument("--conversation", metavar="ID", help="admit to this one conversation only")
    parser.add_argument(
        "--lifetime",
        type=_lifetime,
        default=3600.0,
        metavar="TIME",
        help="how long it is valid: 90, 30m, 8h, 7d (default 1h)",
    )
    add_config_flag(parser)
    add_data_dir_flag(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Prints the token.

    Raises:
        ConfigError: there is no secret to sign with, or it cannot be read.
    """
    print(trio.run(_mint, read_config(arguments), arguments))
    return 0


async def _mint(config: Config, arguments: argparse.Namespace) -> Any:
    async with open_authenticator(config.auth, config.server.data_dir) as authenticator:
        return authenticator.mint(
            arguments.sub,
            role=arguments.role,
            tier=arguments.tier,
            tenant=arguments.tenant,
            conversation=arguments.conversation,
            lifetime_s=arguments.lifetime,
            now=time.time(),
        )


def _tier(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 0")
    return int(text)


def _lifetime(text: str) -> float:
    """Seconds of ``90``, ``30m``, ``8h`` or ``7d``."""
    number, unit = (text[:-1], text[-1:]) if text[-1:] in _UNITS else (text, "s")
    try:
        seconds = float(number) * _UNITS[unit]
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' is not a time; write 90, 30m, 8h or 7d")
    return seconds
