"""The build backend (PEP 517, PEP 660): setuptools, and before it the page is built from ``web/``.

``CSGATE_PAGE`` in the environment says what to do where that cannot be done:

- ``auto`` (default): go on without the page. csgate then says at ``/`` how to get it.
- ``require``: fail. What a release is made with.
- ``skip``: do not even try.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import web_page
from setuptools import build_meta
from setuptools.build_meta import prepare_metadata_for_build_editable, prepare_metadata_for_build_wheel

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

ROOT = Path(__file__).resolve().parent.parent
SKIP_HINT = "CSGATE_PAGE=skip builds csgate without the page."


def get_requires_for_build_wheel(config_settings: Any = None) -> list[str]:
    """What setuptools asks for, and Node.js from the package index where the machine has none and it is needed."""
    return _with_node(build_meta.get_requires_for_build_wheel(config_settings))


def get_requires_for_build_sdist(config_settings: Any = None) -> list[str]:
    """As for a wheel: an sdist carries the page, so that nobody needs Node.js to install from it."""
    return _with_node(build_meta.get_requires_for_build_sdist(config_settings))


def get_requires_for_build_editable(config_settings: Any = None) -> list[str]:
    """As for a wheel."""
    return _with_node(build_meta.get_requires_for_build_editable(config_settings))


def build_wheel(wheel_directory: str, config_settings: Any = None, metadata_directory: str | None = None) -> str:
    """Builds the page, then the wheel."""
    return _after_the_page(lambda: build_meta.build_wheel(wheel_directory, config_settings, metadata_directory))


def build_sdist(sdist_directory: str, config_settings: Any = None) -> str:
    """Builds the page, then the sdist."""
    return _after_the_page(lambda: build_meta.build_sdist(sdist_directory, config_settings))


def build_editable(wheel_directory: str, config_settings: Any = None, metadata_directory: str | None = None) -> str:
    """Builds the page, then the editable wheel."""
    return _after_the_page(lambda: build_meta.build_editable(wheel_directory, config_settings, metadata_directory))


def _with_node(requirements: list[str]) -> list[str]:
    page = web_page.WebPage(ROOT)
    if _wish() == "skip" or not page.is_stale() or web_page.find_node(page.engines()) is not None:
        return requirements
    return [*requirements, web_page.NODE_FROM_INDEX]


def _after_the_page(build: Callable[[], str]) -> str:
    wish = _wish()
    if wish != "skip":
        try:
            web_page.WebPage(ROOT).build()
        except web_page.PageError as error:
            if wish == "require":
                raise SystemExit(f"csgate: the page could not be built: {error}") from error
            print(f"\n*** csgate is built WITHOUT ITS PAGE ***\n*** {error}\n", file=sys.stderr, flush=True)
            # What an earlier build left would be a page that does not fit the sources.
            web_page.WebPage(ROOT).remove()
    return build()


def _wish() -> str:
    wish = os.environ.get("CSGATE_PAGE") or "auto"
    if wish not in ("auto", "require", "skip"):
        raise SystemExit(f"csgate: CSGATE_PAGE={wish} is none of auto, require, skip. {SKIP_HINT}")
    return wish
