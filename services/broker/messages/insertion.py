"""New messages on disk. All functions are called within a transaction."""

import sqlite3
from dataclasses import replace
from typing import Final

from services.broker.messages import queue
from services.broker.messages.agents import check_recipient
from services.broker.messages.changes import change_of
from services.broker.messages.message import Draft
from services.broker.messages.queue import Bounds
from services.broker.storage.database import now
from wire.errors import NotFound
from wire.records.broker import MessageChange, MessageState


def append(
    db: sqlite3.Connection, *, draft: Draft, bounds: Bounds
) -> tuple[int, list[MessageChange]]:
    """Store a message: see MessageStore.append."""
    if known := _known(db, draft):
        return known, []
    check_recipient(db, draft.recipient)
    if draft.in_reply_to:
        _check_reply(db, draft)
    queue.check_room(db, draft.origin, draft.recipient, bounds)
    change = insert(db, draft)
    return change.id, [change]


def broadcast(
    db: sqlite3.Connection, *, draft: Draft, bounds: Bounds
) -> tuple[int, list[MessageChange]]:
    """Store a message for each agent: see MessageStore.broadcast."""
    if known := _known(db, draft):
        return known, []
    if draft.in_reply_to:
        _check_reply(db, draft)
    found = db.execute(
        "SELECT name FROM agent WHERE name <> ? ORDER BY name", (draft.sender,)
    ).fetchall()
    for row in found:
        queue.check_room(db, draft.origin, row["name"], bounds)
    stored: list[MessageChange] = []
    for row in found:
        # A key is unique, so only the first message has it.
        key = None if stored else draft.dedupe_key
        first = stored[0].id if stored else 0
        copy = replace(draft, recipient=row["name"], dedupe_key=key, copy_of=first)
        stored.append(insert(db, copy))
    if not stored:
        raise NotFound("There is no other agent to write to; `hivectl list` shows all agents.")
    return stored[0].id, stored


def _known(db: sqlite3.Connection, draft: Draft) -> int:
    """Return the id of the sender's earlier message with this key; 0 for none."""
    if draft.dedupe_key is None:
        return 0
    row = db.execute(
        "SELECT id FROM message WHERE sender = ? AND dedupe_key = ?",
        (draft.sender, draft.dedupe_key),
    ).fetchone()
    return int(row["id"]) if row else 0


_INSERT: Final = (
    "INSERT INTO message "  # noqa: S608 - constants only
    "(sender, recipient, kind, queued, urgent, in_reply_to, dedupe_key, origin, round, interrupt, "
    "copy_of, traceparent) VALUES (:sender, :recipient, :kind, :queued, :urgent, :in_reply_to, "
    f":dedupe_key, :origin, {queue.ROUND}, :interrupt, :copy_of, :traceparent)"
)
_INSERT_URGENT: Final = _INSERT.replace(queue.ROUND, queue.URGENT_ROUND)


def insert(db: sqlite3.Connection, draft: Draft) -> MessageChange:
    """Store a message, within a transaction, to any recipient; return the change.

    For messages that must not fail because the recipient is gone, or its inbox is full: they wait
    for its return.
    """
    queued = now()
    inserted = db.execute(
        _INSERT_URGENT if draft.urgent else _INSERT,
        {
            "sender": draft.sender,
            "recipient": draft.recipient,
            "kind": draft.kind,
            "queued": queued,
            "urgent": draft.urgent,
            "in_reply_to": draft.in_reply_to,
            "dedupe_key": draft.dedupe_key,
            "origin": draft.origin,
            "first": queue.FIRST.get(draft.origin),
            "interrupt": draft.interrupt,
            "copy_of": draft.copy_of,
            "traceparent": draft.traceparent,
        },
    )
    message_id = int(inserted.lastrowid or 0)
    db.execute("INSERT INTO body VALUES (?, ?)", (message_id, draft.body))
    db.execute("INSERT INTO message_search (rowid, text) VALUES (?, ?)", (message_id, draft.body))
    return change_of(draft.stored(message_id, queued), MessageState.QUEUED)


def _check_reply(db: sqlite3.Connection, draft: Draft) -> None:
    """Check that the sender has sent or received the message that it answers."""
    row = db.execute(
        "SELECT 1 FROM message WHERE id = ? AND ? IN (sender, recipient)",
        (draft.in_reply_to, draft.sender),
    ).fetchone()
    if row is None:
        raise NotFound(
            f"There is no message {draft.in_reply_to} that {draft.sender} has sent or received; "
            "in_reply_to takes the id of one."
        )
