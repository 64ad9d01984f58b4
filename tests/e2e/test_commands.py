"""The commands as people run them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from . import pictures
from .conftest import Server


def csgate(*arguments: str, text: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "csgate", *arguments],
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
    )


def test_chat_answers_text_and_a_picture_in_both_languages(server: Server, tmp_path: Path) -> None:
    sticker = tmp_path / "sticker.png"
    sticker.write_bytes(pictures.png())
    said = f"Where is my order 12345?\n/image {sticker}\n我的订单12345在哪里？\n"
    done = csgate("chat", server.ws, text=said)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("12345") >= 2
    assert "订单" in done.stdout
    assert "Traceback" not in done.stderr


def test_chat_with_a_token(server: Server) -> None:
    done = csgate("chat", server.ws, "--token", server.token(), text="hello\n")
    assert done.returncode == 0, done.stderr
    refused = csgate("chat", server.ws, "--token", "nonsense", text="hello\n")
    assert refused.returncode != 0
    assert "token" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_token_is_taken_by_the_server(server: Server) -> None:
    minted = csgate("token", "--sub", "ann", CSGATE_AUTH__SECRET="end-to-end-secret-of-more-than-thirty-two-bytes")
    assert minted.returncode == 0, minted.stderr
    done = csgate("chat", server.ws, "--token", minted.stdout.strip(), text="hello\n")
    assert done.returncode == 0, done.stderr


def test_models(tmp_path: Path) -> None:
    listed = csgate("models", "list")
    assert listed.returncode == 0, listed.stderr
    assert "shop-intent" in listed.stdout
    checked = csgate("models", "check")
    assert checked.returncode == 0, checked.stderr


def test_version_names_what_runs() -> None:
    done = csgate("--version")
    assert done.returncode == 0
    for word in ("csgate", "onnxruntime", "CPUExecutionProvider", "native"):
        assert word in done.stdout


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("serve", "--config", "/no/such/file.toml"), "/no/such/file.toml"),
        (("serve", "--port", "99999999"), "port"),
        (("serve", "--models-dir", "/no/such/models"), "/no/such/models"),
        (("serve", "--pack", "no-such-pack"), "no-such-pack"),
        (("chat", "ws://127.0.0.1:1/ws"), "127.0.0.1"),
        (("serve", "--device", "cuda"), "cuda"),
    ],
)
def test_errors_are_one_sentence_with_a_way_out(arguments: tuple[str, ...], word: str, tmp_path: Path) -> None:
    done = csgate(*arguments, text="hello\n", CSGATE_SERVER__DATA_DIR=str(tmp_path))
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr
    assert word.lower() in done.stderr.lower()


def test_a_port_that_is_taken(server: Server, tmp_path: Path) -> None:
    done = csgate("serve", "--port", str(server.port), "--data-dir", str(tmp_path))
    assert done.returncode in (1, 2)
    assert str(server.port) in done.stderr
    assert "Traceback" not in done.stderr


def test_logs_are_json_with_ids(server: Server) -> None:
    csgate("chat", server.ws, text="hello\n")
    assert all(isinstance(json.loads(line), dict) for line in server.text if line.startswith("{"))
    assert any("connection" in entry for entry in server.log)
