"""The shape of a pack's TOML files, and reading them with errors that name file and key."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from csgate.dialog.slots import SlotName
from csgate.errors import PackError
from csgate.events import Language, SentimentLabel

MAX_FILE_BYTES: Final = 1024 * 1024

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Line = Annotated[str, Field(min_length=1, max_length=200)]
Text = Annotated[str, Field(min_length=1, max_length=4000)]
Texts = Annotated[tuple[Text, ...], Field(min_length=1, max_length=50)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1, le=100)]
Names = tuple[Name, ...]


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Thresholds(_Shape):
    """``confidence``: below it, csgate asks. ``ambiguity``: so near the second, it asks too. ``picture``: what a tag
    must score to be believed. ``mood``: what a sentiment score must reach to colour the reply."""

    confidence: Share = 0.7
    ambiguity: Share = 0.1
    picture: Share = 0.2
    mood: Share = 0.4


class Escalation(_Shape):
    """When a person takes over: after so many messages in a row. ``phrases`` ask for one outright."""

    negative_messages: Count = 3
    failed_clarifications: Count = 2
    complaints: Count = 2
    complaint_intents: Names = ()
    handover_intent: Name
    out_of_scope_intent: Name
    phrases: dict[Language, tuple[Line, ...]] = {}


class KnowledgeRules(_Shape):
    """When a passage of the pack's pages answers. ``threshold``: what its score must reach. ``margin``: how far it must
    be ahead of the next. ``sample``: the pages are not the shop's own yet, which is said in the log at every start."""

    threshold: Share = 0.7
    margin: Share = 0.02
    sample: bool = False

    def accepts(self, score: float, lead: float) -> bool:
        return score >= self.threshold and lead >= self.margin


class PackFile(_Shape):
    """pack.toml. ``system``: what a generator is told first, by language."""

    name: Name
    title: Line
    languages: Annotated[tuple[Language, ...], Field(min_length=1)]
    thresholds: Thresholds = Thresholds()
    escalation: Escalation
    knowledge: KnowledgeRules = KnowledgeRules()
    system: dict[Language, Text] = {}


class IntentWords(_Shape):
    """One intent in one language. ``title`` names it inside a question; ``say`` is its quick reply."""

    title: Line
    say: Line
    replies: Texts


class IntentFile(_Shape):
    """A table of intents.toml or intents/*.toml."""

    requires: tuple[SlotName, ...] = ()
    quick_replies: Names = ()
    hand_over: bool = False
    opening: bool = True
    knowledge: bool = False
    texts: dict[Language, IntentWords]


class SlotWords(_Shape):
    """One slot in one language: ``ask`` the first time, ``again`` when the answer did not have it."""

    title: Line
    ask: Texts
    again: Texts


class SlotFile(_Shape):
    """A table of slots.toml."""

    texts: dict[Language, SlotWords]


class PictureWords(_Shape):
    replies: Texts


class PictureFile(_Shape):
    """A table of pictures.toml: what to say to a picture without words that has one of ``tags``."""

    tags: tuple[Line, ...] = ()
    mood: SentimentLabel | None = None
    quick_replies: Names = ()
    texts: dict[Language, PictureWords]


class PhraseFile(_Shape):
    """A table of phrases.toml: sentences that belong to no intent."""

    quick_replies: Names = ()
    texts: dict[Language, Texts]


Shape = TypeVar("Shape")


def read_toml(folder: Path, name: str) -> dict[str, Any]:
    """The top table of ``folder/name``.

    Raises:
        PackError: the file is missing, too large, or not TOML.
    """
    file = folder / name
    try:
        if file.stat().st_size > MAX_FILE_BYTES:
            raise PackError(f"Pack file {file} is larger than {MAX_FILE_BYTES} bytes.")
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise PackError(f"Cannot read the pack file {file}: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PackError(f"Pack file {file} is not valid TOML: {error}.") from error


def check(shape: type[Shape], value: object, file: Path, key: str = "") -> Shape:
    """``value`` as a ``shape``.

    Raises:
        PackError: a key is unknown, missing or wrong; one sentence that names file and key.
    """
    try:
        return TypeAdapter(shape).validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        # pydantic marks a wrong key of a dict by a last part of its own.
        parts = [str(part) for part in first["loc"] if part not in ("[key]", "texts")]
        where = ".".join(part for part in (key, *parts) if part)
        if first["type"] == "extra_forbidden":
            raise PackError(f"Pack file {file}: key '{where}' is not known.") from None
        if first["type"] == "missing":
            raise PackError(f"Pack file {file}: key '{where}' is missing.") from None
        raise PackError(f"Pack file {file}: key '{where}' is wrong: {first['msg']}.") from None


def by_language(table: object, languages: tuple[Language, ...], file: Path, key: str) -> Mapping[str, Any]:
    """``table`` with its language sub-tables (``[name.en]``) gathered under ``texts``.

    Raises:
        PackError: it is no table, lacks a language of the pack, or has one that the pack does not list.
    """
    if not isinstance(table, dict):
        raise PackError(f"Pack file {file}: key '{key}' is not a table.")
    texts = {name: value for name, value in table.items() if name in ("en", "zh")}
    for language in languages:
        if language not in texts:
            raise PackError(f"Pack file {file}: key '{key}' has no '{language}', a language of the pack.")
    for name in texts:
        if name not in languages:
            raise PackError(f"Pack file {file}: key '{key}.{name}' is in a language that pack.toml does not list.")
    return {name: value for name, value in table.items() if name not in texts} | {"texts": texts}
