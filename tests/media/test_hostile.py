"""Hostile pictures through every door of the media part, in a process of their own that is measured."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.media.hostile import CORPUS
from tests.media.hostile_run import DOORS

Told = dict[str, dict[str, Any]]

ROOT = Path(__file__).parents[2]
MAX_SECONDS = 1.0
MAX_MEBIBYTES = 200


def send(*names: str) -> Told:
    # Without the tracer that this process may run under, whose time would count as ours.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.media.hostile_run", *names],
        cwd=ROOT,
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    result: Told = json.loads(done.stdout)
    return result


@pytest.fixture(scope="module")
def told() -> Told:
    return send()


def too_much(told: Told) -> dict[str, tuple[float, float]]:
    costs = {name: (one["seconds"], one["mebibytes"]) for name, one in told.items()}
    return {name: cost for name, cost in costs.items() if cost[0] > MAX_SECONDS or cost[1] > MAX_MEBIBYTES}


def test_each_is_refused_or_made_safe(told: Told) -> None:
    wrong = []
    for name, one in CORPUS.items():
        expected = one.outcome
        for door in DOORS:
            outcome = told[f"{name} by {door}"]
            # By a message, a bad picture is not refused at this door: the turn does that.
            if outcome["outcome"] != expected != "either" and not _announced_otherwise(name, door):
                wrong.append((name, door, outcome))
            if door == "upload" and outcome["outcome"] == "refused":
                assert outcome["code"] in ("bad_image", "unsupported_image", "image_too_large", "too_large"), name
    assert not wrong


def _announced_otherwise(name: str, door: str) -> bool:
    return door == "offer" and name.endswith("says_it_is_a_jpeg")


def test_none_takes_long_or_much(told: Told) -> None:
    assert len(told) == len(CORPUS) * len(DOORS)
    costly = too_much(told)
    if costly:
        # What is so by nature is so again; a machine that others share counts one of their pauses as ours.
        costly = too_much(send(*dict.fromkeys(name.rpartition(" by ")[0] for name in costly)))
    assert not costly
