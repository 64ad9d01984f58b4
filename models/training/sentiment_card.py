# ruff: noqa: E501  (the card is prose)
"""The model card of shop-sentiment."""

from __future__ import annotations

from model_card import figure, table

TESTS = {
    "en": "English messages, another author's",
    "zh": "Chinese messages, another author's",
    "goemotions": "GoEmotions' test part",
}


def sentiment_card(figures: dict[str, float]) -> str:
    """Return the card of shop-sentiment."""
    rows = [
        (
            title,
            str(int(figures[f"{name}_rows"])),
            figure(figures[f"{name}_accuracy"]),
            figure(figures[f"{name}_macro_f1"]),
            figure(figures[f"{name}_ece"]),
        )
        for name, title in TESTS.items()
    ]
    precisions = [
        (
            name,
            f"{figures[f'{name}_mb']:.2f}",
            figure(figures[f"{name}_held_macro_f1"]),
            f"{figures[f'{name}_ms1']:.2f}",
            f"{figures[f'{name}_ms32']:.1f}",
        )
        for name in ("fp32", "int8")
    ]
    return f"""
# shop-sentiment: negative, neutral or positive

The mood of a text, English and Chinese: byte-pair pieces (a Chinese character each, an emoji each), embeddings, residual
convolutions over three tokens, pooled by maximum, attention and mean. Input `input_ids` int64[N, T], padded with 0; output
`logits` float32[N, 3]; probabilities are softmax(logits / {figures["temperature"]:g}).

Licence Apache-2.0. Made by `python models/training/make.py --only sentiment`.

## Learned from

- GoEmotions' training part (Apache-2.0 / CC BY 4.0, Demszky et al. 2020; Reddit, contains profanity): 28 labels mapped to three; rows
  with mixed feelings, or with mere surprise, curiosity, confusion, are left out, and so are rows with an emoji, which shop-fusion learns
  from. The 28 labels themselves are a second task for the encoder, the intents of shop-intent's seeds a third.
- Sentences written for this project (models/training/data/sentiment*, Apache-2.0), 1,500 lines with grammar in English and Chinese: customer
  service, chat, slang, idioms, understatement, negation, some irony, Cantonese and Taiwanese turns, mixed languages, and requests with
  sad or happy words in them that carry no feeling. Some are written in traditional characters, some bear emoji, some are joined in twos.

## Held-out figures (of the int8 file)

{table(("test", "texts", "accuracy", "macro-F1", "ECE"), rows)}

The messages were written by other authors who had not seen the training text; nothing was chosen by these three tests. The
temperature was chosen on a fifth of GoEmotions' dev part, on some of our sentences that were kept apart, and on an older test of ours.

## Precisions

{table(("file", "MB", "macro-F1 of what was held back", "ms, one text of 16 tokens", "ms, 32 of them"), precisions)}

One thread of a CPU that others used at the same time. int8 keeps the weights as int8 and computes in float32; it is the one to serve. On GPUs model.fp16.onnx.

## Known failures

- Irony and plain facts that are bad (or good) news without a word that says so are often taken for neutral.
- Set phrases of negation and irony ("not bad at all", "can't complain", "thanks for nothing") are often taken word by word.
- A mixed message ("pretty, but it broke") is usually given to the stronger half; which one that is, is a guess.
- Slang that the training text lacks, Chinese above all, can come out wrong with confidence.
- Reddit's labels are a few readers' opinion, and some are plainly wrong; the model learned those too.
- Other languages than English and Chinese are not served.
"""
