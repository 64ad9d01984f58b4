"""A tiny random Llama, made once."""

from pathlib import Path

import pytest
from tests.inference.generation.llama import write_llama


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two layers, 384 tokens, a context of 256. Not to be written to."""
    return write_llama(tmp_path_factory.mktemp("models") / "tiny-llama")
