"""Settings: where they come from, which wins, and what a wrong one is told."""

from pathlib import Path

import pytest

from csgate.config import Config, load_config, setting_value, settings, variable_name
from csgate.errors import ConfigError


def refusal(
    file: Path | None = None,
    overrides: dict[str, object] | None = None,
    environ: dict[str, str] | None = None,
) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(file, overrides, environ or {})
    return str(caught.value)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "csgate.toml"
    path.write_text('[server]\nhost = "10.0.0.1"\nport = 1001\ndrain_seconds = 3\n', encoding="utf-8")
    return path


def test_nothing_gives_the_defaults() -> None:
    assert load_config(environ={}) == Config()


def test_flags_win_over_the_environment_over_the_file_over_the_defaults(file: Path) -> None:
    config = load_config(
        file,
        {"server": {"host": "10.0.0.3"}},
        {"CSGATE_SERVER__HOST": "10.0.0.2", "CSGATE_SERVER__PORT": "1002"},
    )
    assert (config.server.host, config.server.port, config.server.drain_seconds, config.server.backlog) == (
        "10.0.0.3",
        1002,
        3.0,
        1024,
    )


def test_the_process_environment_is_read_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CSGATE_SERVER__PORT", "4321")
    assert load_config().server.port == 4321


def test_variables_that_are_no_settings_are_left_alone() -> None:
    environ = {"CSGATE_FAST": "pure", "SERVER__PORT": "1", "CSGATE_SERVER__PORT": ""}
    assert load_config(environ=environ) == Config()


def test_lists_in_the_environment_are_toml_arrays() -> None:
    config = load_config(environ={"CSGATE_SERVER__ORIGINS": '["https://a.example", "https://b.example"]'})
    assert config.server.origins == ("https://a.example", "https://b.example")
    assert setting_value("[broken") == "[broken"


def test_a_list_that_is_none_is_told_how_to_write_one() -> None:
    said = refusal(environ={"CSGATE_SERVER__ORIGINS": "https://a.example"})
    assert said == 'Environment variable CSGATE_SERVER__ORIGINS is a list; write it as such, e.g. ["a", "b"].'


def test_an_unknown_name_is_named_with_its_source(file: Path) -> None:
    assert "Environment variable CSGATE_SERVER__PRT is not known" in refusal(environ={"CSGATE_SERVER__PRT": "1"})
    assert "Environment variable CSGATE_SEVER__PORT is not known" in refusal(environ={"CSGATE_SEVER__PORT": "1"})
    assert "Setting 'server.prt' is not known" in refusal(overrides={"server": {"prt": 1}})
    file.write_text("[server]\nprt = 1\n", encoding="utf-8")
    assert f"Setting 'server.prt' in {file} is not known" in refusal(file)


def test_a_wrong_value_is_named_with_its_reason_and_source(file: Path) -> None:
    said = refusal(environ={"CSGATE_SERVER__PORT": "eighty"})
    assert said.startswith("Environment variable CSGATE_SERVER__PORT is wrong: Input should be a valid integer")
    assert said.endswith("(given: 'eighty').")
    assert refusal(overrides={"server": {"port": -1}}) == (
        "Setting 'server.port' is wrong: Input should be greater than or equal to 0 (given: -1)."
    )
    file.write_text("[limits]\nmax_text_chars = 0\n", encoding="utf-8")
    assert f"Setting 'limits.max_text_chars' in {file} is wrong: Input should be greater than 0" in refusal(file)


def test_what_belongs_together_is_asked_for_together() -> None:
    assert "tls_certificate and tls_key belong together" in refusal(environ={"CSGATE_SERVER__TLS_KEY": "key.pem"})
    assert "operator_host needs operator_port" in refusal(overrides={"server": {"operator_host": "127.0.0.1"}})
    overrides = {"server": {"operator_host": "127.0.0.1", "operator_port": 9}}
    assert load_config(overrides=overrides, environ={}).server.operator_port == 9


@pytest.mark.parametrize("value", [["a", "list"], 12345])
def test_a_secret_is_never_shown(value: object) -> None:
    secret = "s3cret-" * 8
    config = load_config(environ={"CSGATE_AUTH__SECRET": secret})
    assert config.auth.secret is not None
    assert config.auth.secret.get_secret_value() == secret
    assert secret not in repr(config)
    assert secret not in str(config.model_dump())
    said = refusal(overrides={"auth": {"secret": value}})
    assert "auth.secret" in said
    assert str(value) not in said


def test_a_long_value_is_not_repeated() -> None:
    assert "given" not in refusal(environ={"CSGATE_SERVER__PORT": "9" * 100 + "x"})


def test_a_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.toml").startswith("Cannot read the configuration file")
    wrong = tmp_path / "wrong.toml"
    wrong.write_text("port 8080", encoding="utf-8")
    assert "is not valid TOML" in refusal(wrong)
    wrong.write_bytes(b"\xff\xfe")
    assert "is not valid TOML" in refusal(wrong)
    wrong.write_text("server = 8080", encoding="utf-8")
    assert "'server'" in refusal(wrong)
    assert "[server]" in refusal(wrong)


def test_the_tree_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Config().server.port = 1


def test_every_setting_says_what_it_is_for() -> None:
    for section, fields in settings():
        for key, field in fields.items():
            assert field.description, f"{section}.{key}"
            assert variable_name(section, key) == f"CSGATE_{section}__{key}".upper()
