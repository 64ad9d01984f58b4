"""Lanes and the arithmetic after a run."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from csgate.config import InferenceSettings
from csgate.errors import Internal, ModelError
from csgate.events import Picture
from csgate.inference.cache import ResultCache
from csgate.inference.manifest import TokenizerEntry
from csgate.inference.repository import Model, load_model
from csgate.inference.results import Vector
from csgate.inference.runner import open_runner
from csgate.inference.tasks import (
    BEST_BYTES,
    FusionLane,
    PictureJob,
    PictureLane,
    Seen,
    TensorJob,
    TextLane,
    best_tags,
    name_tags,
    picture_key,
    rank_intents,
    read_sentiment,
    softmax,
    text_key,
)
from csgate.inference.texts import TextEncoder
from csgate.telemetry import open_logger

from .conftest import SIZE, in_base64, picture_file, tokenizer_json, write_fusion, write_intent, write_tagger

QUIET = open_logger("error", "json", io.StringIO())
CPU = InferenceSettings(device="cpu")


def vector(*values: float) -> Vector:
    return np.array(values, np.float32)


def picture_lane(model: Model, cache: ResultCache[Seen] | None = None) -> PictureLane:
    assert model.manifest.input is not None
    return PictureLane(
        open_runner(model, CPU, QUIET).bind(),
        model.manifest.input,
        (model.manifest.output.name, model.manifest.output.vector, model.manifest.output.kind),
        model_sha256="m",
        cache=ResultCache(10, 10_000) if cache is None else cache,
        max_pixels=4000,
        top=2,
        buckets=model.manifest.batch.buckets,
    )


# --- Pictures --------------------------------------------------------------------------------------------------------


def test_a_picture_becomes_a_row_and_its_result_is_kept(tmp_path: Path) -> None:
    cache: ResultCache[Seen] = ResultCache(10, 10_000)
    lane = picture_lane(load_model(write_tagger(tmp_path)), cache)
    picture = in_base64(picture_file((0, 255, 0)))
    assert lane.prepare(0, PictureJob(picture, None)) is None
    lane.run(1, 1)
    [seen] = lane.results(1)
    assert isinstance(seen, Seen)
    assert seen.best == ((1, pytest.approx(1.0)), (0, 0.0))
    assert seen.vector is not None
    assert np.allclose(seen.vector, [0, 2, 0])
    assert (seen.width, seen.height, seen.format, seen.animated) == (16, 16, "png", False)
    assert not seen.vector.flags.writeable
    assert isinstance(seen.vector.base, bytes)
    assert len(seen.vector.base) == seen.vector.nbytes  # bytes of its own, not the batch's
    assert seen.nbytes == 2 * BEST_BYTES + 12
    assert cache.get(picture_key("m", picture)) is seen
    assert lane.prepare(0, PictureJob(picture, None)) is seen
    assert lane.prepare(0, PictureJob(picture, picture_key("m", picture))) is seen


def moving(*colours: tuple[int, int, int], format: str = "GIF") -> bytes:
    frames = [Image.new("RGB", (16, 16), colour) for colour in colours]
    file = io.BytesIO()
    frames[0].save(file, format, save_all=True, append_images=frames[1:], duration=50)
    return file.getvalue()


def test_of_what_moves_four_frames_are_looked_at(tmp_path: Path) -> None:
    """Their average is the result, kept as that of any picture; those beside it in the batch have their own."""
    cache: ResultCache[Seen] = ResultCache(10, 10_000)
    model = load_model(write_tagger(tmp_path, output={"name": "tag_scores", "vector": "features", "kind": "kind"}))
    lane = picture_lane(model, cache)
    red, green, blue = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    sticker = Picture(moving(red, green, (0, 250, 0), blue), "binary")
    short = Picture(moving(blue, red, format="PNG"), "binary")
    for row, picture in enumerate((sticker, Picture(picture_file(red), "binary"), short)):
        assert lane.prepare(row, PictureJob(picture, None)) is None
    lane.run(3, 4)
    first, still, second = lane.results(3)
    assert isinstance(first, Seen)
    assert isinstance(still, Seen)
    assert isinstance(second, Seen)
    assert first.best == ((1, pytest.approx(0.5, abs=0.01)), (0, pytest.approx(0.25, abs=0.01)))
    assert first.vector is not None
    assert np.allclose(first.vector, [0.5, 1, 0.5], atol=0.01)
    assert first.kind == ("photo", pytest.approx(0.5, abs=0.01))
    assert (first.animated, still.animated, second.animated) == (True, False, True)
    assert still.best[0] == (0, pytest.approx(1.0))
    assert second.best == ((0, pytest.approx(0.5)), (2, pytest.approx(0.5)))
    assert lane.prepare(0, PictureJob(sticker, None)) is first
    # What a run leaves behind is of no account to the next one.
    assert lane.prepare(0, TensorJob(np.full((3, SIZE, SIZE), 0.75, np.float32))) is None
    lane.run(1, 1)
    assert np.allclose(lane.results(1)[0], 0.75)


@pytest.mark.parametrize(
    ("colour", "kind"), [((255, 0, 0), "sticker"), ((0, 255, 0), "photo"), ((0, 0, 255), "screenshot")]
)
def test_the_kind_of_a_picture(tmp_path: Path, colour: tuple[int, ...], kind: str) -> None:
    lane = picture_lane(load_model(write_tagger(tmp_path, output={"name": "tag_scores", "kind": "kind"})))
    assert lane.prepare(0, PictureJob(in_base64(picture_file(colour)), None)) is None
    lane.run(1, 1)
    [seen] = lane.results(1)
    assert isinstance(seen, Seen)
    assert seen.kind == (kind, pytest.approx(1.0))


def test_a_ready_row_is_taken_as_it_is_and_never_cached(tmp_path: Path) -> None:
    cache: ResultCache[Seen] = ResultCache(10, 10_000)
    lane = picture_lane(load_model(write_tagger(tmp_path, output={"name": "tag_scores"})), cache)
    assert lane.prepare(0, TensorJob(np.full((3, SIZE, SIZE), 0.5, np.float32))) is None
    lane.run(1, 1)
    [scores] = lane.results(1)
    assert isinstance(scores, np.ndarray)
    assert np.allclose(scores, 0.5)
    assert not scores.flags.writeable
    assert len(cache) == 0
    picture = Picture(picture_file(), "binary")
    lane.prepare(0, PictureJob(picture, None))
    lane.run(1, 1)
    [seen] = lane.results(1)
    assert isinstance(seen, Seen)
    assert seen.vector is None
    assert seen.nbytes == 2 * BEST_BYTES


def test_a_ready_row_of_another_shape_is_refused(tmp_path: Path) -> None:
    lane = picture_lane(load_model(write_tagger(tmp_path)))
    with pytest.raises(Internal):
        lane.prepare(0, TensorJob(np.zeros((3, SIZE, 1), np.float32)))


def test_results_outlive_the_next_run(tmp_path: Path) -> None:
    lane = picture_lane(load_model(write_tagger(tmp_path)))
    lane.prepare(0, TensorJob(np.zeros((3, SIZE, SIZE), np.float32)))
    lane.run(1, 1)
    [first] = lane.results(1)
    lane.prepare(0, TensorJob(np.ones((3, SIZE, SIZE), np.float32)))
    lane.run(1, 1)
    assert isinstance(first, np.ndarray)
    assert np.allclose(first, 0)


def test_normalising_is_the_manifests(tmp_path: Path) -> None:
    entry = {"name": "pixels", "height": SIZE, "width": SIZE, "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.25, 0.125]}
    lane = picture_lane(load_model(write_tagger(tmp_path, input=entry)))
    lane.prepare(0, PictureJob(Picture(picture_file((255, 255, 255)), "binary"), None))
    lane.run(1, 1)
    assert np.allclose(lane._bindings.outputs["tag_scores"][0], [1, 2, 4])


def test_keys_tell_models_encodings_and_tenants_apart() -> None:
    content = picture_file()
    keys = {
        picture_key("a", Picture(content, "binary")),
        picture_key("b", Picture(content, "binary")),
        picture_key("a", Picture(content, "base64")),
        picture_key("a", Picture(content + b"x", "binary")),
    }
    assert len(keys) == 4
    assert picture_key("a", Picture(memoryview(content), "binary")) in keys
    assert (
        len({text_key("a", "t", "xy"), text_key("a", "tx", "y"), text_key("a", "u", "xy"), text_key("b", "t", "xy")})
        == 4
    )
    assert text_key("a", "t:1", "2:x") != text_key("a", "t", "1:2:x")
    assert text_key("a", "", "\ud800")


# --- Texts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [True, False])
def test_a_batch_of_texts_is_padded_to_one_length(tmp_path: Path, mask: bool) -> None:
    model = load_model(write_intent(tmp_path, mask=mask))
    assert model.tokenizer is not None
    assert model.manifest.tokenizer is not None
    lane = TextLane(
        open_runner(model, CPU, QUIET).bind(),
        TextEncoder(model.tokenizer, model.manifest.tokenizer, "m"),
        4,
        ids="input_ids",
        mask="attention_mask" if mask else None,
        output="logits",
    )
    for _ in range(2):  # the buffers hold the last batch's rows
        for row, text in enumerate(("order order refund", "hello", "")):
            assert lane.prepare(row, text) is None
        lane.run(3, 4)
        assert [row.tolist() for row in lane.results(3)] == [[4, 2, 0], [0, 0, 2], [0, 0, 0]]
    lane.prepare(0, "refund " * 50)
    lane.run(1, 1)
    assert lane.results(1)[0].tolist() == [0, 16, 0]


def test_encoding_truncates_and_never_gives_nothing() -> None:
    entry = TokenizerEntry(file="t", sha256="", max_tokens=3, lengths=(2, 4), pad_id=6)
    encoder = TextEncoder(tokenizer_json(), entry, "m")
    assert encoder.encode("order refund hello good") == [2, 3, 4]
    assert encoder.encode("") == [6]
    assert encoder.encode("wat") == [1]
    assert [encoder.length(n) for n in (1, 2, 3)] == [2, 2, 4]


def test_what_is_no_tokenizer() -> None:
    entry = TokenizerEntry(file="t.json", sha256="", max_tokens=3, lengths=(4,))
    with pytest.raises(ModelError, match=r"'m': t\.json is no tokenizers file"):
        TextEncoder(b"{}", entry, "m")


# --- Fusion ----------------------------------------------------------------------------------------------------------


def test_fusion_takes_logits_and_features(tmp_path: Path) -> None:
    lane = FusionLane(open_runner(load_model(write_fusion(tmp_path)), CPU, QUIET).bind(), "logits")
    assert lane.prepare(0, (vector(1, 2, 3), vector(10, 20, 30))) is None
    lane.run(1, 1)
    assert lane.results(1)[0].tolist() == [11, 22, 33]
    with pytest.raises(Internal):
        lane.prepare(0, (vector(1, 2, 3), vector(1, 2)))


# --- Arithmetic ------------------------------------------------------------------------------------------------------


def test_softmax_is_stable_and_tempered() -> None:
    assert softmax(vector(1000, 1000), 1.0).tolist() == [0.5, 0.5]
    sharp, flat = softmax(vector(0, 1), 0.5), softmax(vector(0, 1), 2.0)
    assert sharp[1] > flat[1] > 0.5
    assert sharp.sum() == pytest.approx(1)


def test_intents_are_ranked() -> None:
    ranking = rank_intents(vector(0.2, 0.5, 0.3), ("a", "b", "c"))
    assert [intent.name for intent in ranking] == ["b", "c", "a"]
    assert ranking[0].confidence == pytest.approx(0.5)


def test_sentiment_reads_labels_in_any_order() -> None:
    found = read_sentiment(vector(0.7, 0.2, 0.1), ("positive", "neutral", "negative"))
    assert (found.label, found.score) == ("positive", pytest.approx(0.6))
    found = read_sentiment(vector(0.7, 0.2, 0.1), ("negative", "neutral", "positive"))
    assert (found.label, found.score) == ("negative", pytest.approx(-0.6))


def test_the_best_tags_come_first_and_scores_stay_in_bounds() -> None:
    best, other = best_tags(np.stack([vector(0.2, 1.5, -0.5, 0.9), vector(0.4, 0.3, 0.1, 0.2)]), 3)
    assert best == ((1, 1.0), (3, pytest.approx(0.9)), (0, pytest.approx(0.2)))
    tags = name_tags(best, ("a", "b", "c", "d"), ("A", "B", "C", "D"))
    assert [(tag.name, tag.label) for tag in tags] == [("b", "B"), ("d", "D"), ("a", "A")]
    assert [index for index, _ in other] == [0, 1, 3]
    assert best_tags(vector(0.2, -0.5)[None], 9) == [((0, pytest.approx(0.2)), (1, 0.0))]
