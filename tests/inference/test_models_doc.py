"""docs/models.md: its examples are accepted, and every key of a manifest is in it."""

import re
from pathlib import Path

import msgspec

from csgate.inference.manifest import Manifest, parse_manifest

TEXT = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)


def test_the_examples_are_accepted() -> None:
    found = []
    for example in EXAMPLES:
        name = re.search(r'name = "([^"]+)"', example)
        assert name is not None
        found.append(parse_manifest(example.encode(), Path(name[1]) / "model.toml").task)
    assert found == ["tagger", "intent", "tagger"]


def test_every_key_is_described() -> None:
    keys: set[str] = set()

    def collect(struct: type[msgspec.Struct]) -> None:
        for field in msgspec.structs.fields(struct):
            keys.add(field.encode_name)
            for part in getattr(field.type, "__args__", (field.type,)):
                if isinstance(part, type) and issubclass(part, msgspec.Struct):
                    collect(part)

    collect(Manifest)
    described = set(re.findall(r"^\s*\[?([a-z0-9_]+)", "\n".join(EXAMPLES), re.MULTILINE))
    assert keys - described == {"description"}
