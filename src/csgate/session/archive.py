"""Stored conversations as an operator sees them: what is kept, of whom, and how to take one customer out of it."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, NamedTuple

from csgate.errors import ConfigError


class Kept(NamedTuple):
    """One conversation. Offsets from ``first`` to ``last`` are retained; ``touched`` is when it was last active.

    ``key`` is the store's own, if it has one.
    """

    id: str
    issuer: str
    tenant: str
    subject: str
    epoch: str
    first: int
    last: int
    touched: str
    state: str
    key: int = 0


class Archive(ABC):
    """What ``csgate conversations`` works on."""

    @abstractmethod
    def newest(self, limit: int, subject: str | None = None) -> list[Kept]:
        """The conversations that were active last, the newest first; of one subject, if given."""

    @abstractmethod
    def find(self, conversation: str) -> Kept:
        """One conversation.

        Raises:
            NotFound: there is none of that id.
        """

    @abstractmethod
    def events(self, kept: Kept) -> Iterator[dict[str, Any]]:
        """Its events as the protocol shows them, in the order of their offsets."""

    @abstractmethod
    def of_subject(self, subject: str) -> list[Kept]:
        """All conversations of whoever is called so, in the order in which they began or in none."""

    @abstractmethod
    def erase(self, subject: str, tenant: str | None = None, issuer: str | None = None) -> list[str]:
        """Deletes all conversations of one customer, and says which there were.

        Raises:
            ConfigError: as :meth:`owned`.
        """

    def owned(self, subject: str, tenant: str | None = None, issuer: str | None = None) -> list[Kept]:
        """All conversations of one customer.

        Args:
            tenant, issuer: as in the customer's tokens; None where the subject alone tells who is meant.

        Raises:
            ConfigError: it does not: customers of several tenants or issuers have that subject.
        """
        found = [
            kept
            for kept in self.of_subject(subject)
            if (tenant is None or kept.tenant == tenant) and (issuer is None or kept.issuer == issuer)
        ]
        owners = sorted({(kept.tenant, kept.issuer) for kept in found})
        if len(owners) > 1:
            listed = ", ".join(f"tenant '{one}' of issuer '{other}'" for one, other in owners)
            raise ConfigError(f"'{subject}' is more than one customer: {listed}. Choose with --tenant and --issuer.")
        return found

    def export(self, kept: list[Kept]) -> Iterator[dict[str, Any]]:
        """For each conversation an object that describes it, then its events, each with the conversation's id."""
        for one in kept:
            about = one._asdict()
            del about["key"]
            yield {"type": "conversation", **about}
            for event in self.events(one):
                yield {"conversation": one.id, **event}
