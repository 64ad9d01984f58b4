"""``csgate models``: what is there to serve, whether it is whole, how fast it is here."""

import argparse
from pathlib import Path

from csgate.cli.flags import Commands, add_config_flag, add_setting_flag, read_config

_DESCRIPTION = """\
Looks at the model folders that 'csgate serve' would serve with the same flags.
"""
_ACTIONS = {
    "list": "name, task, version, precisions, size and licence of every model",
    "check": "read every file, compare hashes, load every model and run it once",
    "bench": "time every model on this machine, by batch size",
}


def add_command(commands: Commands) -> None:
    """Declares ``models list``, ``models check`` and ``models bench``."""
    parser = commands.add_parser(
        "models",
        help="list, check or time the models",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    for name, text in _ACTIONS.items():
        action = actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False)
        add_config_flag(action)
        add_setting_flag(
            action,
            "--models-dir",
            "inference.models_dir",
            metavar="DIR",
            type=Path,
            help="model folders (default: the models that csgate ships)",
        )
        if name != "list":
            add_setting_flag(
                action,
                "--device",
                "inference.device",
                choices=("auto", "cuda", "cpu"),
                help="where to run them (default auto)",
            )
        action.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Prints the report. Returns 1 if ``check`` found something wrong.

    Raises:
        ConfigError: there are no models, or a setting is wrong.
    """
    # Imported here: the inference libraries take a second to load, and '--help' should not wait for them.
    from csgate.inference import inspect

    settings = read_config(arguments).inference
    match arguments.action:
        case "list":
            print(inspect.list_models(settings))
        case "check":
            report, good = inspect.check_models(settings)
            print(report)
            return 0 if good else 1
        case _:
            print(inspect.bench_models(settings))
    return 0
