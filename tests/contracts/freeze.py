"""``python -m tests.contracts.freeze``: adds new exchanges to the list of those that must not change."""

import hashlib
import sys
from pathlib import Path

from csgate.protocol import PROTOCOL_VERSION

from .exchange import FOLDER, names

EXPLANATION = (
    "A recorded exchange has changed or is gone, and with it what protocol version {version} promises to clients that "
    "are out there: {names}. Bring it back ('git checkout contracts'), or see 'When one must change' in "
    "contracts/README.md."
)


def list_of(folder: Path = FOLDER, version: int = PROTOCOL_VERSION) -> Path:
    """Where the sums of that version are, in the format of sha256sum."""
    return folder / "frozen" / f"v{version}.sha256"


def sums(folder: Path = FOLDER) -> dict[str, str]:
    """File name -> SHA-256 of every exchange."""
    return {f"{name}.json": hashlib.sha256((folder / f"{name}.json").read_bytes()).hexdigest() for name in names()}


def frozen(folder: Path = FOLDER, version: int = PROTOCOL_VERSION) -> dict[str, str]:
    """What the list says."""
    path = list_of(folder, version)
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return {name: digest for digest, name in (line.split("  ", 1) for line in lines)}


def broken(now: dict[str, str], before: dict[str, str]) -> list[str]:
    """Exchanges that are not what they were."""
    return sorted(name for name, digest in before.items() if now.get(name) != digest)


def main() -> int:
    now, before = sums(), frozen()
    if wrong := broken(now, before):
        print(EXPLANATION.format(version=PROTOCOL_VERSION, names=", ".join(wrong)), file=sys.stderr)
        return 1
    list_of().write_text("".join(f"{digest}  {name}\n" for name, digest in sorted(now.items())), encoding="utf-8")
    print(f"{len(now) - len(before)} added to {list_of()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
