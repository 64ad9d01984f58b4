"""One Chromium and few servers for all of these tests; whoever visits must leave without a complaint."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from ..conftest import Server, start_server
from ..test_simple_mode import CHROMIUM, CHROMIUM_FLAGS
from .dictation import Dictation
from .visitor import Visitor

QUICK_START: dict[str, Any] = {"CSGATE_INFERENCE__WARM_UP": "false"}
PATIENCE_MS = 30_000
"""Machines may be busy. What is quick is not slower for it."""


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_FLAGS)
        yield chromium
        chromium.close()
    expect.set_options(timeout=5_000)


Visit = Callable[..., Visitor]


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    """Makes visitors of a server's page."""
    visitors: list[Visitor] = []

    def arrive(server: Server, **options: Any) -> Visitor:
        visitors.append(Visitor(browser, server.http, **options))
        return visitors[-1]

    yield arrive
    for visitor in visitors:
        visitor.close()


@pytest.fixture(scope="package")
def dictation() -> Iterator[Dictation]:
    running = Dictation()
    yield running
    running.close()


@pytest.fixture(scope="package")
def writer(dictation: Dictation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose answers are dictated."""
    running = start_server(
        tmp_path_factory.mktemp("writer"), CSGATE_INFERENCE__WARM_UP="false", **dictation.environment
    )
    yield running
    dictation.dictate((), 0)
    assert running.stop() == 0, "".join(running.text[-30:])
