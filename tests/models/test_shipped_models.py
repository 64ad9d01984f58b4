"""The shipped model files: whole, small enough, and right about what must be right, through plain ONNX Runtime."""

import functools
import hashlib
import json
import tomllib
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image
from tokenizers import Tokenizer

HERE = Path(__file__).parent
MODELS = HERE.parents[1] / "models"
NAMES = ("shop-intent", "shop-sentiment", "stickers", "shop-fusion")
MAX_ALL_BYTES = 40_000_000
MAX_SERVED_BYTES = {
    "shop-intent": 5_000_000,
    "shop-sentiment": 5_000_000,
    "stickers": 5_000_000,
    "shop-fusion": 500_000,
}


@functools.cache
def manifest(name):
    return tomllib.loads((MODELS / name / "model.toml").read_text(encoding="utf-8"))


@functools.cache
def labels(name):
    return json.loads((MODELS / name / "labels.json").read_text(encoding="utf-8"))


@functools.cache
def session(name, precision):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    path = MODELS / name / manifest(name)["files"][precision]["path"]
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def served(name):
    files = manifest(name)["files"]
    return "int8" if "int8" in files else "fp32"


def token_rows(name, texts, length=0):
    tokenizer = Tokenizer.from_file(str(MODELS / name / "tokenizer.json"))
    rows = [tokenizer.encode(text).ids for text in texts]
    wide = max(length, 1, *map(len, rows))
    return np.array([row + [0] * (wide - len(row)) for row in rows], np.int64)


def logits(name, ids, precision=None):
    return session(name, precision or served(name)).run(["logits"], {"input_ids": ids})[0]


def chances(name, texts):
    scaled = logits(name, token_rows(name, texts)).astype(np.float64) / manifest(name)["output"]["temperature"]
    exponents = np.exp(scaled - scaled.max(1, keepdims=True))
    return exponents / exponents.sum(1, keepdims=True)


def best(name, text):
    row = chances(name, [text])[0]
    return labels(name)["names"][int(row.argmax())], float(row.max())


