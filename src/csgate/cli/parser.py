"""argparse, with a suggestion for a flag or a word that is spelt almost right."""

import argparse
import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any, NoReturn

_NO_CHOICE = re.compile(r"invalid choice: '([^']*)'")


class Parser(argparse.ArgumentParser):
    """Commands made with ``add_subparsers`` are of this class too, so each knows its own flags."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """As argparse, but a flag that does not exist is refused here, by the command that was given it."""
        found, rest = super().parse_known_args(args, namespace)
        unknown = [word.partition("=")[0] for word in rest if re.match(r"--?[A-Za-z]", word)]
        if unknown:
            flags = [flag for action in self._actions for flag in action.option_strings]
            self.error(f"unrecognized arguments: {' '.join(rest)}{_suggestion(unknown, flags)}")
        return found, rest

    def error(self, message: str) -> NoReturn:
        """Prints the usage and ``message``, with the choice that was probably meant, and exits with 2."""
        if wrong := _NO_CHOICE.search(message):
            choices = [str(choice) for action in self._actions for choice in action.choices or ()]
            message += _suggestion([wrong[1]], choices)
        super().error(message)


def _suggestion(words: Iterable[str], known: Sequence[str]) -> str:
    meant = dict.fromkeys(near[0] for word in words if (near := get_close_matches(word, known, n=1)))
    return f"; did you mean {' and '.join(meant)}?" if meant else ""
