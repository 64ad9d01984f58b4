"""``csgate models``: what is there to serve, whether it is whole, how fast it is here."""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from csgate import shipped
from csgate.cli import models_add, models_run
from csgate.cli.flags import Commands, add_config_flag, add_device_flag, add_models_dir_flag, read_config
from csgate.config import InferenceSettings
from csgate.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from csgate.inference.inspect import BenchRow

_DESCRIPTION = """\
Looks at the model folders that 'csgate serve' would serve with the same flags.
"""
_ACTIONS: Final = {
    "list": "name, task, version, precisions, size and licence of every model",
    "check": "read every file, compare hashes, load every model and run it at every batch size",
    "bench": "time every model on this machine: ms and items/s by provider, batch size and text length",
}


def add_command(commands: Commands) -> None:
    """Declares ``models list``, ``models check``, ``models bench`` and those that have modules of their own."""
    parser = commands.add_parser(
        "models",
        help="list, check, time, run or add models",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    for name, text in _ACTIONS.items():
        action = actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False)
        add_config_flag(action)
        add_models_dir_flag(action)
        if name != "list":
            add_device_flag(action)
            action.add_argument("names", metavar="NAME", nargs="*", help="only these models (default: all)")
        if name == "bench":
            action.add_argument(
                "--seconds", type=_seconds, default=0.5, metavar="S", help="time for each line (default 0.5)"
            )
        action.set_defaults(run=run)
    models_add.add_action(actions)
    models_run.add_action(actions)


def run(arguments: argparse.Namespace) -> int:
    """Prints the report. Returns 1 if ``list`` or ``check`` found something wrong.

    Raises:
        ConfigError: there are no models, none of the given name, or a setting is wrong.
    """
    # Imported here: the inference libraries take a second to load, and '--help' should not wait for them.
    from csgate.inference.repository import model_folders

    settings = read_config(arguments).inference
    root = settings.models_dir or shipped.models_dir()
    folders = model_folders(root)
    if not folders:
        raise ConfigError(f"There are no models in {root}; name another folder with --models-dir.")
    if arguments.action == "list":
        return _list(root)
    known = [folder.name for folder in folders]
    if unknown := [name for name in arguments.names if name not in known]:
        raise ConfigError(f"There is no model '{unknown[0]}' in {root}; there are {', '.join(known)}.")
    chosen = [folder for folder in folders if not arguments.names or folder.name in arguments.names]
    return _check(chosen, settings) if arguments.action == "check" else _bench(chosen, settings, arguments.seconds)


def _list(root: Path) -> int:
    from csgate.inference.inspect import inspect_models

    rows = inspect_models(root)
    print(f"Models in {root}")
    lines = [
        (row.name, row.task, row.version, " ".join(row.precisions), str(row.labels), _size(row.file_bytes), row.licence)
        for row in rows
        if not row.problem
    ]
    _table(("name", "task", "version", "precisions", "labels", "size", "licence"), lines)
    wrong = [row for row in rows if row.problem]
    for row in wrong:
        print(f"{row.name}: {row.problem}")
    return 1 if wrong else 0


def _check(folders: Iterable[Path], settings: InferenceSettings) -> int:
    from csgate.inference.inspect import check_model

    code = 0
    for folder in folders:
        try:
            row = check_model(folder, settings.device)
        except ModelError as error:
            print(f"{folder.name}: {error}")
            code = 1
        else:
            print(f"{row.name}: good ({row.task}, {' and '.join(row.precisions)}, {_size(row.file_bytes)})")
    return code


def _bench(folders: Iterable[Path], settings: InferenceSettings, seconds: float) -> int:
    from csgate.inference.inspect import bench_model

    for folder in folders:
        # Where the models run on CUDA, how they would do without it is worth knowing.
        for device in ("auto", "cpu") if settings.device == "auto" else (settings.device,):
            rows = bench_model(folder, device, seconds, intra_op_threads=settings.intra_op_threads)
            _print_bench(folder.name, rows, settings.intra_op_threads)
            if rows[0].provider == "CPUExecutionProvider":
                break
    return 0


def _print_bench(name: str, rows: "Sequence[BenchRow]", threads: int) -> None:
    plural = "thread" if threads == 1 else "threads"
    print(f"{name} ({rows[0].provider}, {rows[0].precision}, {threads} {plural} a run)")
    _table(
        ("batch", "length", "p50 ms", "p99 ms", "items/s"),
        [
            (
                str(row.batch),
                str(row.length or "-"),
                f"{row.p50_ms:.3f}",
                f"{row.p99_ms:.3f}",
                f"{row.items_per_second:,.0f}",
            )
            for row in rows
        ],
    )


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    widths = [max(len(line[column]) for line in (head, *lines)) for column in range(len(head))]
    for line in (head, *lines):
        print("  " + "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def _size(count: int) -> str:
    return f"{count / 1e6:.2f} MB" if count >= 10_000 else f"{count} B"


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 3600:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of seconds from 0 to 3600")
    return seconds
