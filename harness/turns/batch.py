"""The messages of one turn, and the connection that holds their lease."""

from dataclasses import dataclass

from harness.hive_client import Message


@dataclass(frozen=True)
class Batch:
    """Messages that were leased together.

    `generation` is the generation of the connection that holds the lease: when the connection is
    replaced, the messages are queued again. `retried` is true if an earlier turn with these
    messages was started, and the model could not be reached.
    """

    messages: tuple[Message, ...]
    generation: int
    retried: bool = False

    @property
    def ids(self) -> list[int]:
        """The ids of the messages."""
        return [message.id for message in self.messages]
