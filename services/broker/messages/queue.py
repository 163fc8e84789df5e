"""The order of an inbox, and its bounds, in SQL.

An inbox hands out its messages by `round`, then by id. The operator's messages and those of the
hive have fixed rounds before all others. The messages of each agent get ascending rounds, one
message a round, so that the senders take turns. A sender without queued messages joins the round
that is being handed out, unless it had its message in that round (start-time fair queueing).

Urgent messages come first in their round. They do not wait for the other messages of their sender:
each agent has one urgent message in a round, beside its other one.

The round of a message never changes: a message that is queued again keeps its place.

All functions are called within a transaction.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from services.config import BrokerConfig
from wire.errors import LimitExceeded
from wire.names import OPERATOR, SYSTEM

FIRST: Final = {OPERATOR: -2, SYSTEM: -1}
"""The rounds of those who take no turns. The rounds of agents begin with 0."""

FEW: Final = 10
"""A sender with fewer messages in an inbox always has room."""

_WAITING: Final = "acknowledged IS NULL AND parked IS NULL"

ORDER: Final = "round, urgent DESC, message.id"
"""The order of an inbox; the index message_round has it."""


def _round(own: str) -> str:
    return f"""coalesce(:first, max(
        coalesce((SELECT max(round) FROM served WHERE recipient = :recipient), 0),
        coalesce(
            (SELECT round + 1 FROM served WHERE recipient = :recipient AND origin = :origin), 0),
        coalesce((SELECT max(round) + 1 FROM message INDEXED BY {own}), 0)
    ))"""  # noqa: S608 - constants only


ROUND: Final = _round(
    f"message_origin WHERE recipient = :recipient AND origin = :origin AND {_WAITING}"
)
"""The round of a new message; `:first` is its round in FIRST, or NULL."""
URGENT_ROUND: Final = _round(
    "message_urgent_origin "
    f"WHERE recipient = :recipient AND origin = :origin AND {_WAITING} AND urgent = 1"
)
"""The round of a new urgent message."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most messages of agents that may wait in one inbox; dead letters are not counted."""

    sender: int
    """Of one sender."""
    inbox: int
    """Of all senders. A sender with less than its share of them may still add messages."""

    @classmethod
    def of(cls, config: BrokerConfig) -> "Bounds":
        """Return the bounds of the configuration."""
        return cls(config.max_queued_per_sender, config.max_queued_per_inbox)


DEFAULTS: Final = Bounds.of(BrokerConfig())
"""The bounds without a configuration."""


def check_room(db: sqlite3.Connection, origin: str, recipient: str, bounds: Bounds) -> None:
    """Check that an inbox takes another message of `origin`.

    The operator and the hive always have room. In a full inbox a sender still has room for its
    share, and for a few messages at least, so that some senders cannot keep the others out.

    Raises:
        LimitExceeded: it does not; the sentence says what to do.
    """
    if origin in FIRST:
        return
    remedy = (
        f"Wait until {recipient} has read some of them, or ask the operator to drop them with "
        f"`hivectl purge-inbox {recipient} --from {origin}`."
    )
    waiting = _count(db, bounds.sender, recipient, origin)
    if waiting >= bounds.sender:
        raise LimitExceeded(
            f"{bounds.sender} messages from {origin} wait in the inbox of {recipient}, which is "
            "the maximum (max_queued_per_sender in the section [broker] of hyperhive.toml). "
            f"{remedy}"
        )
    if waiting < FEW:
        return
    share = max(FEW, bounds.inbox // max(1, _senders(db, recipient)))
    if waiting >= share and _is_full(db, bounds.inbox, recipient):
        raise LimitExceeded(
            f"The inbox of {recipient} is full: {bounds.inbox} messages of agents wait in it "
            f"(max_queued_per_inbox in the section [broker] of hyperhive.toml), and {origin} has "
            f"its share of {share}. {remedy}"
        )


def note_served(db: sqlite3.Connection, recipient: str, taken: Sequence[sqlite3.Row]) -> None:
    """Note the rounds of messages that are handed out, in their order."""
    turns = [row for row in taken if row["round"] >= 0]
    _note(db, recipient, {row["origin"]: row["round"] for row in turns if not row["urgent"]})
    urgent = {row["origin"]: row["round"] for row in turns if row["urgent"]}
    if urgent:
        # Urgent messages can be handed out alone. They must not end the rounds of the others.
        current = _current(db, recipient)
        _note(db, recipient, {origin: min(turn, current) for origin, turn in urgent.items()})


def _note(db: sqlite3.Connection, recipient: str, rounds: Mapping[str, int]) -> None:
    db.executemany(
        "INSERT INTO served VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET round = excluded.round "
        "WHERE excluded.round > round",
        [(recipient, origin, number) for origin, number in rounds.items()],
    )


def _current(db: sqlite3.Connection, recipient: str) -> int:
    """Return the round that is being handed out."""
    row = db.execute(
        "SELECT max(coalesce((SELECT max(round) FROM served WHERE recipient = :recipient), 0), "  # noqa: S608
        "coalesce((SELECT round FROM message INDEXED BY message_round WHERE recipient = :recipient "
        f"AND round >= 0 AND urgent = 0 AND {_WAITING} ORDER BY round LIMIT 1), 0)) AS current",
        {"recipient": recipient},
    ).fetchone()
    return int(row["current"])


def _count(db: sqlite3.Connection, most: int, recipient: str, origin: str) -> int:
    """Count the waiting messages of `origin`, up to `most`."""
    row = db.execute(
        "SELECT count(*) AS waiting FROM ("  # noqa: S608 - constants only
        "SELECT 1 FROM message INDEXED BY message_origin "
        f"WHERE recipient = ? AND origin = ? AND {_WAITING} LIMIT ?)",
        (recipient, origin, most),
    ).fetchone()
    return int(row["waiting"])


def _is_full(db: sqlite3.Connection, count: int, recipient: str) -> bool:
    """Return whether at least `count` messages of agents wait."""
    found = db.execute(
        f"SELECT 1 FROM message INDEXED BY message_round "  # noqa: S608 - constants only
        f"WHERE recipient = ? AND round >= 0 AND {_WAITING} LIMIT 1 OFFSET ?",
        (recipient, count - 1),
    )
    return found.fetchone() is not None


_SENDERS: Final = f"""
    WITH RECURSIVE senders(origin) AS (
        SELECT min(origin) FROM message INDEXED BY message_origin
        WHERE recipient = :recipient AND {_WAITING}
        UNION ALL
        SELECT (
            SELECT min(origin) FROM message INDEXED BY message_origin
            WHERE recipient = :recipient AND origin > senders.origin AND {_WAITING}
        ) FROM senders WHERE senders.origin IS NOT NULL
    )
    SELECT count(origin) AS senders FROM senders WHERE origin NOT IN ('{OPERATOR}', '{SYSTEM}')
"""  # noqa: S608 - constants only


def _senders(db: sqlite3.Connection, recipient: str) -> int:
    """Count the agents of which messages wait, with one step in the index for each."""
    row = db.execute(_SENDERS, {"recipient": recipient}).fetchone()
    return int(row["senders"])
