"""``csgate serve``: configuration and telemetry for the node, and its start-up failures in a sentence."""

import argparse
import webbrowser
from ipaddress import ip_address
from pathlib import Path

import trio

from csgate.cli.flags import (
    Commands,
    add_config_flag,
    add_data_dir_flag,
    add_device_flag,
    add_models_dir_flag,
    add_setting_flag,
    read_config,
)
from csgate.cli.groups import one_reason
from csgate.config import Config
from csgate.gateway.process import calm_allocator
from csgate.telemetry import Metrics, Telemetry, open_logger

_DESCRIPTION = """\
Starts the gateway: chat over WebSocket at /ws, a page for a first conversation at /, /healthz, /readyz and /metrics,
all on one port. Needs no configuration. Stops on SIGTERM or Ctrl-C, after the answers in progress are finished.
"""


def add_command(commands: Commands) -> None:
    """Declares ``serve``."""
    parser = commands.add_parser(
        "serve",
        help="start the gateway",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Flags win over the environment (CSGATE_SERVER__PORT=8081), that over the file, that over the defaults.",
        allow_abbrev=False,
    )
    add_config_flag(parser)
    network = parser.add_argument_group("network")
    add_setting_flag(network, "--host", "server.host", metavar="ADDRESS", help="listen here (default 127.0.0.1)")
    add_setting_flag(
        network, "--port", "server.port", metavar="N", help="listen on this port (default 8080; 0 picks a free one)"
    )
    add_setting_flag(
        network,
        "--tls-certificate",
        "server.tls_certificate",
        metavar="FILE",
        type=Path,
        help="PEM chain; turns on TLS",
    )
    add_setting_flag(network, "--tls-key", "server.tls_key", metavar="FILE", type=Path, help="the PEM key that fits it")
    add_setting_flag(
        network,
        "--origin",
        "server.origins",
        metavar="URL",
        action="append",
        help="let pages from this origin connect, e.g. https://shop.example; may be repeated ('*': any)",
    )
    engine = parser.add_argument_group("models and answers")
    add_models_dir_flag(engine, "model folders to serve")
    add_device_flag(engine, "auto takes CUDA where it works; cuda refuses to start without it")
    add_setting_flag(
        engine, "--pack", "dialog.pack", metavar="NAME|DIR", help="dialog pack to answer from (default shop)"
    )
    node = parser.add_argument_group("node")
    add_data_dir_flag(node, "what must survive a restart (default .data)")
    add_setting_flag(
        node, "--log-format", "log.format", choices=("json", "console"), help="JSON lines, or for a person"
    )
    add_setting_flag(
        node, "--log-level", "log.level", choices=("debug", "info", "warning", "error"), help="default info"
    )
    node.add_argument("--open", action="store_true", help="open the page in a browser once csgate is ready")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serves until the node has drained.

    Raises:
        CsgateError: the node cannot start; one sentence.
    """
    config = read_config(arguments)
    calm_allocator()
    telemetry = Telemetry(Metrics(), open_logger(config.log.level, config.log.format))
    try:
        trio.run(_serve, config, telemetry, arguments.open)
    except BaseExceptionGroup as group:
        raise one_reason(group) from None
    return 0


async def _serve(config: Config, telemetry: Telemetry, open_page: bool) -> None:
    # Imported here so that a wrong setting is reported before the inference libraries are loaded.
    from csgate.gateway.node import Node, run_node

    join = None
    if config.session.store == "redis":
        from csgate.cluster import open_cluster

        join = open_cluster

    async with trio.open_nursery() as nursery:
        node: Node = await nursery.start(run_node, config, telemetry, join)
        host, port = node.address
        page = page_url(host, port, tls=config.server.tls_certificate is not None)
        print(
            f"csgate is ready at {page}\n"
            f"Talk to it in a browser, or with: csgate chat {page.replace('http', 'ws', 1)}ws",
            flush=True,
        )
        if open_page:
            await trio.to_thread.run_sync(webbrowser.open, page)


def page_url(host: str, port: int, *, tls: bool) -> str:
    """Where a browser on this machine finds the page of a gateway bound to ``host`` and ``port``."""
    if ip_address(host).is_unspecified:
        host = "::1" if ":" in host else "127.0.0.1"
    return f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}/"
