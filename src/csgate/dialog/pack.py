"""A dialog pack: what csgate says, and when; loaded from a folder of TOML and checked whole before anything is served.

``docs/dialog-packs.md`` describes the files.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from csgate.dialog.knowledge import KnowledgeIndex, load_knowledge
from csgate.dialog.manifest import (
    Escalation,
    IntentFile,
    KnowledgeRules,
    PackFile,
    PhraseFile,
    PictureFile,
    SlotFile,
    Thresholds,
    by_language,
    check,
    read_toml,
)
from csgate.dialog.recollection import fold
from csgate.dialog.slots import PACK_SLOTS, SlotName
from csgate.dialog.template import Template
from csgate.errors import PackError
from csgate.events import Language, SentimentLabel, Tag

_NO_WORD: Final = re.compile(r"[\W_]+")

SHIPPED: Final = Path(__file__).parent / "packs"

# The sentences that csgate itself says, with the places that each may use beside the slots.
PHRASES: Final[Mapping[str, frozenset[str]]] = {
    "clarify_two": frozenset(("first", "second")),
    "clarify_one": frozenset(("first",)),
    "clarify_none": frozenset(),
    "opening_negative": frozenset(),
    "opening_positive": frozenset(),
    "hand_over_asked": frozenset(),
    "hand_over_complaint": frozenset(),
    "hand_over_unhappy": frozenset(),
    "hand_over_unclear": frozenset(),
}
# What is said to a picture that no group fits: one whose tags are known, and one that nothing is known of.
OTHER_PICTURE: Final = "other"
UNCLEAR_PICTURE: Final = "unclear"

Variants = Mapping[Language, tuple[Template, ...]]


@dataclass(frozen=True, slots=True)
class PackIntent:
    """An intent: what it needs, what it says, and whether a person takes over.

    ``knowledge``: it asks for something that the pack's pages may answer.
    """

    name: str
    requires: tuple[SlotName, ...]
    quick_replies: tuple[str, ...]
    hand_over: bool
    opening: bool
    knowledge: bool
    title: Mapping[Language, str]
    say: Mapping[Language, str]
    replies: Variants


@dataclass(frozen=True, slots=True)
class PackSlot:
    name: SlotName
    title: Mapping[Language, str]
    ask: Variants
    again: Variants


@dataclass(frozen=True, slots=True)
class PackPicture:
    """What is said to a picture without words. ``tags`` are folded names; ``mood`` is what the picture alone tells."""

    name: str
    tags: frozenset[str]
    mood: SentimentLabel | None
    quick_replies: tuple[str, ...]
    replies: Variants


@dataclass(frozen=True, slots=True)
class PackPhrase:
    quick_replies: tuple[str, ...]
    texts: Variants


@dataclass(frozen=True, slots=True)
class Pack:
    """A whole, checked pack. Every name that it mentions exists in it, in each of its languages."""

    name: str
    title: str
    languages: tuple[Language, ...]
    thresholds: Thresholds
    escalation: Escalation
    intents: Mapping[str, PackIntent]
    slots: Mapping[SlotName, PackSlot]
    pictures: Mapping[str, PackPicture]
    phrases: Mapping[str, PackPhrase]
    system: Mapping[Language, str]
    knowledge: KnowledgeRules
    pages: Mapping[Language, KnowledgeIndex] = field(repr=False, compare=False)
    said: Mapping[str, str] = field(repr=False)
    person_phrases: Mapping[Language, tuple[str, ...]] = field(repr=False)
    groups: Mapping[str, tuple[str, ...]] = field(repr=False)

    def intent_said(self, text: str) -> str | None:
        """The intent whose quick reply ``text`` is, word for word; case and end punctuation do not count."""
        return self.said.get(fold(text)) if text else None

    def asks_for_person(self, text: str) -> bool:
        """Whether ``text`` holds one of the phrases that ask for a person outright."""
        if not text:
            return False
        folded = fold_words(text)
        for phrases in self.person_phrases.values():
            for phrase in phrases:
                if phrase in folded:
                    return True
        return False

    def picture_group(self, tags: Iterable[Tag]) -> PackPicture:
        """The group whose believable tags score most together.

        Together, because one tag misleads: a broken heart is a heart too, and tears may be of joy. ``other`` where no
        group has any of them, ``unclear`` where none is believable.
        """
        least = self.thresholds.picture
        believable = {fold_tag(tag.name): tag.score for tag in tags if tag.score >= least}
        scores: dict[str, float] = {}
        for tag, score in believable.items():
            for name in self.groups.get(tag, ()):
                scores[name] = scores.get(name, 0.0) + score
        most = max(scores.values(), default=0.0)
        if most > 0:
            # Among equals the first in the pack.
            return self.pictures[next(name for name in self.pictures if scores.get(name) == most)]
        return self.pictures[OTHER_PICTURE if believable else UNCLEAR_PICTURE]


@lru_cache(maxsize=4096)  # tags are the labels of a model, and come again and again
def fold_tag(name: str) -> str:
    """A tag's name for comparing: ``Red_Heart``, ``red-heart`` and ``red heart`` are one."""
    return fold(name.replace("_", " ").replace("-", " "))


