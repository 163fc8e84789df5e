"""The messages on disk: a write is durable when its call returns.

The store knows no leases. It counts how often a message was handed out. The leases are kept in
memory by `Inboxes`, so a broker that is killed leaves nothing to repair.
"""

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from services.broker.messages import queue, rows
from services.broker.messages.changes import change_of
from services.broker.messages.message import Draft
from services.broker.messages.queue import DEFAULTS, Bounds
from services.broker.storage.database import Database, as_list, now
from wire.errors import NotFound
from wire.names import OPERATOR
from wire.records.broker import Message, MessageChange, MessageState

MAX_UNCOUNTED: Final = 20
"""The deliveries of a message that can be given back without being counted. Beyond them each one
counts, so that no message goes round for ever."""


@dataclass(frozen=True, slots=True)
class HandedOut:
    """Messages that are handed out."""

    messages: list[Message]
    tries: Mapping[int, int]
    """How often each was handed out since it was sent, or requeued by the operator."""


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The outcome of an acknowledgement."""

    done: list[MessageChange]
    """The messages that are acknowledged from now on."""
    unreceived: list[int]
    """Ids that were never handed out, and so were refused."""
    unknown: list[int]
    """Ids that are not in the inbox."""


@dataclass(frozen=True, slots=True)
class PurgedPart:
    """Messages that one step of a purge dropped."""

    dropped: list[MessageChange]
    leased: int
    """The number of leased messages that would have been dropped otherwise."""


class MessageStore:
    """The messages in the database."""

    def __init__(self, database: Database, bounds: Bounds = DEFAULTS) -> None:
        """`bounds` are the most messages of agents that may wait in an inbox."""
        self._database = database
        self._bounds = bounds

    async def append(self, draft: Draft) -> tuple[int, list[MessageChange]]:
        """Store a message; return its id and the change.

        If the sender has used the dedupe key before, return the id of that time, and no change.

        Raises:
            LimitExceeded: too many messages wait in the inbox.
            NotFound: there is no such recipient, or no such message to reply to.
            Unavailable: the store could not be written.
        """
        return await self._database.write(partial(_append, draft=draft, bounds=self._bounds))

    async def broadcast(self, draft: Draft) -> tuple[int, list[MessageChange]]:
        """Store a message for each registered agent but its sender, all or none.

        Returns:
            The id of the first, and the changes: none when the sender has used the dedupe key
            before.

        Raises:
            LimitExceeded: too many messages wait in the inbox of a recipient.
            NotFound: there is no agent to send to, or no such message to reply to.
            Unavailable: the store could not be written.
        """
        return await self._database.write(partial(_broadcast, draft=draft, bounds=self._bounds))

    async def hand_out(
        self,
        recipient: str,
        limit: int,
        without: Collection[int],
        *,
        tries: int,
        invocation: str,
        urgent: bool = False,
        held: bool = False,
    ) -> HandedOut:
        """Hand out the next messages that are queued for `recipient`; maybe none.

        Args:
            recipient: an agent or the operator.
            limit: the most messages; fewer come when they are large.
            without: ids of messages that are leased.
            tries: how often each message may be handed out, at most.
            invocation: the InvocationID of the recipient's container, "" for not known. It is
                stored; the returned messages have the one that was stored before.
            urgent: only urgent messages.
            held: only urgent messages of the operator and the hive.

        Raises:
            NotFound: `recipient` is not a registered agent.
            Unavailable: the store could not be written.
        """
        job = partial(
            _hand_out, recipient=recipient, limit=limit, tries=tries, invocation=invocation
        )
        job = partial(job, without=frozenset(without), urgent=urgent, held=held)
        return await self._database.write(job)

    async def give_back(self, ids: Collection[int]) -> frozenset[int]:
        """Do not count the last delivery of these messages; return the ids where that was done.

        It is done MAX_UNCOUNTED times for each message, until the operator requeues it.

        Raises:
            Unavailable: the store could not be written.
        """
        return await self._database.write(partial(_give_back, ids=ids))

    async def note_reason(self, ids: Collection[int], reason: str) -> None:
        """Keep the reason for which these messages are released.

        Raises:
            Unavailable: the store could not be written.
        """
        await self._database.write(partial(_note_reason, ids=ids, reason=reason))

    async def sent(self, sender: str, message_id: int) -> list[MessageChange]:
        """Return a message of `sender`, and all copies if it is the first of those to `*`.

        Raises:
            NotFound: `sender` has sent no message with this id.
            Unavailable: the store could not be read.
        """
        return await self._database.read(partial(_sent, sender=sender, message_id=message_id))

    async def retract(self, message_id: int) -> MessageChange | None:
        """Take back a message that is not leased; return None if it is done already.

        Raises:
            Unavailable: the store could not be written.
        """
        return await self._database.write(partial(_retract, message_id=message_id))

    async def acknowledge(
        self, recipient: str, ids: Sequence[int], *, unreceived: bool, cancelled: bool = False
    ) -> Acknowledged:
        """Mark messages to `recipient` as acknowledged; those that are already stay so.

        Args:
            recipient: an agent or the operator.
            ids: the messages.
            unreceived: whether messages may be acknowledged that were never handed out.
            cancelled: whether they become CANCELLED instead.

        Raises:
            Unavailable: the store could not be written.
        """
        state = MessageState.CANCELLED if cancelled else MessageState.ACKNOWLEDGED
        job = partial(_acknowledge, recipient=recipient, ids=ids, unreceived=unreceived)
        return await self._database.write(partial(job, state=state))

    async def purge(
        self, recipient: str, origin: str | None, without: Collection[int], limit: int
    ) -> PurgedPart:
        """Drop up to `limit` of the oldest messages that are queued for `recipient`.

        Args:
            recipient: an agent or the operator; it need not be registered.
            origin: only messages in the turn of this party; None for all.
            without: ids of messages that are leased; they stay.
            limit: the most messages.

        Raises:
            Unavailable: the store could not be written.
        """
        job = partial(_purge, recipient=recipient, origin=origin, limit=limit)
        return await self._database.write(partial(job, without=frozenset(without)))

    async def register(self, name: str) -> None:
        """Accept messages to the agent `name`, if it is not registered already."""
        await self._database.write(
            lambda db: db.execute(
                "INSERT OR IGNORE INTO agent (name, registered) VALUES (?, ?)", (name, now())
            )
        )

    async def set_redeliveries(self, name: str, most: int | None) -> None:
        """Set the most redeliveries of messages to the agent `name`; None for the default.

        Raises:
            NotFound: the agent is not registered.
            Unavailable: the store could not be written.
        """
        await self._database.write(partial(_set_redeliveries, name=name, most=most))

    async def redeliveries(self) -> dict[str, int]:
        """Return the most redeliveries of each agent for which `set_redeliveries` has set them."""
        query = "SELECT name, max_redeliveries FROM agent WHERE max_redeliveries IS NOT NULL"
        return await self._database.read(
            lambda db: {str(row["name"]): int(row[1]) for row in db.execute(query)}
        )

    async def agents(self) -> set[str]:
        """Return the registered agents."""
        return await self._database.read(
            lambda db: {str(row["name"]) for row in db.execute("SELECT name FROM agent")}
        )

    async def waiting(self) -> set[str]:
        """Return the recipients of messages that are neither acknowledged nor dead letters."""
        query = (
            "SELECT DISTINCT recipient FROM message WHERE acknowledged IS NULL AND parked IS NULL"
        )
        return await self._database.read(
            lambda db: {str(row["recipient"]) for row in db.execute(query)}
        )

    async def unregister(self, name: str) -> None:
        """Refuse further messages to the agent `name`; its messages stay.

        Raises:
            NotFound: the agent is not registered.
        """
        await self._database.write(partial(_unregister, name=name))


def check_recipient(db: sqlite3.Connection, name: str) -> None:
    """Check, within a transaction, that `name` is a registered agent or the operator.

    Raises:
        NotFound: it is neither.
    """
    known = db.execute("SELECT 1 FROM agent WHERE name = ?", (name,)).fetchone()
    if known is None and name != OPERATOR:
        raise NotFound(
            f"There is no agent {name[:64]!r}; `hivectl list` and the tool list_agents show all "
            "agents."
        )


def check_agent(db: sqlite3.Connection, name: str) -> None:
    """Check, within a transaction, that `name` is a registered agent.

    Raises:
        NotFound: it is not.
    """
    if db.execute("SELECT 1 FROM agent WHERE name = ?", (name,)).fetchone() is None:
        raise _not_registered(name)


def _append(
    db: sqlite3.Connection, *, draft: Draft, bounds: Bounds
) -> tuple[int, list[MessageChange]]:
    if known := _known(db, draft):
        return known, []
    check_recipient(db, draft.recipient)
    if draft.in_reply_to:
        _check_reply(db, draft)
    queue.check_room(db, draft.origin, draft.recipient, bounds)
    change = insert(db, draft)
    return change.id, [change]


def _broadcast(
    db: sqlite3.Connection, *, draft: Draft, bounds: Bounds
) -> tuple[int, list[MessageChange]]:
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
    "copy_of) VALUES (:sender, :recipient, :kind, :queued, :urgent, :in_reply_to, :dedupe_key, "
    f":origin, {queue.ROUND}, :interrupt, :copy_of)"
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


def _next(index: str, condition: str = "") -> str:
    return (
        f"SELECT {rows.COLUMNS} "  # noqa: S608 - constants only
        f"FROM message INDEXED BY {index} JOIN body USING (id) "
        f"WHERE recipient = ? AND acknowledged IS NULL AND parked IS NULL {condition} "
        "AND deliveries - forgiven < ? "
        "AND message.id NOT IN (SELECT value FROM json_each(?)) "
        f"ORDER BY {queue.ORDER} LIMIT ?"
    )


_NEXT: Final = _next("message_round")
_NEXT_URGENT: Final = _next("message_urgent", "AND urgent = 1")
# The operator and the hive take no turns: see queue.FIRST.
_NEXT_OF_HELD: Final = _next("message_urgent", "AND urgent = 1 AND round < 0")


def _hand_out(
    db: sqlite3.Connection,
    *,
    recipient: str,
    limit: int,
    without: Collection[int],
    tries: int,
    invocation: str,
    urgent: bool,
    held: bool,
) -> HandedOut:
    check_recipient(db, recipient)
    select = _NEXT_OF_HELD if held else _NEXT_URGENT if urgent else _NEXT
    found = db.execute(select, (recipient, tries, as_list(without), limit))
    taken = rows.bounded(found, texts=("body",))
    db.execute(
        "UPDATE message SET deliveries = deliveries + 1, invocation = ? "
        "WHERE id IN (SELECT value FROM json_each(?))",
        (invocation, as_list([row["id"] for row in taken])),
    )
    queue.note_served(db, recipient, taken)
    counts = {row["id"]: rows.tries(row) + 1 for row in taken}
    return HandedOut([rows.handed_out(row) for row in taken], counts)


def _give_back(db: sqlite3.Connection, *, ids: Collection[int]) -> frozenset[int]:
    given = db.execute(
        "UPDATE message SET forgiven = forgiven + 1, uncounted = uncounted + 1 "
        "WHERE id IN (SELECT value FROM json_each(?)) AND uncounted < ? RETURNING id",
        (as_list(ids), MAX_UNCOUNTED),
    )
    return frozenset(row["id"] for row in given.fetchall())


def _note_reason(db: sqlite3.Connection, *, ids: Collection[int], reason: str) -> None:
    db.execute(
        "UPDATE message SET reason = ? WHERE id IN (SELECT value FROM json_each(?))",
        (reason, as_list(ids)),
    )


def _sent(db: sqlite3.Connection, *, sender: str, message_id: int) -> list[MessageChange]:
    """Return the state of each message as far as the store knows it: QUEUED may be leased."""
    found: list[MessageChange] = []
    # The copies were stored in one transaction, one after the other.
    walk = db.execute(
        f"SELECT {rows.COLUMNS}, copy_of FROM message JOIN body USING (id) "  # noqa: S608
        "WHERE message.id >= ? ORDER BY message.id",
        (message_id,),
    )
    for row in walk:
        first = row["id"] == message_id and row["sender"] == sender
        if not first and (not found or row["copy_of"] != message_id):
            break
        found.append(rows.changed(row, rows.listed(row, ()).state))
    walk.close()
    if not found:
        raise NotFound(
            f"There is no message {message_id} that {sender} has sent. Use an id from Send."
        )
    return found


def _retract(db: sqlite3.Connection, *, message_id: int) -> MessageChange | None:
    row = db.execute(
        f"UPDATE message SET acknowledged = ?, ending = '{MessageState.RETRACTED}' "  # noqa: S608
        f"WHERE id = ? AND acknowledged IS NULL RETURNING {rows.HEADER}",
        (now(), message_id),
    ).fetchone()
    return rows.changed(row, MessageState.RETRACTED) if row else None


def _set_redeliveries(db: sqlite3.Connection, *, name: str, most: int | None) -> None:
    if not db.execute(
        "UPDATE agent SET max_redeliveries = ? WHERE name = ?", (most, name)
    ).rowcount:
        raise _not_registered(name)


def _acknowledge(
    db: sqlite3.Connection,
    *,
    recipient: str,
    ids: Sequence[int],
    unreceived: bool,
    state: MessageState,
) -> Acknowledged:
    found = db.execute(
        f"SELECT {rows.HEADER}, acknowledged FROM message "  # noqa: S608 - constants only
        "WHERE recipient = ? AND id IN (SELECT value FROM json_each(?))",
        (recipient, as_list(ids)),
    ).fetchall()
    refused = [
        row["id"]
        for row in found
        if not (row["deliveries"] or row["acknowledged"] is not None or unreceived)
    ]
    done = [
        rows.changed(row, state)
        for row in found
        if row["acknowledged"] is None and row["id"] not in refused
    ]
    db.execute(
        "UPDATE message SET acknowledged = ?, parked = NULL, ending = ? "
        "WHERE id IN (SELECT value FROM json_each(?))",
        (
            now(),
            "" if state is MessageState.ACKNOWLEDGED else state,
            as_list([change.id for change in done]),
        ),
    )
    return Acknowledged(done, refused, sorted(set(ids) - {row["id"] for row in found}))


def _purge(
    db: sqlite3.Connection,
    *,
    recipient: str,
    origin: str | None,
    without: Collection[int],
    limit: int,
) -> PurgedPart:
    where = "recipient = :recipient AND acknowledged IS NULL AND parked IS NULL"
    if origin is not None:
        where += " AND origin = :origin"
    values = {
        "recipient": recipient,
        "origin": origin,
        "without": as_list(without),
        "limit": limit,
        "now": now(),
    }
    leased = db.execute(
        "SELECT count(*) AS leased FROM message "  # noqa: S608 - constants only
        f"WHERE id IN (SELECT value FROM json_each(:without)) AND {where}",
        values,
    ).fetchone()
    updated = db.execute(
        "UPDATE message SET acknowledged = :now, parked = :now WHERE id IN ("  # noqa: S608
        f"SELECT id FROM message WHERE {where} "
        "AND id NOT IN (SELECT value FROM json_each(:without)) ORDER BY id LIMIT :limit"
        f") RETURNING {rows.HEADER}",
        values,
    )
    changes = [rows.changed(row, MessageState.DROPPED) for row in updated.fetchall()]
    return PurgedPart(sorted(changes, key=lambda change: change.id), int(leased["leased"]))


def _unregister(db: sqlite3.Connection, *, name: str) -> None:
    if db.execute("DELETE FROM agent WHERE name = ?", (name,)).rowcount == 0:
        raise _not_registered(name)


def _not_registered(name: str) -> NotFound:
    return NotFound(f"The agent {name[:64]!r} is not registered; `hivectl list` shows all agents.")
