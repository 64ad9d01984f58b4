"""Pictures that customers send: taken in, kept for as long as their conversation, shown again."""

from csgate.media.shown import Line, Shown

__all__ = ["Line", "Shown"]
