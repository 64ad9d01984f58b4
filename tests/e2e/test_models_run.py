"""``csgate models run`` as people run it: in a pipe, and on a terminal."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

from . import pictures
from .test_commands import csgate


def test_three_tasks_in_pipes(tmp_path: Path) -> None:
    sticker = tmp_path / "sticker.png"
    sticker.write_bytes(pictures.png())
    both = json.dumps({"text": "Where is my order 12345?", "image": str(sticker)})
    lines = f'{both}\n\nnonsense\n{{"text": "我的订单在哪里？", "image": {json.dumps(str(sticker))}}}\n'
    for task, name in (("intent", "track_order"), ("sentiment", None), ("tagger", None)):
        done = csgate("models", "run", task, "--language", "zh", text=lines)
        assert done.returncode == 1, done.stderr
        first, wrong, last = [json.loads(line) for line in done.stdout.splitlines()]
        assert (first["line"], wrong["error"]["line"], last["line"]) == (1, 3, 4)
        assert name is None or first["name"] == last["name"] == name
        assert done.stderr == ""
    assert csgate("models", "run", "intent", text=f"{both}\n").returncode == 0


def test_a_terminal_shows_how_far_it_is(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('{"text": "hello"}\n' * 100, encoding="utf-8")
    leader, follower = pty.openpty()
    try:
        with source.open("rb") as stdin:
            done = subprocess.run(
                [sys.executable, "-m", "csgate", "models", "run", "intent"],
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=follower,
                timeout=60,
                check=False,
            )
        shown = os.read(leader, 65536).decode()
    finally:
        os.close(leader)
        os.close(follower)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 100
    assert "100%" in shown
    assert "100 items" in shown
