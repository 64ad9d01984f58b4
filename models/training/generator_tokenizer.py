"""The small generator's tokenizer: byte-level, with every known character, placeholder and name in one piece."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from generator_data import SLOT_NAMES
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

PAD, SYSTEM, USER, ASSISTANT, END = "<|pad|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"
MARKS: Final = (PAD, SYSTEM, USER, ASSISTANT, END)
PAD_ID: Final = MARKS.index(PAD)
END_ID: Final = MARKS.index(END)
CHAT_TEMPLATE: Final = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}"
    "{% if m['role'] == 'assistant' %}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def prompt_text(system: str, user: str) -> str:
    """Return what the chat template makes of the two utterances."""
    return f"{SYSTEM}{system}{USER}{user}{ASSISTANT}"


def build_tokenizer(texts: Iterable[str], wanted: Iterable[str], intents: Iterable[str], pieces: int) -> Tokenizer:
    """Learn the tokenizer.

    English is split by byte pairs. Characters beyond ASCII are whole if they are in ``wanted`` or twice in ``texts``;
    the others, and what nobody has thought of, are read as bytes. No piece holds more than one such character, so that
    the pieces to write can be chosen to be whole characters.

    Args:
        texts: what to learn from.
        wanted: texts whose characters must all be whole.
        intents: names that are one piece each where they hold an underscore.
        pieces: of English, the bytes included.
    """
    texts = list(texts)
    seen = Counter(char for text in texts for char in text if ord(char) > 127)
    whole = {char for text in wanted for char in text if ord(char) > 127} | {c for c, n in seen.items() if n > 1}
    before = pre_tokenizers.ByteLevel(add_prefix_space=False)
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = before
    learner.train_from_iterator(
        ["".join(char for char in text if ord(char) < 128) for text in texts],
        trainers.BpeTrainer(
            vocab_size=pieces,
            min_frequency=4,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    learnt = learner.to_str()
    vocabulary, merges = _parts(learnt)
    for char in sorted(whole):
        shown = before.pre_tokenize_str(char)[0][0]
        for at in range(1, len(shown)):
            if shown[: at + 1] not in vocabulary:
                vocabulary[shown[: at + 1]] = len(vocabulary)
                merges.append((shown[:at], shown[at]))
    shift = {piece: number + len(MARKS) for piece, number in vocabulary.items()}
    tokenizer = Tokenizer(models.BPE({mark: at for at, mark in enumerate(MARKS)} | shift, merges))
    tokenizer.pre_tokenizer = before
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(MARKS))
    names = [f"{{{name}}}" for name in SLOT_NAMES]
    names += sorted(name for name in {*intents, *SLOT_NAMES} if "_" in name)
    tokenizer.add_tokens([AddedToken(name, normalized=False) for name in names])
    return tokenizer


def _parts(learnt: str) -> tuple[dict[str, int], list[tuple[str, str]]]:
    model = json.loads(learnt)["model"]
    pieces = sorted(model["vocab"], key=model["vocab"].get)
    merges = [tuple(one) if isinstance(one, list) else tuple(one.split(" ")) for one in model["merges"]]
    return {piece: at for at, piece in enumerate(pieces)}, merges


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write tokenizer.json and tokenizer_config.json with the chat template, as Transformers does."""
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=PAD)
    fast.chat_template = CHAT_TEMPLATE
    fast.save_pretrained(folder)
