"""Pages of knowledge: Markdown files, split by headings into passages that are short enough to be an answer.

Understood are ATX headings (``## Heading``), fenced code, tables, lists and paragraphs. Comments (``<!-- … -->``) are
left out, so a note to the operator's colleagues never reaches a customer. Two of them help the search, each on a line
of its own below a heading: ``<!-- also: other words, for the same -->`` is searched like the heading's words;
``<!-- intents: some_intent another -->`` tells which intents the heading, and the headings below it, answer.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from csgate.dialog.manifest import MAX_FILE_BYTES
from csgate.errors import PackError
from csgate.events import Language

# So many words make a passage too long to be read in a chat; a block that cannot be cut may be longer.
MAX_PASSAGE_WORDS: Final = 120
# A Chinese word is about this many characters long.
_HAN_PER_WORD: Final = 1.6

_COMMENT: Final = re.compile(r"<!--.*?-->", re.DOTALL)
_NOTE: Final = re.compile(r"\s*<!--\s*(also|intents):\s*(.*?)\s*-->\s*$")
_HEADING: Final = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))??(?:[ \t]+#+)?[ \t]*$")
_FENCE: Final = re.compile(r" {0,3}(`{3,}|~{3,})")
_ITEM: Final = re.compile(r" {0,3}(?:[-*+]|\d{1,9}[.)])[ \t]+\S")
_RULE: Final = re.compile(r"\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*$")
_SENTENCE: Final = re.compile(r"(?<=[.!?])\s+(?=\S)|(?<=[。！？；])(?=\S)")
_WORD: Final = re.compile("[\u3400-\u4dbf\u4e00-\u9fff]|[^\\W_\u3400-\u4dbf\u4e00-\u9fff]+")
_LINK: Final = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_MARKS: Final = re.compile(r"\\(\W)|[*`]+")


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a page. ``text`` is the operator's Markdown, ``path`` its headings as plain text, outermost first.

    ``also``: other words for the same, which are searched and never shown. ``intents``: which it answers.
    """

    page: str
    language: Language
    path: tuple[str, ...]
    text: str
    also: str = ""
    intents: tuple[str, ...] = ()

    @property
    def source(self) -> str:
        """Where it stands, as plain text: ``Returns › Time limits``."""
        return " › ".join(self.path)


