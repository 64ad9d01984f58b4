"""What the parts of a result picture share: measures in pixels of a card ``CARD_WIDTH`` wide, and colours.

A phone shows them at some 0.4 of that. Text and its ground differ by at least 4.5:1 (WCAG 2.2, 1.4.3).
"""

from typing import Final

from csgate.media.showing_shapes import Colour

CARD_WIDTH: Final = 848
PADDING: Final = 24

CARD: Final[Colour] = (246, 248, 248)
BORDER: Final[Colour] = (210, 215, 217)
STAGE: Final[Colour] = (228, 233, 234)
CHECK: Final[Colour] = (238, 242, 242)
SHADOW: Final[Colour] = (40, 50, 54)
INK: Final[Colour] = (26, 31, 33)
MUTED: Final[Colour] = (88, 97, 103)
ACCENT: Final[Colour] = (15, 118, 110)
TRACK: Final[Colour] = (218, 226, 226)
CHIP: Final[Colour] = (214, 234, 230)
CHIP_INK: Final[Colour] = (11, 88, 82)
WHITE: Final[Colour] = (255, 255, 255)
