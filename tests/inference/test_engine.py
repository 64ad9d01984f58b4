"""The engine end to end on the CPU, with tiny models that run in ONNX Runtime."""

from collections.abc import Callable

import pytest

from csgate.config import InferenceSettings
from csgate.inference import open_engine
from csgate.telemetry import Telemetry

from .conftest import in_base64, picture_file

Make = Callable[..., InferenceSettings]


async def test_classifies_an_intent(settings: Make, telemetry: Telemetry) -> None:
    async with open_engine(settings(), telemetry) as engine:
        result = await engine.classify_intent("where is my order", share="t", principal="p")
    assert result.ranking[0].name == "order_status"
    assert result.ranking[0].confidence > 0.9


async def test_tags_a_picture(settings: Make, telemetry: Telemetry) -> None:
    async with open_engine(settings(), telemetry) as engine:
        result = await engine.tag_picture(in_base64(picture_file((255, 0, 0))), language="zh")
    assert result.tags[0].name == "red"
    assert result.tags[0].label == "红"
    assert result.tags[0].score == pytest.approx(1.0)
