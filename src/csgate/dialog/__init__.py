"""What to answer: a turn is understood, one decision is taken, and the reply is composed from the dialog pack."""

from csgate.dialog.answer import Dialog
from csgate.dialog.pack import Pack, load_pack
from csgate.dialog.writing import Writer

__all__ = ["Dialog", "Pack", "Writer", "load_pack"]