def read_page(file: Path, language: Language) -> tuple[Passage, ...]:
    """The passages of a page, in its order.

    Raises:
        PackError: it cannot be read, is too large, is not UTF-8, or has text before its first heading.
    """
    try:
        if file.stat().st_size > MAX_FILE_BYTES:
            raise PackError(f"Pack file {file} is larger than {MAX_FILE_BYTES} bytes.")
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise PackError(f"Cannot read the pack file {file}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise PackError(f"Pack file {file} is not UTF-8: {error}.") from error
    try:
        return tuple(split_page(text, file.stem, language))
    except ValueError as error:
        raise PackError(f"Pack file {file} {error}.") from None


def split_page(text: str, page: str, language: Language) -> Iterator[Passage]:
    """Splits Markdown into passages of at most ``MAX_PASSAGE_WORDS`` words where it can be cut.

    A fenced code block is never cut. A table is cut between rows, and each part has the head again. A list is cut
    between items, a paragraph between sentences.

    Raises:
        ValueError: there is text before the first heading, or a heading has no words.
    """
    path: list[tuple[int, str, tuple[str, ...]]] = []
    for heading, notes, blocks in _sections(text):
        if heading is not None:
            level, title = heading
            if not title:
                raise ValueError("has a heading without words")
            path = [above for above in path if above[0] < level]
            intents = tuple(notes["intents"].replace(",", " ").split()) or (path[-1][2] if path else ())
            path.append((level, title, intents))
        elif blocks:
            raise ValueError("has text before its first heading")
        names = tuple(title for _, title, _ in path)
        for body in _packed(blocks):
            yield Passage(page, language, names, body, notes["also"], path[-1][2])


def count_words(text: str) -> int:
    """About how many words a reader sees; Chinese characters count by length."""
    found = _WORD.findall(text)
    han = sum(1 for word in found if len(word) == 1 and word >= "\u3400")
    return len(found) - han + round(han / _HAN_PER_WORD)


def plain_heading(text: str) -> str:
    """A heading without emphasis, code marks and link targets, on one line."""
    return " ".join(_MARKS.sub(lambda mark: mark[1] or "", _LINK.sub(r"\1", text)).split())


_Section = tuple[tuple[int, str] | None, Mapping[str, str], list[list[str]]]


def _sections(text: str) -> Iterator[_Section]:
    """Headings with their notes and the blocks below them, each a list of lines. The first has no heading."""
    heading: tuple[int, str] | None = None
    notes = {"also": "", "intents": ""}
    blocks: list[list[str]] = []
    fence = ""
    fresh = True
    for line in _without_comments(text):
        mark = _FENCE.match(line)
        if fence:
            blocks[-1].append(line)
            if _closes(mark, fence, line):
                fence, fresh = "", True
            continue
        found, note = _HEADING.match(line), _NOTE.match(line)
        if found:
            yield heading, notes, blocks
            heading, blocks, fresh = (len(found[1]), plain_heading(found[2] or "")), [], True
            notes = {"also": "", "intents": ""}
        elif note:
            notes[note[1]] = f"{notes[note[1]]} {note[2]}".strip()
        elif mark:
            fence = mark[1]
            blocks.append([line])
        elif not line.strip():
            fresh = True
        elif fresh and not (blocks and line[0] in " \t" and _ITEM.match(blocks[-1][0])):
            blocks.append([line])
            fresh = False
        elif fresh:
            # The second paragraph of an item belongs to it.
            blocks[-1] += ["", line]
            fresh = False
        else:
            blocks[-1].append(line)
    yield heading, notes, blocks


def _closes(mark: re.Match[str] | None, fence: str, line: str) -> bool:
    """Whether ``line`` ends the code that ``fence`` began: of its kind, as long, and with nothing behind it."""
    return mark is not None and mark[1].startswith(fence) and not line.strip().strip(fence[0])


def _without_comments(text: str) -> Iterator[str]:
    """The lines of ``text`` without comments other than notes; what looks like one inside fenced code stays."""
    fence = ""
    comment = False
    for line in text.splitlines():
        mark = _FENCE.match(line)
        if fence:
            if _closes(mark, fence, line):
                fence = ""
            yield line
            continue
        if comment:
            _, end, line = line.partition("-->")
            if not end:
                continue
            comment = False
        elif mark or _NOTE.match(line):
            fence = mark[1] if mark else ""
            yield line
            continue
        rest = _COMMENT.sub("", line)
        before, begun, _ = rest.partition("<!--")
        if begun:
            comment, rest = True, before.rstrip()
        # A line that was nothing but a comment is no line; an empty one keeps blocks apart.
        if rest.strip() or not line.strip():
            yield rest


def _packed(blocks: list[list[str]]) -> Iterator[str]:
    """Bodies of passages: as many blocks, or parts of blocks, as there is room for."""
    body = ""
    for joint, piece in _pieces(blocks):
        longer = f"{body}{joint}{piece}" if body else piece
        if body and count_words(longer) > MAX_PASSAGE_WORDS:
            yield body
            longer = piece
        body = longer
    if body:
        yield body


def _pieces(blocks: list[list[str]]) -> Iterator[tuple[str, str]]:
    """What a passage is put together from, each with what joins it to the piece before."""
    for lines in blocks:
        whole = "\n".join(lines)
        if count_words(whole) <= MAX_PASSAGE_WORDS or _FENCE.match(lines[0]):
            yield "\n\n", whole
        elif len(lines) > 2 and "|" in lines[0] and _RULE.match(lines[1]):
            yield from (("\n\n", part) for part in _tables(lines))
        elif _ITEM.match(lines[0]):
            yield from (("\n" if index else "\n\n", item) for index, item in enumerate(_items(lines)))
        else:
            sentences = _SENTENCE.split(whole)
            space = "" if _HAN_END.search(sentences[0]) else " "
            yield from ((space if index else "\n\n", sentence) for index, sentence in enumerate(sentences))


_HAN_END: Final = re.compile("[。！？；]$")


def _tables(lines: list[str]) -> Iterator[str]:
    """A table in parts that have room, each below the head."""
    head, rows = lines[:2], lines[2:]
    part: list[str] = []
    for row in rows:
        if part and count_words("\n".join([*head, *part, row])) > MAX_PASSAGE_WORDS:
            yield "\n".join([*head, *part])
            part = []
        part.append(row)
    yield "\n".join([*head, *part])


def _items(lines: list[str]) -> Iterator[str]:
    item: list[str] = []
    for line in lines:
        if item and _ITEM.match(line) and not line.startswith((" ", "\t")):
            yield "\n".join(item)
            item = []
        item.append(line)
    yield "\n".join(item)
