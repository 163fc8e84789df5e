"""One notification: something that the operator should look at, in words that may leave this host.

Agents wrote most of these words. They are cut, and hidden or misleading characters are spelled out.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final, Self

from services.config import Event
from wire.text.escaping import prose

MAX_TITLE: Final = 120
MAX_TEXT: Final = 1000
MAX_CHOICES: Final = 2
"""The buttons that browsers show on a notification."""

MAX_CHOICE: Final = 40


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
        choices: the choices of a question that a notification may offer as buttons.
    """

    event: Event
    number: int
    title: str
    text: str
    at: int
    origin: str = ""
    choices: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        event: Event,
        number: int,
        title: str,
        text: str,
        at: int,
        origin: str = "",
        choices: Sequence[str] = (),
    ) -> Self:
        """Return a notification of words that may be long, and have hidden characters.

        Choices that are not short and plain are left out, all of them: a button must show exactly
        what it answers.
        """
        title = printable(title, MAX_TITLE).replace("\n", " ")
        plain = len(choices) <= MAX_CHOICES and all(
            one == printable(one, MAX_CHOICE) and "\n" not in one for one in choices
        )
        offered = tuple(choices) if plain else ()
        return cls(event, number, title, printable(text, MAX_TEXT), at, origin, offered)

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
        values = json.loads(text)
        return cls(**values | {"choices": tuple(values.get("choices", ()))})


def printable(words: str, limit: int) -> str:
    """Return at most `limit` characters of `words`, with hidden characters spelled out."""
    head = prose(words[: limit + 1]).strip()
    return head if len(head) <= limit else f"{head[: limit - 1].rstrip()}…"
