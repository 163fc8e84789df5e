"""A store with a history: many messages that were sent, received and acknowledged long ago."""

import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from services.broker.storage import schema
from services.broker.storage.database import now

AGENTS: Final = ("manager", *(f"a{number:02}" for number in range(31)))
WORDS: Final = 20_000
COMMON: Final = "ledger"
"""Words that are in one message of five."""
_CHUNK: Final = 10_000
_APART_US: Final = 2_000_000
"""Microseconds between two messages."""

_Rows = list[tuple[object, ...]]


def fill(path: Path, count: int) -> None:
    """Make a store at `path` in which the agents have exchanged `count` messages.

    Its bodies are 5 to 60 words, of which some are common and most are rare, as in a language. It
    is written in large transactions, without waiting for the disk, and folded into one file.
    """
    db = schema.connect(path)
    db.execute("PRAGMA synchronous = OFF")
    db.executemany("INSERT INTO agent VALUES (?, ?)", [(name, now()) for name in AGENTS])
    rows = _rows(count, now() - count * _APART_US)
    while chunk := list(islice(rows, _CHUNK)):
        db.execute("BEGIN")
        db.executemany(
            "INSERT INTO message (sender, recipient, kind, queued, urgent, in_reply_to, "
            "deliveries, acknowledged) VALUES (?, ?, 'message', ?, 0, 0, 1, ?)",
            [row[:4] for row in chunk],
        )
        (last,) = db.execute("SELECT max(id) FROM message").fetchone()
        bodies = [(last - len(chunk) + 1 + i, row[4]) for i, row in enumerate(chunk)]
        db.executemany("INSERT INTO body VALUES (?, ?)", bodies)
        db.executemany("INSERT INTO message_search (rowid, text) VALUES (?, ?)", bodies)
        db.execute("COMMIT")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()


def _rows(count: int, began: int) -> Iterator[tuple[str, str, int, int, str]]:
    """Yield sender, recipient, time queued and acknowledged, and body; always the same."""
    chance = random.Random(1)
    words = [_word(chance) for _ in range(WORDS)]
    # The frequency of a word is about one by its rank.
    weights = [1 / rank for rank in range(1, WORDS + 1)]
    text = chance.choices(words, weights, k=min(count, _CHUNK) * 40)
    for number in range(count):
        sender, recipient = chance.sample(AGENTS, 2)
        start = chance.randrange(len(text) - 60)
        body = text[start : start + chance.randint(5, 60)]
        if number % 5 == 0:
            body.append(COMMON)
        queued = began + number * _APART_US
        yield sender, recipient, queued, queued + 1_000_000, " ".join(body)


def _word(chance: random.Random) -> str:
    return "".join(chance.choices("etaoinshrdlucmfwypvbgkjqxz", k=chance.randint(2, 10)))
