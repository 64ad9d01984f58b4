"""What a model was to reach, what it reached, and the table of it all: one `goals.json` in each model folder."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

FILE: Final = "goals.json"


@dataclass(frozen=True, slots=True)
class Goal:
    """One goal and its figure. `at_least` is false where the figure is to stay below the target."""

    title: str
    target: float
    figure: float
    at_least: bool = True

    @property
    def met(self) -> bool:
        """Decide as the figure is printed, never by what rounding hides."""
        return self.figure >= self.target if self.at_least else self.figure <= self.target


def write_goals(folder: Path, goals: Iterable[Goal]) -> None:
    """Write a model folder's goals."""
    rows = [asdict(goal) | {"met": goal.met} for goal in goals]
    (folder / FILE).write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_goals(folder: Path) -> list[Goal]:
    """Read a model folder's goals; none where it has no such file."""
    if not (folder / FILE).is_file():
        return []
    rows = json.loads((folder / FILE).read_text(encoding="utf-8"))
    return [Goal(**{name: row[name] for name in ("title", "target", "figure", "at_least")}) for row in rows]


def goals_table(goals: Iterable[tuple[str, Goal]]) -> str:
    """Lay out (model, goal) rows as Markdown: goal, figure, met or not."""
    lines = ["| model | goal | figure | |", "| --- | --- | ---: | --- |"]
    for model, goal in goals:
        if goal.target == 0:  # a figure to know, for which no goal was set
            lines.append(f"| {model} | {goal.title} | {goal.figure:.3f} | |")
            continue
        sign = "≥" if goal.at_least else "≤"
        lines.append(
            f"| {model} | {goal.title} {sign} {goal.target:g} | {goal.figure:.3f} | "
            f"{'met' if goal.met else '**not met**'} |"
        )
    return "\n".join(lines)
