"""Recorded exchanges (contracts/*.json) as Python sees them: reading, playing a side, checking the other.

contracts/README.md says what the files mean.
"""

import base64
import json
import re
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parents[2] / "contracts"
_TIMESTAMP: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


class Mismatch(AssertionError):
    """What came is not what was recorded."""


def names() -> list[str]:
    """Every recorded exchange."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def load(name: str) -> dict[str, Any]:
    """One of them."""
    return dict(json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8")))


def replayed_by(side: str) -> list[str]:
    """Those that ``side`` (server, gateway, client) replays."""
    return [name for name in names() if side in load(name)["replay"]]


class Values:
    """What the variables of one exchange stand for, and how tokens are made."""

    def __init__(self) -> None:
        self.bound: dict[str, Any] = {}

    def token(self, wish: dict[str, Any]) -> str:
        """A token as ``wish`` describes it."""
        return f"token of {wish.get('subject', 'ann')}"

    def play(self, recorded: Any) -> Any:
        """What the player of a side sends for ``recorded``: samples, and variables as far as they are bound."""
        match _matcher(recorded):
            case ("$var", name):
                return self.bound.setdefault(name, name)
            case ("$token", wish):
                return self.token(wish)
            case ("$repeat", [text, times]):
                return text * times
            case (_, sample):
                return sample
        if isinstance(recorded, dict):
            return {name: self.play(value) for name, value in recorded.items()}
        return [self.play(value) for value in recorded] if isinstance(recorded, list) else recorded

    def check(self, recorded: Any, actual: Any, path: str = "$") -> None:
        """Compares; objects may have more fields than were recorded, as a reader ignores what it does not know.

        Raises:
            Mismatch: it names the place.
        """
        match _matcher(recorded):
            case ("$var", name):
                if name not in self.bound and isinstance(actual, str) and actual:
                    self.bound[name] = actual
                fits = actual == self.bound.get(name)
            case ("$timestamp", _):
                fits = isinstance(actual, str) and _TIMESTAMP.fullmatch(actual) is not None
            case ("$number", _):
                fits = isinstance(actual, int | float) and not isinstance(actual, bool)
            case ("$string" | "$token", _):
                fits = isinstance(actual, str) and actual != ""
            case ("$repeat", [text, times]):
                fits = actual == text * times
            case ("$object", _):
                fits = isinstance(actual, dict)
            case ("$array", _):
                fits = isinstance(actual, list)
            case ("$null", _):
                fits = actual is None
            case None if isinstance(recorded, dict):
                if not isinstance(actual, dict):
                    raise Mismatch(f"{path}: {actual!r} is no object")
                for name, value in recorded.items():
                    if name not in actual:
                        if _matcher(value) is not None and _matcher(value)[0] == "$null":  # type: ignore[index]
                            continue  # null and absent are the same
                        raise Mismatch(f"{path}.{name} is missing in {actual!r}")
                    self.check(value, actual[name], f"{path}.{name}")
                return
            case None if isinstance(recorded, list):
                if not isinstance(actual, list) or len(actual) != len(recorded):
                    raise Mismatch(f"{path}: {actual!r} does not have {len(recorded)} items")
                for index, (wanted, got) in enumerate(zip(recorded, actual, strict=True)):
                    self.check(wanted, got, f"{path}[{index}]")
                return
            case None:
                fits = actual == recorded and isinstance(actual, bool) == isinstance(recorded, bool)
            case (name, _):
                raise ValueError(f"no matcher is called {name}")
        if not fits:
            raise Mismatch(f"{path}: {actual!r} instead of {recorded!r} ({self.bound})")


def _matcher(recorded: Any) -> tuple[str, Any] | None:
    if isinstance(recorded, dict) and len(recorded) == 1:
        ((name, sample),) = recorded.items()
        if name.startswith("$"):
            return name, sample
    return None


def binary_parts(data: bytes) -> dict[str, Any]:
    """A binary frame as ``sent_binary`` records it."""
    end = 4 + int.from_bytes(data[:4], "big")
    return {"header": json.loads(data[4:end]), "picture": base64.b64encode(data[end:]).decode()}
