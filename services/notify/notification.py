"""One notification: something that the operator should look at, in words that may leave this host.

Agents wrote most of these words. They are cut, and hidden or misleading characters are spelled out.
"""

import json
from dataclasses import asdict, dataclass
from typing import Final, Self

from services.config import Event
from wire.text.escaping import prose

MAX_TITLE: Final = 120
MAX_TEXT: Final = 1000


@dataclass(frozen=True, slots=True)
class Notification:
    """One event that the operator should look at.

    Attributes:
        event: the kind of event, by which webhooks choose.
        number: the id that the event's service gave it.
        title: one line.
        text: more lines; they may be empty.
        at: when it happened, in microseconds since 1970.
        origin: the agent that caused it, or empty.
    """

    event: Event
    number: int
    title: str
    text: str
    at: int
    origin: str = ""

    @classmethod
    def of(
        cls, event: Event, number: int, title: str, text: str, at: int, origin: str = ""
    ) -> Self:
        """Return a notification of words that may be long, and have hidden characters."""
        title = printable(title, MAX_TITLE).replace("\n", " ")
        return cls(event, number, title, printable(text, MAX_TEXT), at, origin)

    @property
    def key(self) -> str:
        """The identity of the event, by which a receiver recognizes a repetition."""
        return f"{self.event}-{self.number}"

    def dump(self) -> str:
        """Return the notification as JSON, for the store."""
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, text: str) -> Self:
        """Return the notification that `dump` wrote.

        Raises:
            ValueError, TypeError: `dump` did not write this text.
        """
        return cls(**json.loads(text))


def printable(words: str, limit: int) -> str:
    """Return at most `limit` characters of `words`, with hidden characters spelled out."""
    head = prose(words[: limit + 1]).strip()
    return head if len(head) <= limit else f"{head[: limit - 1].rstrip()}…"
