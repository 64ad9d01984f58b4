# ruff: noqa: E501  (the card is prose)
"""The model card of shop-generator."""

from __future__ import annotations

import tomllib

from generator_data import OWN
from goals import Goal, goals_table
from model_card import figure, table

READ = OWN / "generator_read.toml"


def generator_goals(figures: dict[str, float]) -> list[Goal]:
    """Return what the model was to reach, and what it reached."""
    return [
        Goal("answers about the told intent", 0.95, figures["int8_consistent"]),
        Goal("slots exact", 0.99, figures["int8_slots"]),
        Goal("Chinese answers whole: not broken, truncated or mixed", 1.0, figures["int8_zh_whole"]),
        Goal("16 conversations over one, int8", 1.7, figures["int8_ratio"]),
        Goal("16 conversations over one, fp32", 2.5, figures["fp32_ratio"]),
        Goal("size of the CPU's files in MB", 8.0, figures["int8_mb"], at_least=False),
    ]


def generator_card(figures: dict[str, float]) -> str:
    """Return the card of shop-generator."""
    read = tomllib.loads(READ.read_text(encoding="utf-8"))
    titles = {
        "consistent": "about the told intent: judge and rules agree",
        "judge": "… by the judge alone",
        "rules": "… by the rules alone",
        "slots": "slots exact",
        "whole": "whole: ended by itself, with a sentence, in its language, no broken character",
        "mood": "an upset customer meets empathy",
        "verbatim": "word for word one of our replies",
    }
    rows = [
        (title, *(figure(figures[f"int8_{language}{name}"]) for language in ("en_", "zh_", "")))
        for name, title in titles.items()
    ]
    forms = [
        (
            name,
            f"{figures[f'{name}_mb']:.1f}",
            figure(figures[f"{name}_consistent"]),
            figure(figures[f"{name}_slots"]),
            figure(figures[f"{name}_whole"]),
            f"{figures[f'{name}_one_tokens_s']:.0f}",
            f"{figures[f'{name}_sixteen_tokens_s']:.0f}",
            f"{figures[f'{name}_ratio']:.2f}",
        )
        for name in ("fp32", "int8", "int4")
    ]
    return f"""
# shop-generator: answers a shop's customers in our words

A Llama of {figures["parameters"] / 1e6:.1f} million parameters (hidden 256, 4 layers, 4 heads over 2, {int(figures["pieces"])} pieces) in onnxruntime-genai's format. This folder is
for the CPU (weights in int8 by blocks of 32, the embedding in int8 by rows, {figures["int8_mb"]:.1f} MB); `cuda/` is the same in float16 with a paged
cache ({figures["fp16_mb"]:.1f} MB). The CUDA folder was built but not run: no GPU was at hand. SHA256SUMS has the hashes.

Licence Apache-2.0. Made by `python models/training/make.py --only generator` ({int(figures["steps"])} steps of 32).

**What it is.** A small model that rephrases and recombines what we wrote. It knows nothing of the shop, looks nothing up, and
mostly repeats our replies word for word ({figure(figures["int8_verbatim"])} of the time): of some twenty replies for an intent it says one that fits the mood and
what is known, or joins parts of two. csgate tells it the intent; it does not find it out by itself.

## How it is asked

A system text of names, `en track_order negative order_number`: language, intent, mood, known slots in order of the alphabet. Then
the customer's message with `{{order_number}}`, `{{amount}}`, `{{email}}`, `{{date}}`, `{{phone}}` for values and 0 for other numbers
(csgate.dialog.prompt.shop_prompt and masked). It writes such placeholders for values, and csgate fills them in. Chinese
characters are one piece each; pieces that our replies do not have (half characters, bytes, marks) have a logit of -10,000,
so that broken UTF-8 cannot come out.

## Learned from

- Replies written for this project, about 20 an intent and language, with wordings that vary (models/training/data/replies.en.txt, replies.zh.txt; {int(figures["wordings"])}
  wordings). None was taken from elsewhere.
- Customers' messages written for this project (models/training/data/intents*.txt), spoiled as people type. Of the replies that fit intent, mood
  and known slots, those that share rare words with the message are drawn more often; one that names a known value always goes
  before one that names none. In the last 15 % of the steps replies that name something unknown, or nothing where something is
  known, are pushed away (unlikelihood, Welleck et al. 2020).
- The shipped files are not from one uninterrupted run: the training went on from its checkpoints with longer schedules, and the pushing
  away came for the last 700 of {int(figures["steps"])} steps. A fresh run differs by noise of that size.

## Goals

{goals_table(("shop-generator", goal) for goal in generator_goals(figures))}

## Held-out figures

{int(figures["replies"])} answers of the int8 files through csgate's own engine at its default sampling (temperature 0.3, top_p 0.9, 96 tokens) to the
messages of models/training/data/blind_test.*.txt, by other authors: every message in each of three moods, once with the values that
it names and once with one more known from before. The told intent is the right one. Nothing was
trained on these messages, but answers to them were looked at while the training went on: they showed that unknown slots had to be pushed
away and that messages with quotes were missing.

{table(("share of replies", "English", "Chinese", "both"), rows)}

- Read by eye: of {read["read"]} replies drawn at random, {read["about"]} were about the told intent and {read["good"]} were good to send as they were; {read["remark"]}
- The judge is a linear model over characters and words, learned from our replies. On lines that it has not seen it is right
  for {figure(figures["en_unseen_lines"])} (English) and {figure(figures["zh_unseen_lines"])} (Chinese) of them, which are short and about neighbouring matters; on the dialog pack's canned
  replies, which neither it nor the generator has seen, for {figure(figures["en_pack"])} and {figure(figures["zh_pack"])}. The rules are one regular expression an intent
  (models/training/data/reply_rules.toml). Both know our replies, so they would not notice a fault that our replies have.
- Slots exact: only known placeholders, at least one where our replies for the case have one, filled to the right text, no number
  of its own. Where something is known ({int(figures["replies_with_known"])} answers): {figure(figures["int8_slots_where_known"])}.
- What the message itself does: replies share {figures["affinity"]:.2f} times as many words with their own message as with another message of the same
  intent, mood and slots (1 would be not at all, and near 1 is hardly: the message's words choose little).

{table(("weights", "MB on disk", "intent", "slots", "whole", "tokens/s, one", "tokens/s, 16 at once", "ratio"), forms)}

Speeds are medians of {int(figures["rounds"])} rounds in turns, through csgate's engine with one thread, {read["machine"]}. int8 and fp32 said exactly the same in {figure(figures["int8_same_as_fp32"])} of the cases.

## Known failures

- It follows the told intent: where shop-intent is wrong, so is the answer, politely.
- Details of a message (a product, a reason, a second wish) are not taken up, beyond the choice among our replies.
- It is trained for one message; earlier turns are told to it only as known slots.
- Two replies of ours are sometimes joined in the middle; the second half may then repeat the first.
"""
