"""``csgate protocol``, and the files in docs/protocol/ that it writes."""

import json
from pathlib import Path

import pytest

from csgate.cli.main import main
from csgate.cli.protocol import text_of
from csgate.protocol import documents, schemas

FOLDER = Path(__file__).parents[2] / "docs" / "protocol"


def test_the_exported_schemas_are_those_of_the_code() -> None:
    told = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.schema.json")}
    assert told == {name: text_of(document) for name, document in documents().items()}, (
        "An envelope has changed, and docs/protocol/ has not: run 'csgate protocol --schemas docs/protocol'. "
        "Then read contracts/README.md: a change that a client could notice needs a new protocol version."
    )


def test_every_document_is_complete_in_itself() -> None:
    for name, document in documents().items():
        text = json.dumps(document)
        for definition in document.get("$defs", {}):
            assert f'"#/$defs/{definition}"' in text, name
        assert text.count('"#/$defs/') >= len(document.get("$defs", {}))
        used = {part.partition('"')[0] for part in text.split('"#/$defs/')[1:]}
        assert used == set(document.get("$defs", {})), name


def test_it_prints_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["protocol"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(schemas()))


def test_it_writes_files_and_removes_stale_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "schemas"
    folder.mkdir()
    (folder / "server.old.schema.json").touch()
    (folder / "other.txt").touch()
    assert main(["protocol", "--schemas", str(folder)]) == 0
    assert {path.name for path in folder.iterdir()} == {*documents(), "other.txt"}
    assert main(["protocol", "--schemas", str(folder / "other.txt")]) == 2
    assert "cannot be written" in capsys.readouterr().err
