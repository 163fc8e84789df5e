"""What the operator should look at, in words that may leave this host.

Most of the words are those of agents: they are shown as they are but for characters that a terminal
or a phone would not show as such, and are cut.
"""

import json
from dataclasses import asdict, dataclass
from typing import Final, Self

from services.config import Event

MAX_TITLE: Final = 120
MAX_TEXT: Final = 1000


@dataclass(frozen=True, slots=True)
class News:
    """One thing that has happened.

    `number` is the id that its service gave it, `at` when it happened (microseconds since 1970),
    `origin` the agent that has caused it, or nothing.
    """

    event: Event
    number: int
    title: str
    text: str
    at: int
    origin: str = ""

    @property
    def key(self) -> str:
        """What tells whoever gets it twice that it is the same."""
        return f"{self.event}-{self.number}"

    def dump(self) -> str:
        """As a text to be kept."""
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, text: str) -> Self:
        """What `dump` made; raises ValueError or TypeError for anything else."""
        return cls(**json.loads(text))


def news(event: Event, number: int, title: str, text: str, at: int, origin: str = "") -> News:
    """The same, of words that are not plain yet."""
    return News(
        event, number, plain(title, MAX_TITLE).replace("\n", " "), plain(text, MAX_TEXT), at, origin
    )


def plain(words: str, most: int) -> str:
    """`words` without what cannot be seen, and at most `most` characters of them."""
    head = words[: most + 1]
    seen = "".join(c if c == "\n" or c.isprintable() else " " for c in head).strip()
    return seen if len(head) <= most else f"{seen[: most - 1].rstrip()}…"
