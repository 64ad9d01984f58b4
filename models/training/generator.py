"""The small generator: a Llama of a few million parameters, trained to answer as our replies do."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from checkpoint import keep, resume
from generator_data import SLOT_NAMES, Pair, PairSampler, Replies, read_messages
from generator_tokenizer import END, END_ID, PAD_ID, build_tokenizer, prompt_text
from text_training import text_cost
from tokenizers import Tokenizer
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm
from transformers import LlamaConfig, LlamaForCausalLM

ENGLISH_PIECES: Final = 2_200
LEARNT_FROM: Final = 12_000
CONTEXT_TOKENS: Final = 512
BATCH: Final = 32
GROUP: Final = 4
"""Batches drawn together and sorted by length, so that little of them is padding."""

PEAK_RATE: Final = 3e-3
RISE_STEPS: Final = 150
CHECKPOINT_STEPS: Final = 200
SEED: Final = 20_300_000
NEVER_FROM: Final = 0.85
"""Share of the steps after which replies that would be wrong are pushed away as well."""

NEVER_WEIGHT: Final = 2.0
NEVER_TOKENS: Final = 24


@dataclass(frozen=True, slots=True)
class Batch:
    """``ids`` int64[N, T], padded; ``answer`` bool[N, T - 1]: whether the next token is one to learn."""

    ids: Tensor
    answer: Tensor


@dataclass(frozen=True, slots=True)
class Lesson:
    """What to say, and what not to say."""

    right: Batch
    wrong: Batch | None


class GeneratorData:
    """The tokenizer, the pairs by number, and the pieces that answers are made of."""

    def __init__(self, kept: Path) -> None:
        """``kept``: where the tokenizer is kept, so that a training that goes on has the one it began with."""
        self.replies = Replies()
        self.sampler = PairSampler(self.replies, read_messages())
        self.held = PairSampler(self.replies, read_messages(("intents_dev",)))
        texts = self.replies.texts()
        if not kept.exists():
            chance = random.Random(SEED - 1)
            prompts = [" ".join(self.sampler.draw(chance).prompt()) for _ in range(LEARNT_FROM)]
            build_tokenizer(prompts + texts * 3, texts, self.sampler.intents, ENGLISH_PIECES).save(str(kept))
        self.tokenizer: Tokenizer = Tokenizer.from_file(str(kept))
        written = {number for row in self.tokenizer.encode_batch(texts) for number in row.ids}
        self.written: tuple[int, ...] = tuple(sorted(written | {END_ID}))
        """The pieces of our replies: whole characters all of them, and the only ones that the model can write."""

    def batch(self, pairs: list[Pair]) -> Batch:
        """Return prompts with their answers."""
        return self._batch(pairs, [row.ids for row in self.tokenizer.encode_batch([p.reply + END for p in pairs])])

    def wrong(self, pairs: list[Pair]) -> Batch | None:
        """Return prompts with the beginnings of wrong answers, up to the slot that makes them wrong."""
        some = [pair for pair in pairs if pair.never]
        marks = {self.tokenizer.token_to_id(f"{{{name}}}") for name in SLOT_NAMES}
        beginnings = []
        for row in self.tokenizer.encode_batch([pair.never for pair in some]):
            slots = [at for at, number in enumerate(row.ids) if number in marks]
            beginnings.append(row.ids[: slots[0] + 1 if slots else NEVER_TOKENS])
        return self._batch(some, beginnings) if some else None

    def _batch(self, pairs: list[Pair], answers: list[list[int]]) -> Batch:
        prompts = self.tokenizer.encode_batch([prompt_text(*pair.prompt()) for pair in pairs])
        length = max(len(one.ids) + len(two) for one, two in zip(prompts, answers, strict=True))
        ids = np.full((len(pairs), length), PAD_ID, np.int64)
        answer = np.zeros((len(pairs), length), bool)
        for row, (one, two) in enumerate(zip(prompts, answers, strict=True)):
            ids[row, : len(one.ids)] = one.ids
            ids[row, len(one.ids) : len(one.ids) + len(two)] = two
            answer[row, len(one.ids) : len(one.ids) + len(two)] = True
        return Batch(torch.from_numpy(ids), torch.from_numpy(answer[:, 1:]))

    def group(self, number: int) -> list[Lesson]:
        """Return the batches of group ``number``, always the same ones."""
        chance = random.Random(SEED + number)
        pairs = [self.sampler.draw(chance) for _ in range(BATCH * GROUP)]
        pairs.sort(key=lambda pair: text_cost(pair.message) + text_cost(pair.reply))
        parts = [pairs[at : at + BATCH] for at in range(0, len(pairs), BATCH)]
        chance.shuffle(parts)
        return [Lesson(self.batch(part), self.wrong(part)) for part in parts]


def new_model(pieces: int) -> LlamaForCausalLM:
    """Return an untrained model."""
    torch.manual_seed(SEED)
    config = LlamaConfig(
        vocab_size=pieces,
        hidden_size=256,
        intermediate_size=768,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT_TOKENS,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=END_ID,
        pad_token_id=PAD_ID,
    )
    return LlamaForCausalLM(config)


def answer_loss(model: LlamaForCausalLM, batch: Batch, written: Tensor, smoothing: float) -> Tensor:
    """Return the mean loss of the answers' tokens, among the pieces that can be written."""
    hidden = model.model(input_ids=batch.ids[:, :-1]).last_hidden_state[batch.answer]
    logits = hidden @ model.lm_head.weight[written].T
    target = torch.searchsorted(written, batch.ids[:, 1:][batch.answer])
    return F.cross_entropy(logits.float(), target, label_smoothing=smoothing)


