"""Make a small CLIP-shaped pair, for tests: `python models/training/clip_pair.py [--data DIR] [--out FOLDER]`.

A vision and a text encoder in the layout of Hugging Face's ONNX exports, trained with CLIP's symmetric loss on sixty
emoji of two artworks and their English and Chinese names. It shows that such a folder can be used, nothing more.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import torch
from model_folder import trace
from sticker_images import present, read_emoji, read_pictures
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from torch import nn
from torch.nn import functional

SEED: Final = 11
PX: Final = 48
WIDTH: Final = 32
LETTERS: Final = 24
VENDORS: Final = ("google", "twitter")
_NAMES: Final = (
    "thumbs up;pouting face;loudly crying face;red heart;package;folded hands;party popper;thinking face;broken heart;"
    "dog face;cat face;pig face;banana;red apple;grapes;watermelon;pizza;hamburger;birthday cake;hot beverage;"
    "beer mug;bicycle;automobile;bus;airplane;rocket;sailboat;house;school;hospital;sun;crescent moon;star;rainbow;"
    "umbrella;snowman;fire;droplet;rose;sunflower;evergreen tree;cactus;mushroom;soccer ball;basketball;trophy;"
    "guitar;camera;television;mobile phone;laptop;books;pencil;scissors;key;locked;bell;magnifying glass tilted left;"
    "money bag;credit card"
)
NAMED: Final = tuple(_NAMES.split(";"))


class Vision(nn.Module):
    """float32[N, 3, 48, 48] to float32[N, WIDTH]."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for width in (24, 48, 64, 96):
            layers += [
                nn.Conv2d(channels, width, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
            ]
            channels = width
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(channels * 9, WIDTH)

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.head(self.body(pixel_values).flatten(1))
        return result


class Text(nn.Module):
    """int64[N, L] and its mask to float32[N, WIDTH]: letters, looked at in threes, the strongest of each feature."""

    def __init__(self, letters: int) -> None:
        super().__init__()
        self.letters = nn.Embedding(letters, 48)
        self.threes = nn.Conv1d(48, 128, 3, padding=1)
        self.head = nn.Linear(128, WIDTH)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        mask = attention_mask.unsqueeze(1).to(torch.float32)
        rows = self.letters(input_ids).transpose(1, 2) * mask
        found = functional.relu(self.threes(rows)) * mask
        result: torch.Tensor = self.head(found.amax(dim=2))
        return result


def letter_tokenizer(texts: list[str]) -> Tokenizer:
    """One token a letter; 0 pads and 1 is any other letter."""
    letters = sorted({letter for text in texts for letter in text.lower().replace(" ", "▁")})
    vocabulary = {"[PAD]": 0, "[UNK]": 1} | {letter: number + 2 for number, letter in enumerate(letters)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), normalizers.Replace(" ", "▁")])
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    return tokenizer


def token_rows(tokenizer: Tokenizer, texts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask, int64[N, LETTERS]."""
    rows = [tokenizer.encode(text).ids[:LETTERS] for text in texts]
    ids = torch.zeros(len(rows), LETTERS, dtype=torch.int64)
    for at, row in enumerate(rows):
        ids[at, : len(row)] = torch.tensor(row)
    return ids, (ids != 0).to(torch.int64)


def varied(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """The pictures moved by up to four pixels, in other light, with noise; -1..1 as they came."""
    down, right = (int(torch.randint(-4, 5, (1,), generator=generator)) for _ in range(2))
    moved = torch.roll(pixels, (down, right), dims=(2, 3))
    light = 0.8 + 0.4 * torch.rand(len(pixels), 3, 1, 1, generator=generator)
    noise = 0.1 * torch.randn(pixels.shape, generator=generator)
    return (moved * light + noise).clamp(-1, 1)


def main() -> None:
    """Train for about two minutes and write the folder."""
    here = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=here / "public")
    parser.add_argument("--out", type=Path, default=here.parents[1] / "tests" / "inference" / "clip")
    parser.add_argument("--steps", type=int, default=600)
    asked = parser.parse_args()
    torch.manual_seed(SEED)
    generator = torch.Generator().manual_seed(SEED)
    emoji = read_emoji(asked.data)
    by_name = {one.name: number for number, one in enumerate(emoji)}
    chosen = [by_name[name] for name in NAMED if name in by_name]
    names = {"en": [emoji[number].name for number in chosen], "zh": [emoji[number].name_zh for number in chosen]}
    tokenizer = letter_tokenizer([*names["en"], *names["zh"]])
    drawings = []
    for vendor in VENDORS:
        numbers, pictures = read_pictures(asked.data, vendor, emoji)
        place = {int(number): at for at, number in enumerate(numbers)}
        drawings.append(torch.from_numpy(present(pictures[[place[number] for number in chosen]])))
    vision, text = Vision(), Text(tokenizer.get_vocab_size())
    scale = nn.Parameter(torch.tensor(np.log(20.0), dtype=torch.float32))
    optimizer = torch.optim.AdamW([*vision.parameters(), *text.parameters(), scale], lr=2e-3, weight_decay=1e-3)
    tokens = {language: token_rows(tokenizer, rows) for language, rows in names.items()}
    right = torch.arange(len(chosen))
    for step in range(asked.steps):
        pixels = varied(drawings[step % 2], generator)
        pictures = functional.normalize(vision(pixels))
        words = functional.normalize(text(*tokens["zh" if step % 3 == 0 else "en"]))
        logits = pictures @ words.T * scale.clamp(max=np.log(100.0)).exp()
        loss = (functional.cross_entropy(logits, right) + functional.cross_entropy(logits.T, right)) / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 50 == 49:
            hits = (logits.argmax(1) == right).float().mean()
            print(f"step {step + 1}/{asked.steps}  loss {loss:.3f}  own picture's name first {hits:.2f}", flush=True)
    folder = asked.out
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(
        trace(vision, (torch.zeros(2, 3, PX, PX),), ["pixel_values"], ["image_embeds"]), folder / "vision_model.onnx"
    )
    example = token_rows(tokenizer, names["en"][:2])
    model = trace(text, example, ["input_ids", "attention_mask"], ["text_embeds"], lengths=True)
    onnx.save(model, folder / "text_model.onnx")
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "crop_size": {"height": PX, "width": PX},
        "do_center_crop": True,
        "do_normalize": True,
        "do_rescale": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "rescale_factor": 1 / 255,
        "size": {"shortest_edge": PX},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(settings, indent=1) + "\n")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"model_max_length": LETTERS, "pad_token": "[PAD]"}, indent=1) + "\n"
    )
    labels = {"names": names["en"], **names}
    (folder / "labels.json").write_text(json.dumps(labels, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{folder}: scale {scale.exp():.1f}")


if __name__ == "__main__":
    main()
