"""The command line as a whole: help, exit codes, one sentence for an error."""

import subprocess
import sys
from typing import Any

import pytest

from csgate.cli import main as main_module
from csgate.cli.main import main
from csgate.errors import ConfigError, Overloaded

COMMANDS = ("serve", "chat", "token", "models", "config")


def test_without_a_command_the_help_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "csgate serve" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [["--help"], *([name, "--help"] for name in COMMANDS), ["models", "check", "-h"], ["models", "run", "-h"]],
)
def test_every_help_says_something(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert len(out) > 300
    assert max(len(line) for line in out.splitlines()) <= 130


def test_version_names_every_part(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["--version"]) == 0
    out = capsys.readouterr().out
    for part in ("csgate ", "python 3.", "trio ", "onnxruntime ", "CPUExecutionProvider", "core "):
        assert part in out

    from csgate import _fast
    from csgate.cli import version

    def absent() -> Any:
        raise ConfigError("ONNX Runtime is not installed; install it.")

    monkeypatch.setattr(version, "import_runtime", absent)
    monkeypatch.setattr(_fast, "IMPLEMENTATION", "pure")
    assert main(["--version"]) == 0
    out = capsys.readouterr().out
    assert "onnxruntime missing: ONNX Runtime is not installed; install it." in out
    assert "core pure" in out


@pytest.mark.parametrize(("error", "code"), [(ConfigError("Wrong."), 2), (Overloaded("Full."), 1)])
def test_a_refusal_is_one_sentence(
    error: Exception, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_: object) -> int:
        raise error

    monkeypatch.setattr(main_module.settings, "read_config", refuse)
    assert main(["config"]) == code
    assert capsys.readouterr().err == f"csgate: {error}\n"


def test_ctrl_c_has_its_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(main_module.settings, "read_config", interrupt)
    assert main(["config"]) == 130


def test_wrong_usage_is_told_by_argparse(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["serv"], ["serve", "--prot", "1"], ["serve", "--device", "tpu"], ["token"], ["models"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2
        assert "usage: csgate" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["serve", "--prot", "1"], "--port"),
        (["serve", "--prot=1"], "--port"),
        (["serv"], "serve"),
        (["models", "chekc"], "check"),
        (["models", "check", "--modles-dir", "x"], "--models-dir"),
        (["serve", "--devise", "cuda", "--prot", "1"], "--device and --port"),
        (["serve", "--log-format", "jsno"], "json"),
    ],
)
def test_what_is_spelt_almost_right_is_suggested(
    arguments: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().err.endswith(f"; did you mean {meant}?\n")


@pytest.mark.parametrize("arguments", [["zzzzz"], ["serve", "--zzzzz"], ["serve", "superfluous"]])
def test_what_is_like_nothing_gets_no_suggestion(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    said = capsys.readouterr().err
    assert arguments[-1] in said
    assert "did you mean" not in said


def test_a_reader_that_leaves_early_costs_no_traceback() -> None:
    command = [sys.executable, "-m", "csgate", "config", "--reference"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(30) == 1
