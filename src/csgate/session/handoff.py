"""Who answers in a conversation: the bot, nobody yet, or a person. A table, no I/O.

While a conversation is ``waiting`` the bot still answers; while it is ``human`` the bot is mute. ``closed`` belongs
to the protocol, but nothing in this version closes a conversation.
"""

from enum import Enum, auto
from typing import Final

from csgate.events import ConversationState


class Cue(Enum):
    """What can change who answers."""

    ASKED = auto()  # the customer, or the dialog on the customer's behalf, asked for a person
    AGENT_SPOKE = auto()
    NOBODY_CAME = auto()  # no agent attached for handoff_seconds, or the last one left that long ago


TRANSITIONS: Final[dict[tuple[ConversationState, Cue], ConversationState]] = {
    ("bot", Cue.ASKED): "waiting",
    ("bot", Cue.AGENT_SPOKE): "human",
    ("waiting", Cue.AGENT_SPOKE): "human",
    ("waiting", Cue.NOBODY_CAME): "bot",
    # An agent who leaves must not leave the customer with a mute bot for ever.
    ("human", Cue.NOBODY_CAME): "bot",
    ("closed", Cue.ASKED): "waiting",
    ("closed", Cue.AGENT_SPOKE): "human",
}


def next_state(state: ConversationState, cue: Cue) -> ConversationState | None:
    """The new state, or None where ``cue`` changes nothing."""
    return TRANSITIONS.get((state, cue))


def needs_agent(state: ConversationState) -> bool:
    """Whether the countdown runs while no agent is attached."""
    return state in ("waiting", "human")
