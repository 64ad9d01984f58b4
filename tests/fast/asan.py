"""Builds the C kernels with the address and undefined-behaviour sanitizers and runs ``kernels_check.c`` over them.

``python tests/fast/asan.py``; ``CC`` names another compiler. Exits with the checks' status.
"""

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
KERNELS = HERE.parent.parent / "src" / "csgate" / "_fast" / "kernels"
FLAGS = [
    "-std=c11",
    "-O2",
    "-g",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-ffp-contract=off",
    "-fno-omit-frame-pointer",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
]


def main() -> int:
    sources = [HERE / "kernels_check.c", *sorted(KERNELS.glob("*.c"))]
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "kernels_check"
        command = [
            *shlex.split(os.environ.get("CC", "cc")),
            *FLAGS,
            f"-I{KERNELS}",
            *map(str, sources),
            "-o",
            str(program),
        ]
        built = subprocess.run(command, check=False)
        if built.returncode:
            print(f"The kernels do not build: {shlex.join(command)}", file=sys.stderr)
            return built.returncode
        return subprocess.run([program], check=False, env={**os.environ, "ASAN_OPTIONS": "detect_leaks=1"}).returncode


if __name__ == "__main__":
    sys.exit(main())
