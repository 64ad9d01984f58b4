"""``csgate config``, the flags that stand for settings, and docs/configuration.md."""

import tomllib
from pathlib import Path

import pytest

from csgate.cli.main import main
from csgate.cli.settings import in_force, reference
from csgate.config import Config, load_config

DOCUMENT = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_the_document_is_up_to_date() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == reference(), "run: make config-docs"


def test_the_reference_names_every_setting_with_its_bounds_and_choices() -> None:
    text = reference()
    assert "| `port` | `CSGATE_SERVER__PORT` | integer, ≥ 0, ≤ 65535 | `8080` |" in text
    assert "| `operator_port` | `CSGATE_SERVER__OPERATOR_PORT` | integer, ≥ 0, ≤ 65535 | not set |" in text
    assert '| `device` | `CSGATE_INFERENCE__DEVICE` | `auto`, `cuda`, `cpu` | `"auto"` |' in text
    assert "| `algorithms` | `CSGATE_AUTH__ALGORITHMS` | list of `HS256`," in text
    assert "| `secret` | `CSGATE_AUTH__SECRET` | secret | not set |" in text
    assert "| `drain_seconds` | `CSGATE_SERVER__DRAIN_SECONDS` | number, > 0 | `20.0` |" in text
    for section in Config.model_fields:
        assert f"\n## [{section}]\n" in text


def test_what_is_printed_can_be_used_as_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["config", "--set", "server.port=8123", "--set", 'server.origins=["https://a.example"]']
    assert main([*arguments, "--set", "server.page=false"]) == 0
    printed = capsys.readouterr().out
    assert tomllib.loads(printed)["server"]["port"] == 8123
    file = tmp_path / "csgate.toml"
    file.write_text(printed, encoding="utf-8")
    config = load_config(file, environ={})
    assert (config.server.port, config.server.origins, config.server.page) == (8123, ("https://a.example",), False)
    assert in_force(config) == printed
    assert main(["config", "--config", str(file)]) == 0
    assert capsys.readouterr().out == printed


def test_secrets_are_not_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("CSGATE_AUTH__SECRET", "a-secret-of-thirty-two-bytes-or-more")
    assert main(["config"]) == 0
    out = capsys.readouterr().out
    assert "a-secret" not in out
    assert "# secret is set (not shown)" in out
    assert main(["config", "--set", "auth.secret="]) == 0
    assert "# secret is set" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["server.port", "port=1", ".port=1", "server.=1", "=1"])
def test_an_assignment_of_another_form_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--set", text]) == 2
    assert "is not of the form section.key=value" in capsys.readouterr().err


def test_a_wrong_file_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--config", "/no/such/file.toml"]) == 2
    assert capsys.readouterr().err == (
        "csgate: Cannot read the configuration file /no/such/file.toml: No such file or directory.\n"
    )