def fold_words(text: str) -> str:
    """``text`` in lower case with one space between words and at both ends, and no punctuation."""
    return f" {_NO_WORD.sub(' ', text.casefold()).strip()} "


def groups_by_tag(pictures: Mapping[str, PackPicture]) -> dict[str, tuple[str, ...]]:
    """The names of the groups that a folded tag is in."""
    found: dict[str, tuple[str, ...]] = {}
    for name, picture in pictures.items():
        for tag in picture.tags:
            found[tag] = (*found.get(tag, ()), name)
    return found


def load_pack(name_or_folder: str | Path) -> Pack:
    """The shipped pack of that name, or the pack in that folder.

    Raises:
        PackError: anything in it is unknown, missing or wrong; one sentence that names file and key.
    """
    folder = Path(name_or_folder)
    if isinstance(name_or_folder, str) and (SHIPPED / name_or_folder / "pack.toml").is_file():
        folder = SHIPPED / name_or_folder
    if not folder.is_dir():
        shipped = ", ".join(sorted(path.name for path in SHIPPED.iterdir() if path.is_dir()))
        raise PackError(f"There is no dialog pack '{name_or_folder}': name a folder or a shipped pack ({shipped}).")
    return _Loader(folder).load()


class _Loader:
    """Reads one folder; holds what every check needs to name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.head = check(PackFile, read_toml(folder, "pack.toml"), folder / "pack.toml")
        self.languages = self.head.languages
        self.sources: dict[str, Path] = {}

    def load(self) -> Pack:
        intents = self.intents()
        pictures = self.pictures()
        phrases = self.phrases()
        slots = self.slots()
        for name, intent in intents.items():
            self.known(intent.quick_replies, intents, self.sources[name], f"{name}.quick_replies")
            for slot in intent.requires:
                if slot not in slots:
                    raise PackError(
                        f"Pack file {self.sources[name]}: key '{name}.requires' names '{slot}', "
                        "which slots.toml does not have."
                    )
        for name, picture in pictures.items():
            self.known(picture.quick_replies, intents, self.folder / "pictures.toml", f"{name}.quick_replies")
        for name, phrase in phrases.items():
            self.known(phrase.quick_replies, intents, self.folder / "phrases.toml", f"{name}.quick_replies")
        pages = load_knowledge(self.folder / "knowledge", self.languages)
        for language, index in pages.items():
            for passage in index.passages:
                file = self.folder / "knowledge" / language / f"{passage.page}.md"
                self.known(passage.intents, intents, file, "intents")
        rules = self.head.escalation
        pack_file = self.folder / "pack.toml"
        self.known(rules.complaint_intents, intents, pack_file, "escalation.complaint_intents")
        self.known((rules.handover_intent,), intents, pack_file, "escalation.handover_intent")
        self.known((rules.out_of_scope_intent,), intents, pack_file, "escalation.out_of_scope_intent")
        return Pack(
            name=self.head.name,
            title=self.head.title,
            languages=self.languages,
            thresholds=self.head.thresholds,
            escalation=rules,
            intents=intents,
            slots=slots,
            pictures=pictures,
            phrases=phrases,
            system=self.head.system,
            knowledge=self.head.knowledge,
            pages=pages,
            said=self.said(intents),
            person_phrases={
                # Chinese has no spaces between words.
                language: tuple(
                    fold_words(phrase).strip() if language == "zh" else fold_words(phrase) for phrase in said
                )
                for language, said in rules.phrases.items()
            },
            groups=groups_by_tag(pictures),
        )

    def intents(self) -> dict[str, PackIntent]:
        found: dict[str, PackIntent] = {}
        for file, name, table in self.tables():
            if name in found:
                raise PackError(f"Pack file {file}: intent '{name}' is already in {self.sources[name]}.")
            self.sources[name] = file
            shape = check(IntentFile, by_language(table, self.languages, file, name), file, name)
            for language, words in shape.texts.items():
                # A title is put inside a sentence, so it must be plain text.
                self.templates((words.title,), file, f"{name}.{language}.title", frozenset(), optional=False)
            found[name] = PackIntent(
                name=name,
                requires=shape.requires,
                quick_replies=shape.quick_replies,
                hand_over=shape.hand_over,
                opening=shape.opening,
                knowledge=shape.knowledge,
                title={language: words.title for language, words in shape.texts.items()},
                say={language: words.say for language, words in shape.texts.items()},
                replies={
                    language: self.templates(
                        words.replies, file, f"{name}.{language}.replies", frozenset(shape.requires)
                    )
                    for language, words in shape.texts.items()
                },
            )
        return found

    def tables(self) -> Iterator[tuple[Path, str, Any]]:
        names = ["intents.toml"] if (self.folder / "intents.toml").is_file() else []
        names += sorted(f"intents/{path.name}" for path in (self.folder / "intents").glob("*.toml"))
        if not names:
            raise PackError(f"Pack {self.folder} has no intents: put them into intents.toml or intents/*.toml.")
        for name in names:
            file = self.folder / name
            for intent, table in read_toml(self.folder, name).items():
                yield file, intent, table

    def slots(self) -> dict[SlotName, PackSlot]:
        file = self.folder / "slots.toml"
        found: dict[SlotName, PackSlot] = {}
        for name, table in read_toml(self.folder, "slots.toml").items():
            slot = next((known for known in PACK_SLOTS if known == name), None)
            if slot is None:
                raise PackError(f"Pack file {file}: key '{name}' is not known; slots are {', '.join(PACK_SLOTS)}.")
            shape = check(SlotFile, by_language(table, self.languages, file, name), file, name)
            found[slot] = PackSlot(
                name=slot,
                title={language: words.title for language, words in shape.texts.items()},
                ask={
                    language: self.templates(words.ask, file, f"{name}.{language}.ask", frozenset())
                    for language, words in shape.texts.items()
                },
                again={
                    language: self.templates(words.again, file, f"{name}.{language}.again", frozenset())
                    for language, words in shape.texts.items()
                },
            )
        return found

    def pictures(self) -> dict[str, PackPicture]:
        file = self.folder / "pictures.toml"
        found: dict[str, PackPicture] = {}
        for name, table in read_toml(self.folder, "pictures.toml").items():
            shape = check(PictureFile, by_language(table, self.languages, file, name), file, name)
            places = frozenset(("picture",)) if name == OTHER_PICTURE else frozenset()
            found[name] = PackPicture(
                name=name,
                tags=frozenset(map(fold_tag, shape.tags)),
                mood=shape.mood,
                quick_replies=shape.quick_replies,
                replies={
                    language: self.templates(words.replies, file, f"{name}.{language}.replies", places)
                    for language, words in shape.texts.items()
                },
            )
        for name in (OTHER_PICTURE, UNCLEAR_PICTURE):
            if name not in found:
                raise PackError(f"Pack file {file}: key '{name}' is missing.")
        return found

    def phrases(self) -> dict[str, PackPhrase]:
        file = self.folder / "phrases.toml"
        tables = read_toml(self.folder, "phrases.toml")
        for name in tables:
            if name not in PHRASES:
                raise PackError(f"Pack file {file}: key '{name}' is not known.")
        found: dict[str, PackPhrase] = {}
        for name, places in PHRASES.items():
            if name not in tables:
                raise PackError(f"Pack file {file}: key '{name}' is missing.")
            shape = check(PhraseFile, by_language(tables[name], self.languages, file, name), file, name)
            found[name] = PackPhrase(
                quick_replies=shape.quick_replies,
                texts={
                    language: self.templates(texts, file, f"{name}.{language}", places, optional=False)
                    for language, texts in shape.texts.items()
                },
            )
        return found

    def templates(
        self,
        sources: tuple[str, ...],
        file: Path,
        key: str,
        given: frozenset[str],
        *,
        optional: bool = True,
    ) -> tuple[Template, ...]:
        """Parsed templates that may rely on the places ``given``, and on any slot inside ``[[ ]]`` if ``optional``."""
        return tuple(self.template(source, file, key, given, optional) for source in sources)

    def template(self, source: str, file: Path, key: str, given: frozenset[str], optional: bool) -> Template:
        try:
            template = Template.parse(source)
        except ValueError as error:
            raise PackError(f"Pack file {file}: a text of '{key}' {error}.") from None
        allowed = given | (frozenset(PACK_SLOTS) if optional else frozenset())
        for name in sorted(template.needed | template.optional):
            if name not in allowed and name not in PACK_SLOTS:
                raise PackError(f"Pack file {file}: a text of '{key}' uses the unknown slot '{name}'.")
            if name not in allowed or (name in template.needed and name not in given):
                raise PackError(
                    f"Pack file {file}: a text of '{key}' relies on '{name}', which may be missing there; "
                    "require it or put it inside [[ ]]."
                )
        return template

    def known(self, names: Iterable[str], intents: Mapping[str, PackIntent], file: Path, key: str) -> None:
        for name in names:
            if name not in intents:
                raise PackError(f"Pack file {file}: key '{key}' names the unknown intent '{name}'.")

    def said(self, intents: Mapping[str, PackIntent]) -> dict[str, str]:
        found: dict[str, str] = {}
        for name, intent in intents.items():
            for language, line in intent.say.items():
                other = found.setdefault(fold(line), name)
                if other != name or not fold(line):
                    raise PackError(
                        f"Pack file {self.sources[name]}: key '{name}.{language}.say' has no words or is also "
                        f"what '{other}' says."
                    )
        return found
