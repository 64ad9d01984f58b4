"""The engine end to end on the CPU, with tiny models that ONNX Runtime really runs."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio

from csgate import shipped
from csgate.config import InferenceSettings
from csgate.errors import (
    BadBase64,
    BadImage,
    CsgateError,
    EngineUnavailable,
    ImageTooLarge,
    ModelError,
    Overloaded,
    TurnTimeout,
    UnsupportedImage,
)
from csgate.events import Picture
from csgate.inference import open_engine
from csgate.inference.repository import Model
from csgate.inference.runner import OnnxRunner, open_runner
from csgate.inference.tasks import HASHED_ON_LOOP_BYTES
from csgate.telemetry import Logger, Telemetry, open_logger

from .conftest import SIZE, in_base64, picture_file, write_fusion, write_intent, write_tagger

Make = Callable[..., InferenceSettings]
RED = picture_file((255, 0, 0))


def sample(telemetry: Telemetry, name: str, model: str) -> float:
    return telemetry.metrics.registry.get_sample_value(name, {"model": model}) or 0.0


# --- Texts -----------------------------------------------------------------------------------------------------------


async def test_classifies_an_intent(settings: Make, telemetry: Telemetry) -> None:
    async with open_engine(settings(), telemetry) as engine:
        result = await engine.classify_intent("where is my order", share="t", principal="p")
    assert next(intent.name for intent in result.ranking) == "order_status"
    assert result.ranking[0].confidence == pytest.approx(0.965, abs=0.01)
    assert sum(intent.confidence for intent in result.ranking) == pytest.approx(1)
    assert (result.timing.batch, result.timing.cached) == (1, False)


async def test_a_text_is_cached_for_its_tenant_alone(settings: Make, telemetry: Telemetry) -> None:
    async with open_engine(settings(), telemetry) as engine:
        first = await engine.classify_intent("refund", share="a")
        again = await engine.classify_intent("refund", share="a", principal="somebody else")
        other = await engine.classify_intent("refund", share="b")
    assert (first.timing.cached, again.timing.cached, other.timing.cached) == (False, True, False)
    assert first.ranking == again.ranking == other.ranking
    assert sample(telemetry, "csgate_inference_cache_hits_total", "tiny-intent") == 1
    assert sample(telemetry, "csgate_inference_cache_misses_total", "tiny-intent") == 2


async def test_a_cache_of_no_size_keeps_nothing(settings: Make, telemetry: Telemetry) -> None:
    async with open_engine(settings(cache_items=0), telemetry) as engine:
        for _ in range(2):
            assert not (await engine.classify_intent("refund")).timing.cached
            assert not (await engine.tag_picture(in_base64(RED))).cached


@pytest.mark.parametrize(("text", "label"), [("good good", "positive"), ("bad", "negative")])
async def test_judges_the_sentiment_of_a_text(settings: Make, telemetry: Telemetry, text: str, label: str) -> None:
    async with open_engine(settings(), telemetry) as engine:
        result = await engine.judge_sentiment(text)
        again = await engine.judge_sentiment(text)
    assert result.sentiment.label == label
    assert (result.sentiment.score > 0) is (label == "positive")
    assert not result.fused
    assert again.timing.cached
    assert again.sentiment == result.sentiment


async def test_judges_a_text_with_its_picture(settings: Make, telemetry: Telemetry) -> None:
    """The fusion model adds the features to (negative, neutral, positive): a red picture is bad news."""
    async with open_engine(settings(), telemetry) as engine:
        picture = await engine.tag_picture(in_base64(RED))
        alone = await engine.judge_sentiment("hello")
        together = await engine.judge_sentiment("hello", picture.vector)
    assert alone.sentiment.score == pytest.approx(0)
    assert together.fused
    assert together.sentiment.label == "negative"
    assert together.timing.batch == 1
    assert not together.timing.cached


async def test_without_a_fusion_model_the_text_speaks_alone(
    tmp_path: Path, settings: Make, telemetry: Telemetry, repository: Path
) -> None:
    (repository / "tiny-fusion" / "model.toml").unlink()
    async with open_engine(settings(), telemetry) as engine:
        result = await engine.judge_sentiment("good", np.zeros(3, np.float32))
    assert result.sentiment.label == "positive"
    assert not result.fused


# --- Pictures --------------------------------------------------------------------------------------------------------


async def test_tags_a_picture(settings: Make, telemetry: Telemetry) -> None:
    async with open_engine(settings(top_tags=2), telemetry) as engine:
        result = await engine.tag_picture(in_base64(RED), language="zh")
    assert next((tag.name, tag.label, tag.score) for tag in result.tags) == ("red", "红", pytest.approx(1.0))
    assert len(result.tags) == 2
    assert (result.width, result.height, result.format, result.animated) == (16, 16, "png", False)
    assert result.vector is not None
    assert np.allclose(result.vector, [2, 0, 0])


async def test_the_kind_of_a_picture_where_the_model_says(
    settings: Make, telemetry: Telemetry, repository: Path
) -> None:
    async with open_engine(settings(), telemetry) as engine:
        silent = await engine.tag_picture(in_base64(RED))
    write_tagger(repository, output={"name": "tag_scores", "vector": "features", "kind": "kind"})
    async with open_engine(settings(), telemetry) as engine:
        first = await engine.tag_picture(in_base64(RED))
        again = await engine.tag_picture(in_base64(RED))
    assert (silent.kind, silent.kind_score) == (None, 0.0)
    assert (first.kind, first.kind_score) == (again.kind, again.kind_score) == ("sticker", pytest.approx(1.0))


async def test_a_picture_seen_before_costs_no_run_whoever_sends_it(settings: Make, telemetry: Telemetry) -> None:
    async with open_engine(settings(), telemetry) as engine:
        first = await engine.tag_picture(in_base64(RED), share="a")
        again = await engine.tag_picture(in_base64(RED), share="b", language="zh")
    assert (first.cached, again.cached) == (False, True)
    assert again.timing.batch == 0
    assert again.tags[0].label == "红"
    assert sample(telemetry, "csgate_inference_run_seconds_count", "tiny-tagger") == 1
    assert sample(telemetry, "csgate_inference_cache_hits_total", "tiny-tagger") == 1
    assert sample(telemetry, "csgate_inference_cache_misses_total", "tiny-tagger") == 1


async def test_a_large_picture_is_hashed_by_the_worker(settings: Make, telemetry: Telemetry) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)
    stream = io.BytesIO()
    from PIL import Image

    Image.fromarray(noise).save(stream, "png")
    picture = Picture(stream.getvalue(), "binary")
    assert len(picture.data) > HASHED_ON_LOOP_BYTES
    async with open_engine(settings(), telemetry) as engine:
        first = await engine.tag_picture(picture)
        again = await engine.tag_picture(picture)
    assert (first.cached, again.cached) == (False, True)
    assert sample(telemetry, "csgate_inference_cache_hits_total", "tiny-tagger") == 1


@pytest.mark.parametrize(
    ("picture", "error"),
    [
        (Picture(b"%%%", "base64"), BadBase64),
        (in_base64(b"just some text, saved as .png"), UnsupportedImage),
        (in_base64(RED[:40]), BadImage),
        (in_base64(picture_file(size=50)), ImageTooLarge),
    ],
)
async def test_a_bad_picture_is_refused_alone(
    settings: Make, telemetry: Telemetry, picture: Picture, error: type[CsgateError]
) -> None:
    refused: list[CsgateError] = []

    async def bad() -> None:
        try:
            await engine.tag_picture(picture)
        except error as caught:
            refused.append(caught)

    async with open_engine(settings(max_pixels=2000), telemetry) as engine, trio.open_nursery() as nursery:
        nursery.start_soon(bad)
        for shade in range(5):
            nursery.start_soon(engine.tag_picture, in_base64(picture_file((shade, 0, 0))))
    assert len(refused) == 1


async def test_a_ready_row_skips_the_decoding(settings: Make, telemetry: Telemetry) -> None:
    async with open_engine(settings(), telemetry) as engine:
        scores, timing = await engine.tag_tensor(np.full((3, SIZE, SIZE), 0.25, np.float32))
    assert np.allclose(scores, 0.25)
    assert timing.batch == 1


async def test_many_pictures_at_once_each_get_their_own(settings: Make, telemetry: Telemetry) -> None:
    wrong: list[int] = []

    async def ask(shade: int) -> None:
        result = await engine.tag_picture(in_base64(picture_file((shade, 0, 0))), principal=str(shade % 3))
        scores = {tag.name: tag.score for tag in result.tags}
        if abs(scores["red"] - shade / 255) > 0.01:
            wrong.append(shade)

    async with open_engine(settings(), telemetry) as engine, trio.open_nursery() as nursery:
        for shade in range(0, 250, 3):
            nursery.start_soon(ask, shade)
    assert not wrong


# --- Bounds ----------------------------------------------------------------------------------------------------------


async def test_deadlines_and_the_bound_reach_the_caller(settings: Make, telemetry: Telemetry) -> None:
    async with open_engine(settings(queue_items=1), telemetry) as engine:
        with pytest.raises(TurnTimeout):
            await engine.classify_intent("order", deadline=trio.current_time() - 1)
        refused: list[Overloaded] = []

        async def ask(number: int) -> None:
            try:
                await engine.tag_tensor(np.zeros((3, SIZE, SIZE), np.float32))
            except Overloaded as error:
                refused.append(error)

        async with trio.open_nursery() as nursery:
            for number in range(200):
                nursery.start_soon(ask, number)
        assert refused
        assert all(error.retry_after for error in refused)
        assert (await engine.classify_intent("order")).ranking


# --- Opening ---------------------------------------------------------------------------------------------------------


async def test_what_runs_is_told(settings: Make) -> None:
    stream = io.StringIO()
    telemetry = Telemetry(log=open_logger("info", "json", stream))
    async with open_engine(settings(), telemetry) as engine:
        info = engine.info
    assert info.provider == "CPUExecutionProvider"
    assert info.precision == "fp32"
    assert set(info.models) == {"tagger", "intent", "sentiment", "fusion"}
    assert info.models["tagger"].name == "tiny-tagger"
    assert info.models["tagger"].labels == ("red", "green", "blue")
    assert info.models["tagger"].licence == "Apache-2.0"
    ready = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert {line["model"] for line in ready if line["event"] == "inference.model_ready"} == {
        model.name for model in info.models.values()
    }
    labels = {"model": "tiny-tagger", "version": "1", "provider": "CPUExecutionProvider", "precision": "fp32"}
    assert telemetry.metrics.registry.get_sample_value("csgate_model_info", labels) == 1


async def test_a_task_without_a_model_is_unavailable(tmp_path: Path, settings: Make, telemetry: Telemetry) -> None:
    write_intent(tmp_path / "few")
    async with open_engine(settings(models_dir=tmp_path / "few"), telemetry) as engine:
        assert engine.can("intent")
        assert not engine.can("tagger")
        for call in (engine.tag_picture(in_base64(RED)), engine.judge_sentiment("good")):
            with pytest.raises(EngineUnavailable):
                await call
        assert (await engine.classify_intent("hello")).ranking[0].name == "greeting"


async def test_no_models_at_all(tmp_path: Path, settings: Make) -> None:
    stream = io.StringIO()
    telemetry = Telemetry(log=open_logger("info", "json", stream))
    async with open_engine(settings(models_dir=tmp_path), telemetry) as engine:
        assert (engine.info.provider, engine.info.models) == ("none", {})
        with pytest.raises(EngineUnavailable):
            await engine.classify_intent("hello")
    assert "inference.no_models" in stream.getvalue()


async def test_the_shipped_models_are_the_default(
    settings: Make, telemetry: Telemetry, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("csgate.inference.loading.models_dir", lambda: repository)
    assert callable(shipped.models_dir)
    async with open_engine(InferenceSettings(device="cpu", ocr="off"), telemetry) as engine:
        assert engine.can("fusion")


@pytest.mark.parametrize("warm", [True, False])
async def test_warm_up_runs_before_anybody_asks(settings: Make, telemetry: Telemetry, warm: bool) -> None:
    runs: list[int] = []

    def factory(model: Model, settings: InferenceSettings, log: Logger) -> OnnxRunner:
        runner = open_runner(model, settings, log)
        original = runner.bind

        def bind() -> Any:
            bindings = original()
            run = bindings.run

            def counted(bucket: int, length: int = 0) -> None:
                runs.append(bucket)
                run(bucket, length)

            bindings.run = counted  # type: ignore[method-assign]
            return bindings

        runner.bind = bind  # type: ignore[method-assign]
        return runner

    async with open_engine(settings(warm_up=warm), telemetry, runner_factory=factory) as engine:
        assert bool(runs) is warm
        assert set(runs) == ({1, 2, 4} if warm else set())
        await engine.classify_intent("order")
    assert runs


async def test_a_wrong_model_stops_the_start(settings: Make, telemetry: Telemetry, repository: Path) -> None:
    (repository / "tiny-tagger" / "model.onnx").write_bytes(b"changed")
    with pytest.raises(ModelError):
        async with open_engine(settings(), telemetry):
            pass


async def test_a_fusion_model_of_another_tagger_stops_the_start(
    settings: Make, telemetry: Telemetry, repository: Path
) -> None:
    write_fusion(repository, features=5)
    # Added to three logits, five features would not even run: only the shapes are looked at.
    with pytest.raises(ModelError):
        async with open_engine(settings(), telemetry):
            pass


async def test_a_tagger_without_features_does_not_fit_a_fusion_model(
    settings: Make, telemetry: Telemetry, repository: Path
) -> None:
    write_tagger(repository, output={"name": "tag_scores", "kind": "kind"})
    with pytest.raises(ModelError, match="belong together"):
        async with open_engine(settings(), telemetry):
            pass


async def test_falling_back_to_the_cpu_is_loud_and_said_once(settings: Callable[..., InferenceSettings]) -> None:
    stream = io.StringIO()
    async with open_engine(settings(device="auto"), Telemetry(log=open_logger("warning", "json", stream))):
        pass
    told = [
        line for line in map(json.loads, stream.getvalue().splitlines()) if line["event"] == "inference.cpu_fallback"
    ]
    assert len(told) == 1
    assert len(told[0]["models"]) == 4
    assert told[0]["level"] == "warning"
