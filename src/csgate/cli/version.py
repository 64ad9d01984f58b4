"""``csgate --version``: what this installation is made of, for a person and for a bug report."""

import platform
import sys

import trio

import csgate
from csgate import _fast
from csgate.errors import ConfigError
from csgate.inference.runner import import_runtime


def version_report() -> str:
    """One line for each part."""
    try:
        runtime = import_runtime()
        onnx = f"onnxruntime {runtime.__version__} ({', '.join(runtime.get_available_providers())})"
    except ConfigError as error:
        onnx = f"onnxruntime missing: {error}"
    build = "no compiler was there when it was installed" if _fast.IMPLEMENTATION == "pure" else f"SIMD {_fast.SIMD}"
    return "\n".join(
        (
            f"csgate {csgate.__version__}",
            f"python {platform.python_version()} ({sys.platform}, {platform.machine()})",
            f"trio {trio.__version__}",
            onnx,
            f"core {_fast.IMPLEMENTATION} ({build})",
        )
    )
