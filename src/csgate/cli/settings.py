"""``csgate config``: the settings in force, and the reference that docs/configuration.md is."""

import argparse
import json
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from csgate.cli.flags import Commands, add_config_flag, read_config
from csgate.config import Config, settings, variable_name

_DESCRIPTION = """\
Prints the settings in force as TOML, after file, environment and flags; what it prints can be used as a file. Secrets
are not shown. With --reference: every setting with its environment variable, default and meaning, in Markdown.
"""
_INTRODUCTION: Final = """\
# Configuration

csgate runs without any configuration. To change a setting, in the order of precedence:

1. a flag: `csgate serve --port 8081`, or for any setting `--set server.port=8081`;
2. an environment variable: `CSGATE_SERVER__PORT=8081`; lists as TOML arrays:
   `CSGATE_SERVER__ORIGINS='["https://shop.example"]'`; an empty variable counts as unset;
3. a TOML file: `csgate serve --config csgate.toml` with

   ```toml
   [server]
   port = 8081
   ```

4. the default.

`csgate config` prints the settings in force. An unknown name or a wrong value stops csgate with a
sentence that names it.

Two variables are not settings of this tree: `CSGATE_FAST` (`auto`, `native` or `pure`) chooses the native core, and
`CSGATE_NO_SKIP=1` makes a skipped test fail.

The tables below are generated (`csgate config --reference`); edit the descriptions in `src/csgate/config.py`.
"""


def add_command(commands: Commands) -> None:
    """Declares ``config``."""
    parser = commands.add_parser(
        "config",
        help="print the settings in force, or the reference of all settings",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_config_flag(parser)
    parser.add_argument("--reference", action="store_true", help="print docs/configuration.md instead")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Prints one or the other."""
    print(reference() if arguments.reference else in_force(read_config(arguments)), end="")
    return 0


def in_force(config: Config) -> str:
    """``config`` as TOML; what is unset or secret is a comment."""
    lines: list[str] = []
    for section, fields in settings():
        lines.append(f"[{section}]")
        for key, field in fields.items():
            value = getattr(getattr(config, section), key)
            if value is None:
                lines.append(f"# {key} is not set")
            elif _is_secret(field):
                lines.append(f"# {key} is set (not shown)")
            else:
                lines.append(f"{key} = {_toml(value)}")
        lines.append("")
    return "\n".join(lines)


def reference() -> str:
    """docs/configuration.md, whole."""
    parts = [_INTRODUCTION]
    defaults = Config()
    for section, fields in settings():
        tree = getattr(defaults, section)
        parts.append(f"\n## [{section}]\n\n{' '.join((type(tree).__doc__ or '').split())}\n")
        parts.append("\n| setting | variable | values | default | meaning |\n|---|---|---|---|---|\n")
        for key, field in fields.items():
            default = getattr(tree, key)
            shown = "not set" if default is None else f"`{_toml(default)}`"
            parts.append(
                f"| `{key}` | `{variable_name(section, key)}` | {_values(field)} | {shown} | {field.description} |\n"
            )
    return "".join(parts)


def _toml(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case tuple():
            return f"[{', '.join(_toml(item) for item in value)}]"
        case _:
            # A TOML basic string takes JSON's escapes; paths become strings.
            return json.dumps(str(value), ensure_ascii=False)


def _is_secret(field: FieldInfo) -> bool:
    return SecretStr in get_args(field.annotation)


def _values(field: FieldInfo) -> str:
    kind = _unwrapped(field.annotation)
    if get_origin(kind) is tuple:
        inner = _unwrapped(get_args(kind)[0])
        choices = ", ".join(f"`{choice}`" for choice in get_args(inner))
        return f"list of {choices}" if choices else "list of text"
    if get_origin(kind) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(kind))
    names = {bool: "`true`, `false`", int: "integer", float: "number", str: "text", Path: "path", SecretStr: "secret"}
    return names[kind] + _bounds(field)


def _unwrapped(annotation: Any) -> Any:
    """``X`` of ``X | None`` and of ``Annotated[X, …]``."""
    choices = [choice for choice in get_args(annotation) if choice is not type(None)]
    if type(None) in get_args(annotation):
        annotation = choices[0]
    return annotation.__origin__ if hasattr(annotation, "__metadata__") else annotation


def _bounds(field: FieldInfo) -> str:
    metadata = list(field.metadata)
    for choice in get_args(field.annotation):
        for extra in getattr(choice, "__metadata__", ()):
            metadata += extra.metadata if isinstance(extra, FieldInfo) else [extra]
    signs = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
    found = [f"{sign} {getattr(one, name)}" for one in metadata for name, sign in signs.items() if hasattr(one, name)]
    return f", {', '.join(found)}" if found else ""
