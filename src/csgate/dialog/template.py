"""Reply templates: Markdown with ``{slot}`` places and ``[[optional]]`` parts.

``{order_number}`` is replaced by a value that somebody wrote, so it is escaped here and nowhere else. A part in
``[[ ]]`` is left out whole when a slot in it is not known; it does not nest.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from zlib import crc32

MAX_VALUE_CHARS: Final = 80

_PART: Final = re.compile(r"\[\[(.*?)\]\]", re.DOTALL)
_PLACE: Final = re.compile(r"\{([a-z][a-z_]*)\}")
_SPECIAL: Final = re.compile(r"([\\`*_\[\]|~#])")
_UNSEEN: Final = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]+|\\s+")


def plain(value: str) -> str:
    """``value`` on one line, without control and direction characters, cut at ``MAX_VALUE_CHARS``."""
    if value.isascii() and value.isprintable() and "  " not in value:
        flat = value.strip()
    else:
        flat = _UNSEEN.sub(" ", value).strip()
    return flat if len(flat) <= MAX_VALUE_CHARS else flat[: MAX_VALUE_CHARS - 1] + "…"


def escape_markdown(value: str) -> str:
    """``value`` as text that Markdown and HTML show literally, on one line.

    Links are broken by a word joiner (U+2060): renderers that turn bare addresses into links look at the text after
    undoing escapes, so a backslash would not stop them.
    """
    text = plain(value)
    if text.isascii() and text.isalnum():
        return text
    text = _SPECIAL.sub(r"\\\1", text)
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace("://", ":\u2060//").replace("www.", "www\u2060.").replace("WWW.", "WWW\u2060.")


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template. ``needed`` slots must be given to ``render``; ``optional`` ones may.

    ``parts``: whether it is optional, and its literal pieces with the slots between them.
    """

    parts: tuple[tuple[bool, tuple[str, ...]], ...]
    needed: frozenset[str]
    optional: frozenset[str]

    @classmethod
    def parse(cls, source: str) -> "Template":
        """Parses ``source``.

        Raises:
            ValueError: it is blank, or a brace or double bracket has no partner; the text says which.
        """
        if not source.strip():
            raise ValueError("is blank")
        pieces = _PART.split(source)
        parts: list[tuple[bool, tuple[str, ...]]] = []
        found: dict[bool, set[str]] = {False: set(), True: set()}
        for index, piece in enumerate(pieces):
            if not piece:
                continue
            optional = bool(index % 2)
            split = _PLACE.split(piece)
            parts.append((optional, tuple(split)))
            names = split[1::2]
            rest = "".join(split[::2])
            if "{" in rest or "}" in rest:
                raise ValueError("has a brace that is not a {slot}")
            if "[[" in rest or "]]" in rest:
                raise ValueError("has [[ or ]] without its partner")
            if optional and not names:
                raise ValueError("has an optional part [[ ]] without a {slot}")
            found[optional].update(names)
        return cls(tuple(parts), frozenset(found[False]), frozenset(found[True]))

    def render(self, values: Mapping[str, str]) -> str:
        """The text with every value escaped.

        Raises:
            KeyError: a needed slot is missing; the pack loader rules that out for packs.
        """
        shown: list[str] = []
        for optional, pieces in self.parts:
            if not optional or all(name in values for name in pieces[1::2]):
                shown.append(pieces[0])
                for name, literal in zip(pieces[1::2], pieces[2::2], strict=True):
                    shown += (escape_markdown(values[name]), literal)
        return "".join(shown)


def pick(variants: tuple[Template, ...], message_id: str, purpose: str) -> Template:
    """One of ``variants``: always the same for a message and purpose, so that a repeated turn repeats its words."""
    return variants[crc32(f"{purpose}\0{message_id}".encode("utf-8", "surrogatepass")) % len(variants)]
