"""Make every model that csgate ships: `python models/training/make.py [--only intent,stickers]`.

Seeds are fixed; each training can be interrupted and goes on from its checkpoint in the cache folder.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import torch
from fusion_make import make_fusion
from intent_make import make_intent
from sentiment_make import make_sentiment
from sticker_make import make_stickers

PARTS: Final = ("stickers", "intent", "sentiment", "fusion", "generator")


def _make_generator(cache: Path, models: Path, steps: int) -> None:
    # Needs Transformers, onnxruntime-genai and what csgate itself needs; the other parts do without.
    from generator_make import make_generator

    make_generator(cache, models, steps)


def main() -> None:
    """Read the command line and make what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    here = Path(__file__).resolve().parent
    parser.add_argument("--data", type=Path, default=here / "public", help="the public data (default %(default)s)")
    parser.add_argument("--only", default=",".join(PARTS), help=f"some of {','.join(PARTS)}")
    parser.add_argument("--cache", type=Path, default=here / "cache", help="checkpoints; delete it to train anew")
    parser.add_argument("--models", type=Path, default=here.parent, help="where the model folders are written")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--sticker-steps", type=int, default=16_000)
    parser.add_argument("--intent-steps", type=int, default=4_000)
    parser.add_argument("--sentiment-steps", type=int, default=3_500)
    parser.add_argument("--generator-steps", type=int, default=3_000)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    asked.cache.mkdir(parents=True, exist_ok=True)
    data, cache, models = asked.data, asked.cache, asked.models
    makers: dict[str, Callable[[], None]] = {
        "stickers": lambda: make_stickers(data, cache, models, asked.sticker_steps),
        "intent": lambda: make_intent(data, cache, models, asked.intent_steps),
        "sentiment": lambda: make_sentiment(data, cache, models, asked.sentiment_steps),
        "fusion": lambda: make_fusion(data, cache, models),
        "generator": lambda: _make_generator(cache, models, asked.generator_steps),
    }
    chosen = asked.only.split(",")
    for part in PARTS:
        if part in chosen:
            started = time.monotonic()
            makers[part]()
            print(f"{part}: made in {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
