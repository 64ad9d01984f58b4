"""``csgate serve``: flags to settings, the node run with them, start-up failures in a sentence."""

import errno
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from csgate.cli import serve as serve_module
from csgate.cli.groups import one_reason
from csgate.cli.main import main
from csgate.cli.serve import page_url
from csgate.config import Config
from csgate.errors import ConfigError, ModelError
from csgate.gateway import node as node_module
from csgate.telemetry import Telemetry

RunNode = Callable[..., Awaitable[None]]


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    """The configurations that a node was run with; the node is ready at once and ends at once."""
    configs: list[Config] = []

    async def run_node(config: Config, telemetry: Telemetry, join: Any, *, task_status: Any) -> None:
        configs.append(config)
        task_status.started(SimpleNamespace(address=(config.server.host, config.server.port or 54321)))

    monkeypatch.setattr(node_module, "run_node", run_node)
    return configs


def fail_with(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run_node(config: Config, telemetry: Telemetry, join: Any, *, task_status: Any) -> None:
        async with trio.open_nursery():
            raise error

    monkeypatch.setattr(node_module, "run_node", run_node)


def test_flags_become_settings(served: list[Config], capsys: pytest.CaptureFixture[str]) -> None:
    flags = "--host ::1 --port 0 --data-dir /d --models-dir /m --device cpu --pack p --log-format console"
    more = ["--log-level", "error", "--origin", "https://a.example", "--origin", "https://b.example"]
    assert main(["serve", *flags.split(), *more, "--set", "limits.max_json_depth=4"]) == 0
    (config,) = served
    assert (config.server.host, config.server.port, str(config.server.data_dir)) == ("::1", 0, "/d")
    assert config.server.origins == ("https://a.example", "https://b.example")
    assert (str(config.inference.models_dir), config.inference.device, config.dialog.pack) == ("/m", "cpu", "p")
    assert (config.log.format, config.log.level, config.limits.max_json_depth) == ("console", "error", 4)
    out = capsys.readouterr().out
    assert "csgate is ready at http://[::1]:54321/" in out
    assert "csgate chat ws://[::1]:54321/ws" in out


def test_without_flags_it_is_the_default(served: list[Config]) -> None:
    assert main(["serve"]) == 0
    assert served == [Config()]


def test_the_page_is_opened_when_asked_for(served: list[Config], monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(serve_module.webbrowser, "open", opened.append)
    assert main(["serve", "--open"]) == 0
    assert opened == ["http://127.0.0.1:8080/"]


@pytest.mark.parametrize(
    ("host", "tls", "url"),
    [
        ("127.0.0.1", False, "http://127.0.0.1:1/"),
        ("0.0.0.0", False, "http://127.0.0.1:1/"),
        ("::", True, "https://[::1]:1/"),
        ("10.1.2.3", True, "https://10.1.2.3:1/"),
    ],
)
def test_the_address_is_one_that_a_browser_can_open(host: str, tls: bool, url: str) -> None:
    assert page_url(host, 1, tls=tls) == url


def test_a_start_that_fails_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fail_with(ModelError("The model 'x' is broken; reinstall it."), monkeypatch)
    assert main(["serve"]) == 2
    assert capsys.readouterr().err == "csgate: The model 'x' is broken; reinstall it.\n"
    fail_with(PermissionError(errno.EACCES, "Permission denied", "/data/secret"), monkeypatch)
    assert main(["serve"]) == 2
    assert capsys.readouterr().err == "csgate: The system refuses '/data/secret': Permission denied.\n"
    fail_with(KeyboardInterrupt(), monkeypatch)
    assert main(["serve"]) == 130


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(ZeroDivisionError("a bug"), monkeypatch)
    with pytest.raises(BaseExceptionGroup) as caught:
        main(["serve"])
    assert caught.group_contains(ZeroDivisionError)


def test_our_own_sentence_comes_before_what_the_system_says() -> None:
    group = BaseExceptionGroup("g", [OSError(5, "I/O"), BaseExceptionGroup("h", [ConfigError("Ours.")])])
    assert str(one_reason(group)) == "Ours."
    assert str(one_reason(BaseExceptionGroup("g", [OSError("odd")]))) == "The system refuses: odd."
    mixed = BaseExceptionGroup("g", [OSError(5, "I/O"), ValueError()])
    assert one_reason(mixed) is mixed
