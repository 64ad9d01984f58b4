"""The pack in docs/dialog-packs.md is a whole one."""

import re
from pathlib import Path

from csgate.dialog import load_pack

PAGE = Path(__file__).parents[2] / "docs" / "dialog-packs.md"


def test_the_documented_pack_loads(tmp_path: Path) -> None:
    blocks = re.findall(r"^```toml file=(\S+)\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 5
    for name, text in blocks:
        (tmp_path / name).write_text(text, encoding="utf-8")
    pack = load_pack(tmp_path)
    assert set(pack.intents) == {"track_bouquet", "person", "other"}
    assert pack.languages == ("en", "zh")
    assert pack.asks_for_person("A human, please.")