def pixels(source):
    if isinstance(source, Path):
        with Image.open(source) as opened:
            picture = opened.convert("RGBA")
    else:
        picture = source.convert("RGBA")
    canvas = Image.new("RGBA", picture.size, (255, 255, 255, 255))
    canvas.alpha_composite(picture)
    wide, tall = (max(1, round(side * 48 / max(picture.size))) for side in picture.size)
    small = Image.new("RGB", (48, 48), "white")
    small.paste(canvas.convert("RGB").resize((wide, tall), Image.Resampling.BOX), ((48 - wide) // 2, (48 - tall) // 2))
    entry = manifest("stickers")["input"]
    values = np.asarray(small, np.float32) / 255
    values = (values - np.array(entry["mean"], np.float32)) / np.array(entry["std"], np.float32)
    return values.transpose(2, 0, 1)


def tags_of(sample, precision=None):
    rows = pixels(MODELS / "samples" / f"{sample}.png")[None]
    return session("stickers", precision or served("stickers")).run(["tag_scores", "features"], {"pixels": rows})


@pytest.mark.parametrize("name", NAMES)
def test_files_are_those_of_the_manifest(name):
    parts = manifest(name)
    entries = [(entry["path"], entry["sha256"]) for entry in parts["files"].values()]
    entries += [(parts[key]["file"], parts[key]["sha256"]) for key in ("labels", "tokenizer") if key in parts]
    for path, digest in entries:
        assert hashlib.sha256((MODELS / name / path).read_bytes()).hexdigest() == digest, path


@pytest.mark.parametrize("name", NAMES)
def test_manifest_names_folder_licence_and_attribution(name):
    parts = manifest(name)
    assert parts["name"] == name
    assert parts["licence"] == "Apache-2.0"
    assert parts["attribution"]
    assert (MODELS / name / "MODEL_CARD.md").stat().st_size > 1000


@pytest.mark.parametrize("name", NAMES)
def test_served_file_is_small(name):
    path = manifest(name)["files"][served(name)]["path"]
    assert (MODELS / name / path).stat().st_size <= MAX_SERVED_BYTES[name]


def test_everything_shipped_stays_small():
    folders = [MODELS / name for name in (*NAMES, "samples")]
    assert sum(path.stat().st_size for folder in folders for path in folder.iterdir()) <= MAX_ALL_BYTES


@pytest.mark.parametrize("name", ["shop-intent", "shop-sentiment", "stickers"])
def test_labels_are_unique_and_in_both_languages(name):
    parts = labels(name)
    assert len(set(parts["names"])) == len(parts["names"]) == len(parts["en"]) == len(parts["zh"])
    assert all(parts["en"])
    assert all(parts["zh"])


@pytest.mark.parametrize(
    ("text", "intent"),
    [
        ("Where is my order 12345?", "track_order"),
        ("我的订单12345在哪里？", "track_order"),
        ("where is my package", "track_order"),
        ("快递到哪了", "track_order"),
        ("hi", "greeting"),
        ("Hello!", "greeting"),
        ("你好", "greeting"),
        ("在吗", "greeting"),
        ("thank you so much", "thanks"),
        ("谢谢", "thanks"),
        ("bye", "goodbye"),
        ("再见", "goodbye"),
        ("I want my money back", "get_refund"),
        ("我要退款", "get_refund"),
        ("where is my refund", "track_refund"),
        ("退款到账了吗", "track_refund"),
        ("can I talk to a human", "contact_human_agent"),
        ("转人工", "contact_human_agent"),
        ("cancel my order", "cancel_order"),
        ("取消订单", "cancel_order"),
        ("I forgot my password", "recover_password"),
        ("忘记密码了", "recover_password"),
        ("how much is shipping?", "delivery_options"),
        ("how long does delivery take?", "delivery_period"),
        ("几天能到", "delivery_period"),
        ("do you accept paypal?", "check_payment_methods"),
        ("可以用支付宝付款吗", "check_payment_methods"),
        ("my card was declined", "payment_issue"),
        ("付款失败", "payment_issue"),
        ("send me the invoice please", "get_invoice"),
        ("开发票", "get_invoice"),
        ("any discounts?", "promotions"),
        ("有优惠吗", "promotions"),
        ("delete my account", "delete_account"),
        ("注销账号", "delete_account"),
        ("I want to make a complaint", "complaint"),
        ("我要投诉", "complaint"),
        ("what's the weather today?", "out_of_scope"),
        ("今天天气怎么样", "out_of_scope"),
        ("tell me a joke", "out_of_scope"),
    ],
)
def test_ordinary_messages_are_understood_with_confidence(text, intent):
    name, probability = best("shop-intent", text)
    assert name == intent
    assert probability >= 0.7


@pytest.mark.parametrize(
    ("text", "sentiment"),
    [
        ("I love it, great service!", "positive"),
        ("thank you so much, you are the best", "positive"),
        ("非常满意，谢谢", "positive"),
        ("质量很好，推荐", "positive"),
        ("this is terrible, I am so disappointed", "negative"),
        ("worst shop ever", "negative"),
        ("太差了，气死我了", "negative"),
        ("质量很差，要退货", "negative"),
        ("Where is my order 12345?", "neutral"),
        ("my order number is 20391", "neutral"),
        ("我的订单12345在哪里？", "neutral"),
        ("请问怎么开发票", "neutral"),
    ],
)
def test_clear_moods_are_felt(text, sentiment):
    assert best("shop-sentiment", text)[0] == sentiment


@pytest.mark.parametrize(
    ("sample", "tag"),
    [
        ("thumbs-up", "thumbs up"),
        ("pouting-face", "angry"),
        ("crying-face", "crying"),
        ("red-heart", "heart"),
        ("package", "package"),
        ("folded-hands", "please"),
        ("party-popper", "party"),
        ("thinking-face", "thinking"),
        ("broken-heart", "broken heart"),
    ],
)
def test_samples_get_their_tag_with_a_high_score(sample, tag):
    scores = tags_of(sample)[0][0]
    column = labels("stickers")["names"].index(tag)
    assert scores[column] >= 0.5
    assert column in np.argsort(-scores)[:15]


def kind_chances(path):
    return session("stickers", served("stickers")).run(["kind", "tag_scores"], {"pixels": pixels(path)[None]})


@pytest.mark.parametrize("path", sorted((MODELS / "samples").glob("*.png")), ids=lambda path: path.stem)
def test_a_sticker_is_told_to_be_one(path):
    assert kind_chances(path)[0][0].argmax() == 0


@pytest.mark.parametrize(("name", "kind"), [("photo", 1), ("screenshot", 2)])
def test_what_is_no_sticker_gets_no_tag_to_believe(name, kind):
    chances, scores = kind_chances(MODELS / "samples" / f"{name}.jpg")
    assert chances[0].argmax() == kind
    assert scores.max() < 0.2


def openmoji():
    """Drawings that the model did not learn from, as rows, and their true tags among the model's."""
    lines = (HERE / "openmoji.txt").read_text(encoding="utf-8").split("\n\n")[1].splitlines()
    names = labels("stickers")["names"]
    truth = [[names.index(word) for word in line.split(": ", 1)[1].split(", ") if word in names] for line in lines]
    rows = []
    with Image.open(HERE / "openmoji.png") as sheet:
        for place in range(len(lines)):
            left, top = place % 8 * 64, place // 8 * 64
            rows.append(pixels(sheet.crop((left, top, left + 64, top + 64))))
    return np.stack(rows), truth


def test_some_of_the_held_out_drawings():
    """A short form of the measurement in the model card, on drawings that nobody chose."""
    rows, truth = openmoji()
    scores, kind = session("stickers", served("stickers")).run(["tag_scores", "kind"], {"pixels": rows})
    best = np.argsort(-scores, axis=1)[:, :5]
    recall = [len(set(own) & set(found.tolist())) / min(5, len(own)) for own, found in zip(truth, best, strict=True)]
    assert len(recall) == 64
    assert np.mean(recall) >= 0.55
    assert np.mean(kind.argmax(1) == 0) >= 0.95


def test_tag_scores_are_shares():
    scores = np.concatenate([tags_of(path.stem)[0] for path in (MODELS / "samples").glob("*.png")])
    assert scores.min() >= 0
    assert scores.max() <= 1.0001


@pytest.mark.parametrize(
    ("text", "sample", "sentiment"),
    [
        ("about the parcel you sent me", "pouting-face", "negative"),
        ("about the parcel you sent me", "thumbs-up", "positive"),
        ("收到了", "crying-face", "negative"),
        ("收到了", "red-heart", "positive"),
    ],
)
def test_a_sticker_decides_an_ambiguous_text(text, sample, sentiment):
    feed = {
        "text_logits": logits("shop-sentiment", token_rows("shop-sentiment", [text])),
        "features": tags_of(sample)[1],
    }
    result = session("shop-fusion", "fp32").run(["logits"], feed)[0][0]
    names = labels("shop-sentiment")["names"]
    other = {"negative": "positive", "positive": "negative"}[sentiment]
    assert result[names.index(sentiment)] > result[names.index(other)]


@pytest.mark.parametrize("name", ["shop-intent", "shop-sentiment"])
def test_padding_and_company_change_nothing(name):
    texts = ["Where is my order 12345?", "我要退款", "hi", "I never got the blue jacket that I ordered last week"]
    together = logits(name, token_rows(name, texts, length=64))
    for row, text in zip(together, texts, strict=True):
        assert np.abs(logits(name, token_rows(name, [text]))[0] - row).max() < 1e-4


@pytest.mark.parametrize("name", ["shop-intent", "shop-sentiment"])
def test_an_empty_row_gives_finite_logits(name):
    assert np.isfinite(logits(name, np.zeros((2, 8), np.int64))).all()


@pytest.mark.parametrize("name", ["shop-intent", "shop-sentiment"])
def test_half_precision_agrees(name):
    ids = token_rows(name, ["Where is my order 12345?", "太差了"])
    assert np.abs(logits(name, ids, "fp16") - logits(name, ids)).max() < 0.2


def test_half_precision_agrees_on_stickers():
    assert np.abs(tags_of("thumbs-up", "fp16")[0] - tags_of("thumbs-up", "fp32")[0]).max() < 0.02


def test_pictures_in_a_batch_do_not_meet():
    rows = np.stack([pixels(path) for path in sorted((MODELS / "samples").glob("*.png"))])
    run = session("stickers", served("stickers")).run
    together = run(["tag_scores"], {"pixels": rows})[0]
    alone = np.concatenate([run(["tag_scores"], {"pixels": row[None]})[0] for row in rows])
    assert np.abs(together - alone).max() < 1e-4
