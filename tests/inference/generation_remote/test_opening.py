"""Who generates: what the two settings may name, and what is said of what they may not."""

import io
import sys
from pathlib import Path

import onnxruntime_genai
import pytest

from csgate.config import GenerationSettings, InferenceSettings
from csgate.errors import ConfigError
from csgate.inference.generation.fallback import FallbackGenerator
from csgate.inference.generation.local import Device
from csgate.inference.generation.opening import Generators, is_url, model_folder, open_generators
from csgate.inference.generation.request import Generator, GeneratorInfo
from csgate.telemetry import Telemetry, open_logger

URL = "http://127.0.0.1:9/v1"


def telemetry() -> Telemetry:
    return Telemetry(log=open_logger("error", stream=io.StringIO()))


async def opened(**settings: str) -> Generators:
    async with open_generators(GenerationSettings(**settings), InferenceSettings(), telemetry()) as generators:  # type: ignore[arg-type]
        return generators


async def test_canned_is_nobody() -> None:
    generators = await opened()
    assert generators.chain == ()
    assert generators.raw is None


async def test_a_url_is_a_remote_server() -> None:
    generators = await opened(generator=URL, model="qwen")
    assert [(one.info.kind, one.info.name) for one in generators.chain] == [("remote", "qwen")]
    assert generators.raw is generators.chain[0]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"generator": "nonsense"}, "There is no generator 'nonsense'"),
        ({"generator": URL, "fallback": "/no/such/folder"}, "There is no generator '/no/such/folder'"),
        ({"generator": URL, "fallback": URL}, "fallback is a URL"),
        ({"generator": "ftp://host/v1"}, "must be a URL such as"),
    ],
)
async def test_what_cannot_be_used_is_told(settings: dict[str, str], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        await opened(**settings)


class Silent:
    """A generator that is never asked."""

    def __init__(self, info: GeneratorInfo) -> None:
        self.info = info


@pytest.mark.parametrize("same", [True, False])
def test_raw_messages_go_on_to_one_of_the_same_style_only(same: bool) -> None:
    first = Silent(GeneratorInfo("a", "remote", "chat", "", 100))
    second = Silent(GeneratorInfo("b", "local", "chat" if same else "shop", "CPU", 100))
    chain: tuple[Generator, ...] = (first, second)  # type: ignore[assignment]
    raw = Generators(chain, telemetry()).raw
    assert isinstance(raw, FallbackGenerator) if same else raw is first


@pytest.mark.parametrize(
    ("name", "url"), [("canned", False), ("https://h/v1", True), ("C:\\models", False), ("./m", False)]
)
def test_is_url(name: str, url: bool) -> None:
    assert is_url(name) is url


@pytest.mark.parametrize(
    ("device", "there", "cuda"),
    [("cuda", False, True), ("auto", True, True), ("auto", False, False), ("cpu", True, False)],
)
def test_the_shipped_one_has_a_form_for_cuda(
    device: Device, there: bool, cuda: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime_genai, "is_cuda_available", lambda: there)
    folder = model_folder("shop", device)
    assert (folder.name == "cuda") is cuda
    assert (folder / "genai_config.json").is_file()


def test_without_the_library_opening_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime_genai", None)
    assert model_folder("shop").name == "shop-generator"


def test_a_folder_is_itself(tmp_path: Path) -> None:
    assert model_folder(str(tmp_path)) == tmp_path
