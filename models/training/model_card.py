"""Write MODEL_CARD.md: what a model is, what it learned from, how well it does, where it fails."""

from __future__ import annotations

import json
from pathlib import Path


def table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return a Markdown table."""
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def figure(value: float) -> str:
    """Return a share with three digits."""
    return f"{value:.3f}"


def write_card(folder: Path, body: str, figures: dict[str, float]) -> None:
    """Write the card, and the figures beside it as JSON for programs."""
    (folder / "MODEL_CARD.md").write_text(body.strip() + "\n", encoding="utf-8")
    rounded = {name: round(float(value), 4) for name, value in figures.items()}
    (folder / "figures.json").write_text(json.dumps(rounded, indent=1) + "\n", encoding="utf-8")
