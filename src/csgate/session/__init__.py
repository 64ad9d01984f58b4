"""Conversations: the log with its offsets, open turns, and who is attached.

``open_conversations`` owns the nursery; each conversation with work pending has one actor task in it, and the turn
being answered another. Connections only attach::

    Attachment.submit -> Actor.accept -> Store.accept -> ack to the sender, message to the others
                              |
                       answer_turn (Answerer) -> progress, delta -> everybody attached
                              |
                       Actor -> Store.finish -> reply or error -> everybody attached
"""

from csgate.session.attachment import Attachment, Sink
from csgate.session.conversations import Conversations, open_conversations
from csgate.session.memory import MemoryStore
from csgate.session.opening import open_store
from csgate.session.shared import Ears, SharedStore
from csgate.session.store import Accepted, FinalEvent, Finished, Header, OpenTurn, Page, Record, Reopened, Store, Stored
from csgate.session.turn import Answerer, Turn

__all__ = [
    "Accepted",
    "Answerer",
    "Attachment",
    "Conversations",
    "Ears",
    "FinalEvent",
    "Finished",
    "Header",
    "MemoryStore",
    "OpenTurn",
    "Page",
    "Record",
    "Reopened",
    "SharedStore",
    "Sink",
    "Store",
    "Stored",
    "Turn",
    "open_conversations",
    "open_store",
]
