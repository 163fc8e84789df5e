"""Rows of the table of messages, as messages."""

import sqlite3
from collections.abc import Collection, Sequence
from typing import Any, Final

from services.broker.messages.message import Message, State

PAGE_BYTES: Final = 4 * 2**20
"""About how much text one answer carries: the bus cuts off who sends 32 MiB in one."""

COLUMNS: Final = (
    "message.id, sender, recipient, kind, body.text, queued, deliveries, urgent, in_reply_to, "
    "acknowledged IS NOT NULL, parked IS NOT NULL, invocation, forgiven"
)

Row = Sequence[Any]
"""What a SELECT of COLUMNS gives."""


def bounded(rows: sqlite3.Cursor, texts: Sequence[int] = (4,)) -> list[Row]:
    """The first rows, until their texts are about PAGE_BYTES; at least one if there is one.

    `texts` are the columns that hold them.
    """
    taken: list[Row] = []
    size = 0
    for row in rows:
        size += sum(len(row[column].encode()) for column in texts)
        if taken and size > PAGE_BYTES:
            break
        taken.append(row)
    rows.close()
    return taken


def handed_out(row: Row) -> Message:
    """The message of a row that is being handed out; `row` is from before that."""
    # For the first time it is no redelivery.
    return _message(row, State.LEASED, redeliveries=row[6])


def tries(row: Row) -> int:
    """How often the message of a row was handed out since it was sent or queued again."""
    return int(row[6] - row[12])


def listed(row: Row, leased: Collection[int]) -> Message:
    """The message of a row; `leased` are the ids that somebody holds."""
    state = _state(row, leased)
    # The hand-out that is still going on, or that led to the end, is no redelivery.
    waits = state in (State.QUEUED, State.DEAD, State.DROPPED)
    return _message(row, state, redeliveries=max(0, row[6] - (not waits)))


_STATES: Final = {
    # Whether it is acknowledged, whether it was parked.
    (True, True): State.DROPPED,
    (True, False): State.ACKNOWLEDGED,
    (False, True): State.DEAD,
}


def _state(row: Row, leased: Collection[int]) -> State:
    otherwise = State.LEASED if row[0] in leased else State.QUEUED
    return _STATES.get((bool(row[9]), bool(row[10])), otherwise)


def _message(row: Row, state: State, redeliveries: int) -> Message:
    message_id, sender, recipient, kind, text, queued, _, urgent, reply, _, _, invocation, _ = row
    return Message(
        message_id,
        sender,
        recipient,
        kind,
        text,
        queued,
        redeliveries,
        bool(urgent),
        reply,
        state,
        invocation,
    )
