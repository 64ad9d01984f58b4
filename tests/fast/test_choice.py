"""Which implementation is used: CSGATE_FAST and CSGATE_FAST_SIMD, read at import, so each case in a new interpreter."""

import os
import subprocess
import sys

import pytest

from csgate import _fast
from csgate._fast import native

SHOW = "from csgate import _fast; print(_fast.IMPLEMENTATION, _fast.SIMD, _fast.prepare.__module__)"
WITHOUT_NATIVE = "import sys; sys.modules['csgate._fast.native'] = None\n" + SHOW


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CSGATE_")}
    return subprocess.run(
        [sys.executable, "-c", code], env=inherited | environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("code", "environment", "shown"),
    [
        (SHOW, {}, f"native {native.simd_levels()[-1]} csgate._fast.native"),
        (SHOW, {"CSGATE_FAST": "native", "CSGATE_FAST_SIMD": "scalar"}, "native scalar csgate._fast.native"),
        (SHOW, {"CSGATE_FAST": "pure"}, "pure none csgate._fast.pure_prepare"),
        (WITHOUT_NATIVE, {}, "pure none csgate._fast.pure_prepare"),
    ],
)
def test_choices(code: str, environment: dict[str, str], shown: str) -> None:
    done = run(code, **environment)
    assert done.stdout.strip() == shown, done.stderr


@pytest.mark.parametrize(
    ("code", "environment", "message"),
    [
        (SHOW, {"CSGATE_FAST": "fast"}, "CSGATE_FAST is 'fast'; it may be auto, native or pure"),
        (SHOW, {"CSGATE_FAST_SIMD": "sse9"}, "no SIMD level 'sse9' here"),
        (WITHOUT_NATIVE, {"CSGATE_FAST": "native"}, "the native core was not built"),
    ],
)
def test_wrong_choices_are_named(code: str, environment: dict[str, str], message: str) -> None:
    done = run(code, **environment)
    assert done.returncode != 0
    assert message in done.stderr


def test_this_run_uses_what_was_built() -> None:
    assert os.environ.get("CSGATE_FAST", "native").replace("auto", "native") == _fast.IMPLEMENTATION


def test_levels_can_be_chosen() -> None:
    before = native.simd()
    for level in native.simd_levels():
        native.select_simd(level)
        assert native.simd() == level
    with pytest.raises(ValueError, match="no SIMD level 'mmx' here; there are scalar"):
        native.select_simd("mmx")
    native.select_simd(before)
