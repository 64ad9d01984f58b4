"""What the parts of a result picture share: measures in pixels of a card ``CARD_WIDTH`` wide, and colours.

A third of a measure is what a phone shows. Text and its ground differ by at least 4.5:1 (WCAG 2.2, 1.4.3).
"""

from typing import Final

from csgate.media.showing_shapes import Colour

CARD_WIDTH: Final = 960
PADDING: Final = 27

CARD: Final[Colour] = (250, 250, 249)
BORDER: Final[Colour] = (214, 218, 220)
STAGE: Final[Colour] = (233, 237, 238)
CHECK: Final[Colour] = (245, 247, 247)
SHADOW: Final[Colour] = (40, 50, 54)
INK: Final[Colour] = (26, 31, 33)
MUTED: Final[Colour] = (88, 97, 103)
ACCENT: Final[Colour] = (15, 118, 110)
TRACK: Final[Colour] = (224, 230, 230)
CHIP: Final[Colour] = (222, 238, 235)
CHIP_INK: Final[Colour] = (11, 88, 82)
WHITE: Final[Colour] = (255, 255, 255)
