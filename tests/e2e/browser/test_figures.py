"""Bounds of what the page costs; ``benchmarks/bench_page.py`` measures the same at leisure."""

import pytest
from playwright.sync_api import Browser

from ..conftest import Server
from .dictation import Dictation
from .figures import DESKTOP, PHONE, Profile, measure

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("profile", [DESKTOP, PHONE], ids=lambda profile: profile.name)
def test_the_page_is_light_and_stands_still(
    browser: Browser, writer: Server, dictation: Dictation, profile: Profile
) -> None:
    found = measure(browser, writer, dictation, profile)
    assert found.bytes < 72 * 1024
    assert found.requests <= 5
    assert found.shift_loading < 0.01
    assert found.shift_streaming < 0.01
