"""The messages of one turn, and how long they are ours."""

from dataclasses import dataclass

from harness.hive_client import Message


@dataclass(frozen=True)
class Batch:
    """Messages that were leased together.

    `generation` is that of the connection that holds the lease: with another one they are queued
    again. `again` tells that a turn with them has begun before, and the model went away in it.
    """

    messages: tuple[Message, ...]
    generation: int
    again: bool = False

    @property
    def ids(self) -> list[int]:
        """The messages' ids."""
        return [message.id for message in self.messages]
