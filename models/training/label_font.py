"""Make the small fonts that csgate writes on result pictures with: Noto Sans CJK SC, cut down to what is needed.

Which characters: all labels of the sticker model, the 3,755 everyday characters of GB 2312 (level 1), what the dialog
packs are written with, Latin, and punctuation. Kept small by a coarser grid (see ``GRID``) and by compression. Run with
fonttools and Debian's fonts-noto-cjk (the same versions give the same bytes)::

    python models/training/label_font.py

The licence (SIL OFL 1.1) wants a derivative to go without reserved names, "Source" here, and Noto is a trademark: the
results carry a name of their own. Its text lies beside them.
"""

from __future__ import annotations

import argparse
import io
import json
import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from fontTools.misc.psCharStrings import T2CharString
from fontTools.pens.boundsPen import BoundsPen
from fontTools.pens.t2CharStringPen import T2CharStringPen
from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTCollection, TTFont, newTable
from fontTools.ttLib.scaleUpem import scale_upem
from fontTools.ttLib.tables._k_e_r_n import KernTable_format_0

ROOT: Final = Path(__file__).resolve().parents[2]
SOURCES: Final = Path("/usr/share/fonts/opentype/noto")
TARGET: Final = ROOT / "src/csgate/media/fonts"
FAMILY: Final = "Noto Sans CJK SC"
NAME: Final = "csgate Label"
STYLES: Final = {"Regular": "label.otf.xz", "Bold": "label-bold.otf.xz"}
GRID: Final = 240
"""Units an em. The source has 1000; at the 30 to 40 pixels of our text, a unit is a seventh of a pixel, which nobody
sees, and most numbers of an outline then fit one byte: the file is a third smaller."""

LATIN: Final = "".join(map(chr, (*range(0x20, 0x7F), *range(0xA0, 0x100)))) + "ĀāĒēĚěĪīŌōŒœŪū"
PUNCTUATION: Final = "‐–—―‘’‚“”„†‡•…‰′″‹›€™№℃℉←↑→↓−×÷≈≠≤≥■□▲△▼▽◆◇○●★☆✓、。〈〉《》「」『』【】〔〕〜·￥"
WIDE: Final = "".join(letter for letter in map(chr, range(0xFF01, 0xFF5F)) if not letter.isalnum())
CHROME: Final = "图片内容图中文字表情贴纸动态照片截图另有行没有认出内容"
KERNED: Final = "".join(map(chr, range(0x21, 0x7F)))
BOX: Final = (90, 900, -40, 770, 55, 60)
"""What stands for a character the font lacks: left, right, bottom, top, stroke and corner, in thousandths of an em."""


def labels() -> str:
    """Every character of the sticker model's labels."""
    tables = json.loads((ROOT / "models/stickers/labels.json").read_text(encoding="utf-8"))
    return "".join(tables["en"] + tables["zh"])


def writings() -> Iterator[str]:
    """Our own texts in Chinese: the dialog packs and their pages."""
    packs = ROOT / "src/csgate/dialog/packs"
    for path in sorted([*packs.rglob("*.toml"), *packs.rglob("*.md")]):
        yield path.read_text(encoding="utf-8")


def everyday() -> str:
    """GB 2312 level 1: rows 16 to 55 of 94 cells, the last five of which are empty."""
    cells = [bytes((0xA0 + row, 0xA0 + cell)) for row in range(16, 56) for cell in range(1, 95)]
    return "".join(cell.decode("gb2312") for cell in cells[:3755])


def wanted() -> dict[str, set[int]]:
    """The code points of each style. Bold is for headings, chips and numbers."""
    ideographs = {ord(letter) for text in writings() for letter in text if "\u4e00" <= letter <= "\u9fff"}
    everything = ideographs | set(map(ord, everyday() + labels() + LATIN + PUNCTUATION + WIDE + CHROME))
    return {"Regular": everything, "Bold": set(map(ord, LATIN + PUNCTUATION + CHROME))}


def source(style: str) -> TTFont:
    """The Simplified Chinese member of Debian's collection."""
    collection = TTCollection(SOURCES / f"NotoSansCJK-{style}.ttc")
    return next(font for font in collection.fonts if font["name"].getDebugName(1) == FAMILY)


def kerning(font: TTFont) -> dict[tuple[str, str], int]:
    """The horizontal kerning of ASCII out of ``GPOS``; FreeType alone, without a shaper, reads ``kern`` only."""
    cmap = font.getBestCmap()
    names = [cmap[ord(letter)] for letter in KERNED]
    table = font["GPOS"].table
    chosen = {
        index
        for feature in table.FeatureList.FeatureRecord
        if feature.FeatureTag == "kern"
        for index in feature.Feature.LookupListIndex
    }
    pairs: dict[tuple[str, str], int] = {}
    for index in sorted(chosen):
        for outer in table.LookupList.Lookup[index].SubTable:
            subtable = getattr(outer, "ExtSubTable", outer)
            if type(subtable).__name__ != "PairPos":
                continue
            covered = set(subtable.Coverage.glyphs)
            for left in names:
                if left in covered:
                    for right, value in _row(subtable, left, names):
                        pairs.setdefault((left, right), value)
    return {pair: value for pair, value in pairs.items() if value}


