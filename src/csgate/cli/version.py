"""``csgate --version``: what this installation is made of, for a person and for a bug report."""

import platform
import sys

import trio

import csgate
from csgate import _fast
from csgate.errors import ConfigError
from csgate.inference.inspect import runtime_info


def version_report() -> str:
    """One line for each part."""
    try:
        runtime = runtime_info()
        onnx = f"onnxruntime {runtime.version} ({', '.join(runtime.providers)})"
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
