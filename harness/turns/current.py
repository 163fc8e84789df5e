"""The turn that runs now, and its messages."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from harness.claude.run import Outcome
from harness.turns.activity import Activity
from harness.turns.batch import Batch

NO_AGENTS: Final = ("operator", "system")
"""The senders that are not agents: the operator, and the hive itself."""


@dataclass(frozen=True)
class Cancellation:
    """A cancellation; `requeue` gives the messages back.

    `by` is the one who cancels: operator or manager.
    """

    requeue: bool
    by: str


@dataclass
class CurrentTurn:
    """The turn that runs now.

    Attributes:
        batch: The messages that began it.
        task: The task that runs it.
        urgent: The urgent messages that were put into it, each with the id of its prompt.
        cancellation: The cancellation, if there was one.
        cancelled: Whether the cancellation came before the end of the turn.
        cut_off: A sentence about what the cancellation has cut off.
        over: Set when the turn has ended and its messages are acknowledged or released.
    """

    batch: Batch
    task: asyncio.Task[Outcome] | None = None
    urgent: list[tuple[str, Batch]] = field(default_factory=list)
    activity: Activity = field(default_factory=Activity)
    cancellation: Cancellation | None = None
    cancelled: bool = False
    cut_off: str = ""
    over: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def urgent_of_agents(self) -> int:
        """How many urgent messages of agents were put into the turn."""
        senders = (message.sender for _, batch in self.urgent for message in batch.messages)
        return sum(sender not in NO_AGENTS for sender in senders)

    def seen(self, unread: frozenset[str]) -> list[Batch]:
        """Return the messages that the model has read, given the prompts that it has not."""
        return [self.batch, *(batch for number, batch in self.urgent if number not in unread)]

    def left(self, unread: frozenset[str]) -> Iterator[Batch]:
        """Yield the urgent messages that the model has not read."""
        return (batch for number, batch in self.urgent if number in unread)
