"""The loop that trains a text classifier: resumable, and the same for the same seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from checkpoint import keep, resume
from text_encoder import TextClassifier, TokenRows
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

PEAK_RATE: Final = 2e-3
RISE_STEPS: Final = 200
CHECKPOINT_STEPS: Final = 500


@dataclass(frozen=True, slots=True)
class Batch:
    """Texts for one head, and what their loss weighs."""

    texts: list[str]
    labels: list[int]
    head: int = 0
    weight: float = 1.0


def text_cost(text: str) -> int:
    """Guess the number of tokens, times three: a Chinese character is one, three Latin letters about one."""
    return sum(3 if ord(char) > 0x2E80 else 1 for char in text)


def _short_and_long(batch: Batch) -> list[Batch]:
    """Split off the longest third: most of a mixed batch would be padding."""
    order = sorted(range(len(batch.texts)), key=lambda at: text_cost(batch.texts[at]))
    cut = len(order) * 2 // 3
    return [
        Batch(
            [batch.texts[at] for at in part],
            [batch.labels[at] for at in part],
            batch.head,
            batch.weight * len(part) / len(order),
        )
        for part in (order[:cut], order[cut:])
        if part
    ]


def fit_text(
    model: TextClassifier,
    rows: TokenRows,
    draw: Callable[[int], list[Batch]],
    *,
    steps: int,
    seed: int,
    checkpoint: Path,
    score: Callable[[TextClassifier], float],
) -> TextClassifier:
    """Train, or go on from the checkpoint.

    Args:
        model: changed in place.
        rows: turns texts into ids, with dropout of pieces.
        draw: the batches of a step; must depend on the step alone.
        steps: how many in all; the learning rate falls along a cosine to nothing at the end.
        seed: of dropout.
        checkpoint: written every 500 steps.
        score: measures the averaged weights on held-back rows, for the log.

    Returns:
        The exponential average of the weights.
    """
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.998))
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, weight_decay=0.02)
    parts = {"model": model, "average": average, "optimizer": optimizer}
    fast_bfloat16 = bool(torch.cpu.get_capabilities().get("avx512_bf16"))
    start = resume(checkpoint, parts)
    for step in tqdm(range(start, steps), initial=start, total=steps, desc=checkpoint.stem, mininterval=5):
        torch.manual_seed(seed + step)
        for group in optimizer.param_groups:
            group["lr"] = (
                PEAK_RATE * min(1.0, (step + 1) / RISE_STEPS) * 0.5 * (1 + np.cos(np.pi * step / steps)) + 1e-6
            )
        model.train()
        optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for batch in draw(step):
            for part in _short_and_long(batch):
                with torch.autocast("cpu", torch.bfloat16, enabled=fast_bfloat16):
                    logits = model(rows(part.texts), part.head)
                loss = F.cross_entropy(logits.float(), torch.tensor(part.labels), label_smoothing=0.05) * part.weight
                loss.backward()  # type: ignore[no-untyped-call]
                total += float(loss.detach())
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.update_parameters(model)
        if (step + 1) % CHECKPOINT_STEPS == 0 or step + 1 == steps:
            keep(checkpoint, parts, step + 1)
            tqdm.write(f"{checkpoint.stem} step {step + 1}: loss {total:.3f}, held-back {score(average.module):.3f}")
    result: TextClassifier = average.module
    return result.eval()