def wrong_loss(model: LlamaForCausalLM, batch: Batch, written: Tensor) -> Tensor:
    """Return the mean of -log(1 - chance) over answers that must not come (unlikelihood, Welleck et al. 2020)."""
    hidden = model.model(input_ids=batch.ids[:, :-1]).last_hidden_state[batch.answer]
    logits = (hidden @ model.lm_head.weight[written].T).float()
    target = torch.searchsorted(written, batch.ids[:, 1:][batch.answer])
    each = torch.zeros(batch.answer.shape).masked_scatter(
        batch.answer, -F.cross_entropy(logits, target, reduction="none")
    )
    chance = each.sum(1).exp().clamp(max=0.999)
    return -torch.log1p(-chance).mean()


@torch.inference_mode()
def held_loss(model: LlamaForCausalLM, data: GeneratorData, pairs: int = 256) -> float:
    """Return the loss on pairs whose messages are not trained on."""
    chance = random.Random(SEED - 2)
    drawn = [data.held.draw(chance) for _ in range(pairs)]
    written = torch.tensor(data.written)
    model.eval()
    losses = [
        float(answer_loss(model, data.batch(drawn[at : at + BATCH]), written, 0.0)) for at in range(0, pairs, BATCH)
    ]
    return sum(losses) / len(losses)


def train_generator(data: GeneratorData, steps: int, checkpoint: Path) -> LlamaForCausalLM:
    """Train, or go on from the checkpoint.

    Args:
        data: draws the same batches for the same step.
        steps: how many in all; the learning rate falls along a cosine to nothing at the end.
        checkpoint: written every 200 steps.

    Returns:
        The exponential average of the weights.
    """
    model = new_model(data.tokenizer.get_vocab_size())
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.99))
    kinds: dict[bool, list[torch.nn.Parameter]] = {True: [], False: []}
    for parameter in model.parameters():
        kinds[parameter.ndim > 1].append(parameter)
    optimizer = torch.optim.AdamW(
        [{"params": kinds[True], "weight_decay": 0.05}, {"params": kinds[False], "weight_decay": 0.0}],
        lr=PEAK_RATE,
        betas=(0.9, 0.98),
        fused=True,
    )
    parts = {"model": model, "average": average, "optimizer": optimizer}
    fast_bfloat16 = bool(torch.cpu.get_capabilities().get("avx512_bf16"))
    written = torch.tensor(data.written)
    start = resume(checkpoint, parts)
    batches: list[Lesson] = []
    total = 0.0
    for step in tqdm(range(start, steps), initial=start, total=steps, desc=checkpoint.stem, mininterval=5):
        if not batches or step % GROUP == 0:
            batches = data.group(step // GROUP)
        for group in optimizer.param_groups:
            group["lr"] = PEAK_RATE * min(1.0, (step + 1) / RISE_STEPS) * 0.5 * (1 + np.cos(np.pi * step / steps))
        model.train()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=fast_bfloat16):
            lesson = batches[step % GROUP]
            loss = answer_loss(model, lesson.right, written, 0.02)
            if lesson.wrong is not None and step >= NEVER_FROM * steps:
                loss = loss + NEVER_WEIGHT * wrong_loss(model, lesson.wrong, written)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.update_parameters(model)
        total += float(loss.detach())
        if (step + 1) % CHECKPOINT_STEPS == 0 or step + 1 == steps:
            keep(checkpoint, parts, step + 1)
            held = held_loss(average.module, data)
            tqdm.write(f"{checkpoint.stem} step {step + 1}: loss {total / CHECKPOINT_STEPS:.3f}, held-back {held:.3f}")
            total = 0.0
    result: LlamaForCausalLM = average.module
    return result.eval()
