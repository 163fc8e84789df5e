"""The messages on disk: what is written is durable when the call returns.

The store knows no leases. It counts how often a message was handed out; who holds it now is the
broker's business and lives only as long as the broker: one that dies leaves nothing to repair.
"""

import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial

from services.broker.messages import rows
from services.broker.messages.message import Draft, Message
from services.broker.storage.database import Database, as_list, now
from wire.errors import NotFound
from wire.names import OPERATOR


@dataclass(frozen=True, slots=True)
class HandedOut:
    """Messages that are handed out, and the ids of those for which it was the last time."""

    messages: list[Message]
    last: frozenset[int]


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """What became of an acknowledgement: ids now done, ids never received, ids not in the inbox."""

    done: list[int]
    unreceived: list[int]
    unknown: list[int]


class MessageStore:
    """The messages in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def append(self, draft: Draft) -> tuple[int, bool]:
        """Store a message; returns its id, and whether it is new.

        A dedupe key that the sender has used before answers the id it had then.

        Raises:
            NotFound: there is no such recipient, or no such message to reply to.
            Unavailable: it could not be written.
        """
        return await self._database.write(partial(append, draft=draft))

    async def broadcast(self, draft: Draft) -> tuple[int, list[tuple[int, str]]]:
        """Store a message for each registered agent but its sender, all or none.

        Returns the id of the first, and the new ones' ids and recipients: none when the sender
        has used the dedupe key before.

        Raises:
            NotFound: there is no agent to send to, or no such message to reply to.
            Unavailable: it could not be written.
        """
        return await self._database.write(partial(_broadcast, draft=draft))

    async def hand_out(
        self, recipient: str, limit: int, without: Collection[int], *, tries: int, invocation: str
    ) -> HandedOut:
        """The oldest messages that wait for `recipient`, counted as handed out; maybe none.

        Args:
            limit: the most messages; fewer come when they are large.
            without: ids that somebody holds.
            tries: how often each may be handed out; what was that often is not any more.
            invocation: the InvocationID of the recipient's container, "" for not known. It is
                stored, and the messages come with the one that was stored before.

        Raises:
            NotFound: `recipient` is no registered agent.
            Unavailable: it could not be written.
        """
        job = partial(
            _hand_out, recipient=recipient, limit=limit, tries=tries, invocation=invocation
        )
        return await self._database.write(partial(job, without=frozenset(without)))

    async def acknowledge(
        self, recipient: str, ids: Sequence[int], *, unreceived: bool
    ) -> Acknowledged:
        """Mark messages to `recipient` as done; those that are done already stay so.

        Args:
            ids: at most 2**63-1 each.
            unreceived: whether one may be acknowledged that was never handed out.

        Raises:
            Unavailable: it could not be written.
        """
        return await self._database.write(
            partial(_acknowledge, recipient=recipient, ids=ids, unreceived=unreceived)
        )

    async def register(self, name: str) -> None:
        """Let messages to the agent `name` be stored. Registered already: nothing happens."""
        await self._database.write(
            lambda db: db.execute("INSERT OR IGNORE INTO agent VALUES (?, ?)", (name, now()))
        )

    async def agents(self) -> set[str]:
        """The registered agents."""
        return await self._database.read(
            lambda db: {str(name) for (name,) in db.execute("SELECT name FROM agent")}
        )

    async def waiting(self) -> set[str]:
        """Who has messages that are neither done nor dead."""
        query = (
            "SELECT DISTINCT recipient FROM message WHERE acknowledged IS NULL AND parked IS NULL"
        )
        return await self._database.read(lambda db: {str(name) for (name,) in db.execute(query)})

    async def unregister(self, name: str) -> None:
        """Refuse further messages to the agent `name`; what it has stays.

        Raises:
            NotFound: it is not registered.
        """
        await self._database.write(partial(_unregister, name=name))


def check_recipient(db: sqlite3.Connection, name: str) -> None:
    """Within a transaction: raises NotFound unless messages to `name` may be stored."""
    known = db.execute("SELECT 1 FROM agent WHERE name = ?", (name,)).fetchone()
    if known is None and name != OPERATOR:
        raise NotFound(
            f"There is no agent {name[:64]!r}; `hivectl list` and the tool list_agents show them."
        )


def append(db: sqlite3.Connection, *, draft: Draft) -> tuple[int, bool]:
    """Within a transaction: see MessageStore.append."""
    if known := _known(db, draft):
        return known, False
    check_recipient(db, draft.recipient)
    if draft.in_reply_to:
        _check_reply(db, draft)
    return insert(db, draft), True


def _broadcast(db: sqlite3.Connection, *, draft: Draft) -> tuple[int, list[tuple[int, str]]]:
    if known := _known(db, draft):
        return known, []
    if draft.in_reply_to:
        _check_reply(db, draft)
    found = db.execute("SELECT name FROM agent WHERE name <> ? ORDER BY name", (draft.sender,))
    stored: list[tuple[int, str]] = []
    for (name,) in found.fetchall():
        # A key is unique, so only the first row has it.
        key = None if stored else draft.dedupe_key
        stored.append((insert(db, replace(draft, recipient=name, dedupe_key=key)), name))
    if not stored:
        raise NotFound("There is no other agent to write to; `hivectl list` shows them.")
    return stored[0][0], stored


def _known(db: sqlite3.Connection, draft: Draft) -> int:
    """The id of the message that the sender has sent with this key before; 0 for none."""
    if draft.dedupe_key is None:
        return 0
    row = db.execute(
        "SELECT id FROM message WHERE sender = ? AND dedupe_key = ?",
        (draft.sender, draft.dedupe_key),
    ).fetchone()
    return int(row[0]) if row else 0


def insert(db: sqlite3.Connection, draft: Draft) -> int:
    """Within a transaction: store a message, whoever it is to; returns its id.

    For what must not fail because its recipient is gone: such a message waits for its return.
    """
    inserted = db.execute(
        "INSERT INTO message (sender, recipient, kind, queued, urgent, in_reply_to, dedupe_key) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            draft.sender,
            draft.recipient,
            draft.kind,
            now(),
            draft.urgent,
            draft.in_reply_to,
            draft.dedupe_key,
        ),
    )
    message_id = int(inserted.lastrowid or 0)
    db.execute("INSERT INTO body VALUES (?, ?)", (message_id, draft.body))
    db.execute("INSERT INTO message_search (rowid, text) VALUES (?, ?)", (message_id, draft.body))
    return message_id


def _check_reply(db: sqlite3.Connection, draft: Draft) -> None:
    """One may answer what one has sent or received; others' messages are none of one's business."""
    row = db.execute(
        "SELECT 1 FROM message WHERE id = ? AND ? IN (sender, recipient)",
        (draft.in_reply_to, draft.sender),
    ).fetchone()
    if row is None:
        raise NotFound(
            f"There is no message {draft.in_reply_to} that {draft.sender} has sent or received; "
            "in_reply_to takes the id of one."
        )


def _hand_out(
    db: sqlite3.Connection,
    *,
    recipient: str,
    limit: int,
    without: Collection[int],
    tries: int,
    invocation: str,
) -> HandedOut:
    check_recipient(db, recipient)
    found = db.execute(
        f"SELECT {rows.COLUMNS} FROM message JOIN body USING (id) "  # noqa: S608 - constants only
        "WHERE recipient = ? AND acknowledged IS NULL AND parked IS NULL "
        "AND deliveries - forgiven < ? "
        "AND message.id NOT IN (SELECT value FROM json_each(?)) ORDER BY message.id LIMIT ?",
        (recipient, tries, as_list(without), limit),
    )
    taken = rows.bounded(found)
    db.execute(
        "UPDATE message SET deliveries = deliveries + 1, invocation = ? "
        "WHERE id IN (SELECT value FROM json_each(?))",
        (invocation, as_list([row[0] for row in taken])),
    )
    last = frozenset(row[0] for row in taken if rows.tries(row) + 1 >= tries)
    return HandedOut([rows.handed_out(row) for row in taken], last)


def _acknowledge(
    db: sqlite3.Connection, *, recipient: str, ids: Sequence[int], unreceived: bool
) -> Acknowledged:
    rows = db.execute(
        "SELECT id, deliveries, acknowledged FROM message "
        "WHERE recipient = ? AND id IN (SELECT value FROM json_each(?))",
        (recipient, as_list(ids)),
    ).fetchall()
    refused = [i for i, deliveries, done in rows if not (deliveries or done or unreceived)]
    done = [i for i, _, acknowledged in rows if acknowledged is None and i not in refused]
    db.execute(
        "UPDATE message SET acknowledged = ?, parked = NULL "
        "WHERE id IN (SELECT value FROM json_each(?))",
        (now(), as_list(done)),
    )
    return Acknowledged(done, refused, sorted(set(ids) - {row[0] for row in rows}))


def _unregister(db: sqlite3.Connection, *, name: str) -> None:
    if db.execute("DELETE FROM agent WHERE name = ?", (name,)).rowcount == 0:
        raise NotFound(f"The agent {name[:64]!r} is not registered; `hivectl list` shows them.")
