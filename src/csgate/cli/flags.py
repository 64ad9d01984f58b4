"""Flags that stand for settings: how they are declared, and how they become overrides for ``load_config``."""

import argparse
from pathlib import Path
from typing import Any

from csgate.config import Config, load_config, setting_value
from csgate.errors import ConfigError

Commands = Any
"""What ``ArgumentParser.add_subparsers`` returns; argparse keeps the type private."""


def add_config_flag(parser: argparse.ArgumentParser) -> None:
    """``--config`` and ``--set``, which every command that reads settings takes."""
    parser.add_argument(
        "--config", metavar="FILE", type=Path, help="read settings from this TOML file (see docs/configuration.md)"
    )
    parser.add_argument(
        "--set",
        metavar="SECTION.KEY=VALUE",
        action="append",
        default=[],
        dest="assignments",
        help="set any setting, e.g. --set session.max_waiting=32; lists as in TOML: "
        "--set 'server.origins=[\"https://a.example\"]'; may be repeated",
    )


def add_setting_flag(parser: Any, flag: str, setting: str, **options: Any) -> None:
    """A flag for one setting, ``section.key``. Without the flag the environment, the file or the default decides."""
    parser.add_argument(flag, dest=f"setting:{setting}", default=None, **options)


def add_data_dir_flag(parser: Any, help: str = "the gateway's data folder (default .data)") -> None:
    """``--data-dir``."""
    add_setting_flag(parser, "--data-dir", "server.data_dir", metavar="DIR", type=Path, help=help)


def add_models_dir_flag(parser: Any, help: str = "model folders (default: the models that csgate ships)") -> None:
    """``--models-dir``."""
    add_setting_flag(parser, "--models-dir", "inference.models_dir", metavar="DIR", type=Path, help=help)


def add_device_flag(parser: Any, help: str = "where to run them (default auto)") -> None:
    """``--device``."""
    add_setting_flag(parser, "--device", "inference.device", choices=("auto", "cuda", "cpu"), help=help)


def read_config(arguments: argparse.Namespace) -> Config:
    """The configuration that the parsed ``arguments`` ask for.

    Raises:
        ConfigError: as ``load_config``; or an assignment of ``--set`` that has no ``section.key=value`` form.
    """
    overrides: dict[str, dict[str, Any]] = {}
    for assignment in arguments.assignments:
        name, equals, text = assignment.partition("=")
        section, dot, key = name.strip().partition(".")
        if not (equals and dot and section and key):
            raise ConfigError(
                f"'--set {assignment}' is not of the form section.key=value, e.g. --set server.port=8081."
            )
        overrides.setdefault(section, {})[key] = setting_value(text.strip())
    for name, value in vars(arguments).items():
        kind, _, setting = name.partition(":")
        if kind == "setting" and value is not None:
            section, _, key = setting.partition(".")
            overrides.setdefault(section, {})[key] = value
    return load_config(arguments.config, overrides)
