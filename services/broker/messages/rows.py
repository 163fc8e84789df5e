"""Rows of the table of messages, as records."""

import sqlite3
from collections.abc import Collection, Sequence
from typing import Final

from wire.records.broker import Message, MessageChange, MessageState

PAGE_BYTES: Final = 4 * 2**20
"""About how much text one answer carries: the bus disconnects a sender of 32 MiB in one message."""

COLUMNS: Final = (
    "message.id AS id, sender, recipient, kind, body.text AS body, queued, deliveries, urgent, "
    "in_reply_to, acknowledged IS NOT NULL AS is_done, parked IS NOT NULL AS was_parked, "
    "invocation, forgiven, origin, round, interrupt, reason, ending, traceparent"
)
"""The columns that the functions here need, of the tables message and body."""

HEADER: Final = "id, sender, recipient, kind, queued, deliveries, urgent, in_reply_to, reason"
"""The columns that `changed` needs, of the table message."""


def bounded(rows: sqlite3.Cursor, texts: Sequence[str]) -> list[sqlite3.Row]:
    """Return the first rows, until the columns `texts` hold about PAGE_BYTES; at least one row."""
    taken: list[sqlite3.Row] = []
    size = 0
    for row in rows:
        size += sum(len(row[column].encode()) for column in texts)
        if taken and size > PAGE_BYTES:
            break
        taken.append(row)
    rows.close()
    return taken


def handed_out(row: sqlite3.Row) -> Message:
    """Return the message of a row that is being handed out; `row` is from before that."""
    # The first hand-out is not a redelivery.
    return _message(row, MessageState.LEASED, redeliveries=row["deliveries"])


def in_state(row: sqlite3.Row, state: MessageState) -> Message:
    """Return the message of a row that is in `state` now."""
    return _message(row, state, redeliveries=_redeliveries(row, state))


def changed(row: sqlite3.Row, state: MessageState) -> MessageChange:
    """Return the change, without text, of a message that is in `state` now.

    Args:
        row: the message, with the columns of HEADER.
        state: a state whose changes carry no text.
    """
    return MessageChange(
        id=row["id"],
        sender=row["sender"],
        recipient=row["recipient"],
        kind=row["kind"],
        state=state,
        body="",
        length=0,
        queued=row["queued"],
        redeliveries=_redeliveries(row, state),
        urgent=bool(row["urgent"]),
        in_reply_to=row["in_reply_to"],
        reason=row["reason"],
    )


def tries(row: sqlite3.Row) -> int:
    """Return how often a message was handed out since it was sent, or requeued by the operator."""
    return int(row["deliveries"] - row["forgiven"])


def listed(row: sqlite3.Row, leased: Collection[int]) -> Message:
    """Return the message of a row; `leased` are the ids of all leased messages."""
    return in_state(row, _state(row, leased))


def _redeliveries(row: sqlite3.Row, state: MessageState) -> int:
    # A hand-out that has not ended yet, or that ended with its message, is not a redelivery.
    return max(0, int(row["deliveries"]) - (state in _HANDED_OUT))


_HANDED_OUT: Final = frozenset(
    {MessageState.LEASED, MessageState.ACKNOWLEDGED, MessageState.CANCELLED}
)


_STATES: Final = {
    # The key: is the message acknowledged, was it parked.
    (True, True): MessageState.DROPPED,
    (True, False): MessageState.ACKNOWLEDGED,
    (False, True): MessageState.DEAD,
}


def _state(row: sqlite3.Row, leased: Collection[int]) -> MessageState:
    if row["ending"]:
        return MessageState(row["ending"])
    otherwise = MessageState.LEASED if row["id"] in leased else MessageState.QUEUED
    return _STATES.get((bool(row["is_done"]), bool(row["was_parked"])), otherwise)


def _message(row: sqlite3.Row, state: MessageState, redeliveries: int) -> Message:
    return Message(
        id=row["id"],
        sender=row["sender"],
        recipient=row["recipient"],
        kind=row["kind"],
        body=row["body"],
        queued=row["queued"],
        redeliveries=redeliveries,
        urgent=bool(row["urgent"]),
        in_reply_to=row["in_reply_to"],
        state=state,
        invocation=row["invocation"],
        interrupt=bool(row["interrupt"]),
        reason=row["reason"],
        traceparent=row["traceparent"],
    )
