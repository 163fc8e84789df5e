"""The messages on disk: a write is durable when its call returns.

The store knows no leases. It counts how often a message was handed out. The leases are kept in
memory by `Inboxes`, so a broker that is killed leaves nothing to repair.
"""

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from services.broker.messages import agents, insertion, queue, rows
from services.broker.messages.message import Draft
from services.broker.messages.queue import DEFAULTS, Bounds
from services.broker.storage.database import Database, as_list, now
from wire.errors import NotFound
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
        return await self._database.write(
            partial(insertion.append, draft=draft, bounds=self._bounds)
        )

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
        return await self._database.write(
            partial(insertion.broadcast, draft=draft, bounds=self._bounds)
        )

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
        await self._database.write(partial(agents.register, name=name))

    async def set_redeliveries(self, name: str, most: int | None) -> None:
        """Set the most redeliveries of messages to the agent `name`; None for the default.

        Raises:
            NotFound: the agent is not registered.
            Unavailable: the store could not be written.
        """
        await self._database.write(partial(agents.set_redeliveries, name=name, most=most))

    async def redeliveries(self) -> dict[str, int]:
        """Return the most redeliveries of each agent for which `set_redeliveries` has set them."""
        return await self._database.read(agents.redeliveries)

    async def agents(self) -> set[str]:
        """Return the registered agents."""
        return await self._database.read(
            lambda db: {str(row["name"]) for row in db.execute("SELECT name FROM agent")}
        )

    async def waiting(self, *, held: bool = False) -> set[str]:
        """Return the recipients of messages that are neither acknowledged nor dead letters.

        Args:
            held: only of those that a held agent gets.
        """
        query = (
            "SELECT DISTINCT recipient FROM message WHERE acknowledged IS NULL AND parked IS NULL"
        )
        if held:
            query = f"{query} {_OF_HELD}"
        return await self._database.read(
            lambda db: {str(row["recipient"]) for row in db.execute(query)}
        )

    async def unregister(self, name: str) -> None:
        """Refuse further messages to the agent `name`; its messages stay.

        Raises:
            NotFound: the agent is not registered.
        """
        await self._database.write(partial(agents.unregister, name=name))


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
_OF_HELD: Final = "AND urgent = 1 AND round < 0"
_NEXT_OF_HELD: Final = _next("message_urgent", _OF_HELD)


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
    agents.check_recipient(db, recipient)
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
            f"There is no message {message_id} that {sender} has sent. "
            "Use the number that was returned when it was sent."
        )
    return found


def _retract(db: sqlite3.Connection, *, message_id: int) -> MessageChange | None:
    row = db.execute(
        f"UPDATE message SET acknowledged = ?, ending = '{MessageState.RETRACTED}' "  # noqa: S608
        f"WHERE id = ? AND acknowledged IS NULL RETURNING {rows.HEADER}",
        (now(), message_id),
    ).fetchone()
    return rows.changed(row, MessageState.RETRACTED) if row else None


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
    # Only the ending that is set costs an update of its index.
    ending = f", ending = '{state}'" if state is MessageState.CANCELLED else ""
    db.execute(
        f"UPDATE message SET acknowledged = ?, parked = NULL{ending} "  # noqa: S608 - constants
        "WHERE id IN (SELECT value FROM json_each(?))",
        (now(), as_list([change.id for change in done])),
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
