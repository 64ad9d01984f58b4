"""The JSON Schema says what the decoder does."""

import json
import typing
from typing import Any

import msgspec
import pytest

from csgate.events import Event
from csgate.protocol import ClientEnvelope, ServerEnvelope, schemas
from csgate.protocol.decode import MessageFields, SimpleFields
from csgate.protocol.schema import CLIENT, SERVER, ClientMessage, SimpleMessage


@pytest.mark.parametrize(("decoded", "described"), [(MessageFields, ClientMessage), (SimpleFields, SimpleMessage)])
def test_the_described_message_is_the_decoded_one(decoded: type, described: type) -> None:
    """``type`` is the tag, ``image`` a Raw, and ``upload`` has a description; everything else is the same."""
    has = {field.name: field.type for field in msgspec.structs.fields(decoded)}
    says = {field.name: field.type for field in msgspec.structs.fields(described)}
    assert set(has) - set(says) == {"type"}
    assert set(says) <= set(has)
    assert says["text"] == has["text"]
    assert has["image"] == msgspec.Raw | msgspec.UnsetType
    if "id" in says:
        assert has["id"] == says["id"] | msgspec.UnsetType


def test_every_type_is_described() -> None:
    client = {kind.__struct_config__.tag for kind in typing.get_args(ClientEnvelope)}
    assert {kind.__struct_config__.tag for kind in CLIENT} == client
    server = set(typing.get_args(ServerEnvelope))
    assert set(SERVER) == server
    assert set(typing.get_args(Event)) < server


def test_it_is_a_json_document_whose_references_resolve() -> None:
    document = json.loads(json.dumps(schemas(), allow_nan=False))

    def references(part: Any) -> set[str]:
        if isinstance(part, dict):
            own = {part["$ref"]} if isinstance(part.get("$ref"), str) else set()
            return own.union(*map(references, part.values())) if part else own
        return set().union(*map(references, part)) if isinstance(part, list) else set()

    found = references(document)
    assert found
    for reference in found:
        assert reference.removeprefix("#/$defs/") in document["$defs"]
    assert len(document["client"]["anyOf"]) == len(CLIENT)
    assert len(document["server"]["anyOf"]) == len(SERVER)


def test_a_message_needs_no_type_but_something_said() -> None:
    for name, required in (("ClientMessage", ["id"]), ("SimpleMessage", [])):
        definition = schemas()["$defs"][name]
        assert definition["required"] == required
        assert definition["anyOf"] == [{"required": [name]} for name in ("text", "image", "upload")]
    assert schemas()["$defs"]["Hello"]["properties"]["type"] == {"enum": ["hello"]}
    assert schemas()["$defs"]["Rate"]["properties"]["score"] == {"type": "integer", "minimum": 1, "maximum": 5}
