"""A training's state on disk, so that it goes on where it was interrupted."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch


def resume(path: Path, parts: Mapping[str, Any]) -> int:
    """Load the parts' state from `path`, if it is there; the step to go on with."""
    if not path.exists():
        return 0
    saved = torch.load(path, weights_only=False)
    for name, part in parts.items():
        part.load_state_dict(saved[name])
    return int(saved["step"])


def keep(path: Path, parts: Mapping[str, Any], step: int) -> None:
    """Save the parts' state as of before `step`: beside its place and moved there, so that no half of it is found."""
    state = {name: part.state_dict() for name, part in parts.items()}
    torch.save({**state, "step": step}, path.with_suffix(".new"))
    os.replace(path.with_suffix(".new"), path)
