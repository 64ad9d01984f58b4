"""Who may import whom: the direction of imports, and one home for every dependency."""

import ast
from pathlib import Path

import csgate

SOURCE = Path(csgate.__file__).parent

LEAVES = {"events", "errors"}
BASE = {"config", "telemetry", "_fast"}

# part -> parts of ours it may import, besides itself, the leaves and the package root
ALLOWED: dict[str, set[str]] = {
    "events": set(),
    "errors": set(),
    "background": set(),
    "shipped": set(),
    "_fast": set(),
    "config": set(),
    "telemetry": {"config"},
    "wire": {"_fast"},
    "protocol": {"_fast"},
    "auth": {"config", "telemetry"},
    "session": {"config", "telemetry"},
    "cluster": {"config", "telemetry", "session"},
    "pictures": {"_fast", "config"},
    "inference": BASE | {"background", "shipped", "pictures"},
    "media": BASE | {"background", "pictures"},
    "dialog": BASE | {"session", "inference", "media"},
    "gateway": BASE | {"wire", "protocol", "auth", "dialog", "session", "inference", "media", "web"},
    "client": {"wire", "protocol"},
    "web": set(),
    "cli": BASE
    | {"gateway", "cluster", "client", "protocol", "auth", "session", "inference", "dialog", "media", "shipped"},
    "__main__": {"cli"},
}

# third-party module -> parts that may import it
HOMES: dict[str, set[str]] = {
    "hypercorn": {"gateway"},
    "starlette": {"gateway"},
    "onnxruntime": {"inference"},
    "onnxruntime_genai": {"inference"},
    "tokenizers": {"inference"},
    "PIL": {"pictures", "media"},
    "simplejpeg": {"pictures"},
    "rapidocr": {"inference"},
    "obstore": {"media"},
    "python_multipart": {"gateway"},
    "jwt": {"auth"},
    "trio_websocket": {"client"},
    "h11": {"wire", "gateway"},
    "httpx": {"auth", "client", "inference"},
    "structlog": {"telemetry", "gateway", "session"},
    "prometheus_client": {"telemetry"},
    "xxhash": {"session"},
    "bm25s": {"dialog"},
    "coredis": {"cluster"},
}

SANS_IO = {"wire", "protocol"}
FORBIDDEN_IN_SANS_IO = {"trio", "socket", "ssl", "time", "logging", "structlog", "asyncio", "threading"}


def part_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(path: Path) -> list[tuple[str, int]]:
    """Every absolute module name that ``path`` imports, ``from`` imports down to the name."""
    names: list[tuple[str, int]] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            names += [(f"{node.module}.{alias.name}", node.lineno) for alias in node.names]
    return names


def files() -> list[Path]:
    found = sorted(path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py")
    assert len(found) > 40
    return found


def test_every_part_is_known() -> None:
    assert {part_of(path) for path in files()} <= set(ALLOWED)


def test_parts_import_only_downwards() -> None:
    wrong = []
    for path in files():
        part = part_of(path)
        for name, line in imports(path):
            first, _, rest = name.partition(".")
            if first != "csgate" or not rest:
                continue
            target = rest.partition(".")[0]
            if target in ALLOWED and target != part and target not in ALLOWED[part] | LEAVES:
                wrong.append(f"{path.relative_to(SOURCE)}:{line} imports {target}")
            if part in LEAVES and target in ALLOWED:
                wrong.append(f"{path.relative_to(SOURCE)}:{line}: a leaf imports {target}")
    assert not wrong


def test_every_dependency_has_one_home() -> None:
    wrong = []
    for path in files():
        for name, line in imports(path):
            homes = HOMES.get(name.partition(".")[0])
            if homes is not None and part_of(path) not in homes:
                wrong.append(f"{path.relative_to(SOURCE)}:{line} imports {name}")
    assert not wrong


def test_protocol_code_is_sans_io() -> None:
    wrong = []
    for path in files():
        if part_of(path) in SANS_IO:
            wrong += [
                f"{path.relative_to(SOURCE)}:{line} imports {name}"
                for name, line in imports(path)
                if name.partition(".")[0] in FORBIDDEN_IN_SANS_IO
            ]
    assert not wrong


def test_no_module_outgrows_its_room() -> None:
    long = {
        str(path.relative_to(SOURCE)): count
        for path in files()
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > 500
    }
    assert not long
