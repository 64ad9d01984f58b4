"""What pyproject.toml cannot say: the native core, the shipped models that go into a wheel, no page of yesterday."""

import shutil
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
FAST = "src/csgate/_fast"
MANIFESTS = ("model.toml", "csgate.toml")
NOT_SHIPPED = {"training"}  # what makes the models stays in the repository


class BuildPyWithModels(build_py):
    """Copies ``models/<name>/`` to ``csgate/_models/<name>/``; an editable install reads the folder in place."""

    def run(self) -> None:
        # build/ outlives a build, and a page's files have other names each time.
        shutil.rmtree(Path(self.build_lib) / "csgate" / "web" / "dist", ignore_errors=True)
        super().run()
        if self.editable_mode:
            return
        for source, target in self._models():
            self.mkpath(str(target.parent))
            shutil.copyfile(source, target)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        models = [] if self.editable_mode else [str(target) for _, target in self._models()]
        return super().get_outputs(include_bytecode) + models

    def _models(self) -> list[tuple[Path, Path]]:
        models = ROOT / "models"
        target = Path(self.build_lib) / "csgate" / "_models"
        return [
            (file, target / file.relative_to(models))
            for folder in sorted(models.glob("*"))
            if any((folder / manifest).is_file() for manifest in MANIFESTS) and folder.name not in NOT_SHIPPED
            for file in sorted(folder.rglob("*"))
            if file.is_file()
        ]


def native_core() -> list[Extension]:
    """The extensions; without a C compiler the build goes on without them, and the pure reference is used."""
    kernels = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / FAST / "kernels").glob("*.c"))
    headers = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / FAST / "kernels").glob("*.h"))
    needs: dict[str, list[str]] = {"native": kernels, "frames": kernels, "sockets": []}
    extensions = [
        Extension(
            f"csgate._fast.{name}",
            sources=[f"{FAST}/{name}.pyx", *sources],
            include_dirs=[FAST],
            depends=headers,
            # Contracting a*b+c into one rounding is what compilers do by default on Arm only: results would differ.
            extra_compile_args=["-O3", "-std=c11", "-ffp-contract=off", "-fvisibility=hidden"],
        )
        for name, sources in needs.items()
    ]
    built: list[Extension] = cythonize(extensions)
    for one in built:
        one.optional = True  # cythonize() drops the flag
    return built


setup(ext_modules=native_core(), cmdclass={"build_py": BuildPyWithModels})