def _row(subtable: Any, left: str, names: list[str]) -> Iterator[tuple[str, int]]:
    if subtable.Format == 1:
        records = subtable.PairSet[subtable.Coverage.glyphs.index(left)].PairValueRecord
        found = {record.SecondGlyph: record.Value1 for record in records}
        yield from ((right, getattr(found[right], "XAdvance", 0)) for right in names if right in found)
    else:
        first = subtable.Class1Record[subtable.ClassDef1.classDefs.get(left, 0)]
        for right in names:
            value = first.Class2Record[subtable.ClassDef2.classDefs.get(right, 0)].Value1
            yield right, getattr(value, "XAdvance", 0)


def put_box(font: TTFont) -> None:
    """Make ``.notdef`` a light frame of an ideograph's size, instead of the crossed box."""
    left, right, bottom, top, stroke, corner = BOX
    pen = T2CharStringPen(1000, font.getGlyphSet())
    for inset, way in ((0, 1), (stroke, -1)):
        x0, x1, y0, y1 = left + inset, right - inset, bottom + inset, top - inset
        r = max(corner - inset // 2, 0)
        points = [
            (x0 + r, y0),
            (x1 - r, y0),
            (x1, y0 + r),
            (x1, y1 - r),
            (x1 - r, y1),
            (x0 + r, y1),
            (x0, y1 - r),
            (x0, y0 + r),
        ]
        pen.moveTo(points[0])
        for point in points[1:] if way == 1 else points[:0:-1]:
            pen.lineTo(point)
        pen.closePath()
    strings = font["CFF "].cff[0].CharStrings
    old = strings[".notdef"]
    new: T2CharString = pen.getCharString(private=old.private, globalSubrs=old.globalSubrs)
    strings[".notdef"] = new
    bounds = BoundsPen(None)
    new.draw(bounds)
    font["hmtx"][".notdef"] = (1000, int(bounds.bounds[0]))


def put_name(font: TTFont, style: str) -> None:
    """A name of its own; the copyright, designers and licence stay."""
    table = font["name"]
    table.names = [
        record
        for record in table.names
        if record.platformID == 3 and record.langID == 0x409 and record.nameID in (0, 8, 9, 13, 14)
    ]
    plain = f"{NAME} {style}"
    for number, text in {1: NAME, 2: style, 3: plain, 4: plain, 5: "Version 1.0", 6: plain.replace(" ", "-")}.items():
        table.setName(text, number, 3, 1, 0x409)
    cff = font["CFF "].cff
    cff.fontNames = [plain.replace(" ", "-")]
    top = cff[0]
    top.FullName, top.FamilyName, top.Weight = plain, NAME, style
    for dictionary in top.FDArray:
        dictionary.FontName = f"{plain.replace(' ', '-')}-{top.FDArray.items.index(dictionary)}"


def subset(style: str, characters: set[int]) -> TTFont:
    """The font with those characters and nothing that a renderer without a shaper does not read."""
    font = source(style)
    pairs = kerning(font)
    options = Options()
    options.layout_features = []
    options.hinting = False
    options.desubroutinize = False
    options.notdef_outline = True
    options.name_IDs = ["*"]
    options.drop_tables += ["GPOS", "GSUB", "GDEF", "BASE", "VORG", "vhea", "vmtx", "DSIG"]
    subsetter = Subsetter(options)
    subsetter.populate(unicodes=characters)
    subsetter.subset(font)
    kept = set(font.getGlyphOrder())
    kern = KernTable_format_0()
    kern.version, kern.coverage, kern.tupleIndex, kern.apple = 0, 1, None, False
    kern.kernTable = {pair: value for pair, value in pairs.items() if kept.issuperset(pair)}
    font["kern"] = newTable("kern")
    font["kern"].version, font["kern"].kernTables = 0, [kern]
    put_box(font)
    put_name(font, style)
    font["CFF "].cff.desubroutinize()
    scale_upem(font, GRID)
    font["head"].modified = font["head"].created
    font.recalcTimestamp = False
    return font


def main() -> None:
    """Write both fonts and say what they weigh."""
    parser = argparse.ArgumentParser(description="make the fonts of the result pictures")
    parser.add_argument("--to", type=Path, default=TARGET)
    target: Path = parser.parse_args().to
    target.mkdir(parents=True, exist_ok=True)
    for style, characters in wanted().items():
        font = subset(style, characters)
        plain = io.BytesIO()
        font.save(plain)
        packed = lzma.compress(plain.getvalue(), preset=9 | lzma.PRESET_EXTREME)
        (target / STYLES[style]).write_bytes(packed)
        missing = sorted(chr(code) for code in characters - set(font.getBestCmap()))
        print(
            f"{STYLES[style]}: {len(font.getGlyphOrder())} glyphs, {len(packed):,} bytes; not in the source: {missing}"
        )


if __name__ == "__main__":
    main()
