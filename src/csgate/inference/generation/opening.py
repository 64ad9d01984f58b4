"""Who generates, by two settings: ``generation.generator``, and ``generation.fallback`` behind a remote one."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from csgate.config import GenerationSettings, InferenceSettings
from csgate.errors import ConfigError, ModelError
from csgate.inference.generation.fallback import FallbackGenerator
from csgate.inference.generation.local import Device, open_local_generator
from csgate.inference.generation.remote import open_remote_generator
from csgate.inference.generation.request import Generator
from csgate.shipped import models_dir
from csgate.telemetry import Telemetry

CANNED: Final = "canned"
SHIPPED: Final = {"shop": "shop-generator"}


@dataclass(frozen=True, slots=True)
class Generators:
    """``chain``: who is asked, in this order; empty where the pack's own replies are all there is."""

    chain: tuple[Generator, ...]
    telemetry: Telemetry

    @property
    def raw(self) -> Generator | None:
        """For messages that are passed on as they are, which only generators of the same style can share."""
        if not self.chain:
            return None
        first, *rest = self.chain
        if rest and rest[0].info.style == first.info.style:
            return FallbackGenerator(first, rest[0], self.telemetry)
        return first


@asynccontextmanager
async def open_generators(
    settings: GenerationSettings, inference: InferenceSettings, telemetry: Telemetry
) -> AsyncIterator[Generators]:
    """Opens what the settings name; leaving it ends threads and connections.

    Raises:
        ConfigError: a name, URL, key or model folder cannot be used (ModelError for the last).
    """
    async with AsyncExitStack() as stack:
        chain: list[Generator] = []
        names = [settings.generator]
        if is_url(settings.generator):
            names.append(settings.fallback)
            if is_url(settings.fallback):
                raise ConfigError("generation.fallback is a URL; it must be 'canned', 'shop' or a model's folder.")
        for name in names:
            if is_url(name):
                chain.append(await stack.enter_async_context(open_remote_generator(name, settings, telemetry)))
            elif name != CANNED:
                chain.append(
                    await stack.enter_async_context(
                        open_local_generator(
                            model_folder(name, inference.device),
                            settings,
                            telemetry,
                            device=inference.device,
                            device_id=inference.device_id,
                            threads=inference.intra_op_threads,
                        )
                    )
                )
        for generator in chain:
            info = generator.info
            telemetry.log.info("generator_ready", name=info.name, kind=info.kind, provider=info.provider)
        yield Generators(tuple(chain), telemetry)


def _cuda_is_there() -> bool:
    try:
        import onnxruntime_genai
    except ImportError:
        return False  # opening the folder says what to install
    return bool(onnxruntime_genai.is_cuda_available())


def is_url(name: str) -> bool:
    """Whether ``name`` means a remote server."""
    return "://" in name


def model_folder(name: str, device: Device = "auto") -> Path:
    """The folder of a shipped generator's name, for CUDA where that is wanted or there; or of a path.

    Raises:
        ModelError: there is no such folder.
    """
    folder = models_dir() / SHIPPED[name] if name in SHIPPED else Path(name)
    if name in SHIPPED and (device == "cuda" or (device == "auto" and _cuda_is_there())):
        folder = folder / "cuda"
    if not folder.is_dir():
        known = ", ".join(f"'{known}'" for known in (CANNED, *SHIPPED))
        raise ModelError(
            f"There is no generator '{name}': set generation.generator to {known}, a model's folder or a server's URL."
        )
    return folder
