"""The messages on disk: what is written is durable when the call returns.

The store knows no leases. It counts how often a message was handed out; who holds it now is the
broker's business and lives only as long as the broker: one that dies leaves nothing to repair.
"""

import asyncio
import json
import sqlite3
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from services.broker import schema
from services.broker.message import Draft, Filter, Message, State
from services.broker.writer import Job, Writer
from wire.errors import NotFound, Unavailable
from wire.names import OPERATOR

T = TypeVar("T")

PAGE_BYTES: Final = 4 * 2**20
"""About how much text one answer carries: the bus cuts off who sends 32 MiB in one."""

_COLUMNS: Final = (
    "message.id, sender, recipient, kind, body.text, queued, deliveries, urgent, in_reply_to, "
    "acknowledged IS NOT NULL"
)


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """What became of an acknowledgement: ids now done, ids never received, ids not in the inbox."""

    done: list[int]
    unreceived: list[int]
    unknown: list[int]


class Store:
    """The messages in one sqlite file; made by `open` in a running event loop."""

    def __init__(self, path: Path, writer: Writer, reader: sqlite3.Connection) -> None:
        self._path = path
        self._writer = writer
        self._reader = reader
        # History may take its time without making a Send wait: it has a thread of its own.
        self._reading = ThreadPoolExecutor(max_workers=1, thread_name_prefix="broker-reader")

    @classmethod
    def open(cls, path: Path) -> "Store":
        """The store at `path`, made when there is none.

        Raises:
            CorruptStore: it cannot be used; it is untouched.
        """
        db = schema.connect(path)
        return cls(path, Writer(db), schema.connect_reader(path))

    async def close(self) -> None:
        """Write what is waiting and close the file."""
        await asyncio.to_thread(self._reading.shutdown)
        self._reader.close()
        # Last, so that sqlite folds its log into the file.
        await self._writer.close()

    async def append(self, draft: Draft) -> tuple[int, bool]:
        """Store a message; returns its id, and whether it is new.

        A dedupe key that the sender has used before answers the id it had then.

        Raises:
            NotFound: there is no such recipient, or no such message to reply to.
            Unavailable: it could not be written.
        """
        return await self._write(partial(_append, draft=draft))

    async def hand_out(self, recipient: str, limit: int, without: Collection[int]) -> list[Message]:
        """The oldest messages that wait for `recipient`, counted as handed out; maybe none.

        Args:
            limit: the most messages; fewer come when they are large.
            without: ids that somebody holds.

        Raises:
            NotFound: `recipient` is no registered agent.
            Unavailable: it could not be written.
        """
        return await self._write(
            partial(_hand_out, recipient=recipient, limit=limit, without=without)
        )

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
        return await self._write(
            partial(_acknowledge, recipient=recipient, ids=ids, unreceived=unreceived)
        )

    async def register(self, name: str) -> None:
        """Let messages to the agent `name` be stored. Registered already: nothing happens."""
        await self._write(
            lambda db: db.execute("INSERT OR IGNORE INTO agent VALUES (?, ?)", (name, _now()))
        )

    async def unregister(self, name: str) -> None:
        """Refuse further messages to the agent `name`; what it has stays.

        Raises:
            NotFound: it is not registered.
        """
        await self._write(partial(_unregister, name=name))

    async def page(
        self, wanted: Filter, limit: int, *, party: str | None, leased: Collection[int]
    ) -> list[Message]:
        """The newest messages that match, oldest first.

        Args:
            wanted: which ones.
            limit: the most messages; fewer come when they are large.
            party: only messages to or from this name; None: all.
            leased: the ids that somebody holds now.
        """
        read = partial(_page, self._reader, wanted, limit, party, leased)
        loop = asyncio.get_running_loop()
        return await self._checked(lambda: loop.run_in_executor(self._reading, read))

    async def _write(self, job: Job[T]) -> T:
        return await self._checked(lambda: self._writer.run(job))

    async def _checked(self, work: Callable[[], Awaitable[T]]) -> T:
        try:
            return await work()
        except sqlite3.Error as error:
            raise Unavailable(
                f"The message store {self._path} could not be used: {error}; nothing was changed. "
                "See to the disk (df, journalctl -u hive-broker), then try again."
            ) from error


def _now() -> int:
    return time.time_ns() // 1000


def _ids(ids: Collection[int]) -> str:
    """Ids as one parameter, for `IN (SELECT value FROM json_each(?))`."""
    return json.dumps(list(ids))


def _check_recipient(db: sqlite3.Connection, name: str) -> None:
    known = db.execute("SELECT 1 FROM agent WHERE name = ?", (name,)).fetchone()
    if known is None and name != OPERATOR:
        raise NotFound(
            f"There is no agent {name[:64]!r}; `hivectl list` and the tool list_agents show them."
        )


def _append(db: sqlite3.Connection, *, draft: Draft) -> tuple[int, bool]:
    if draft.dedupe_key is not None:
        known = db.execute(
            "SELECT id FROM message WHERE sender = ? AND dedupe_key = ?",
            (draft.sender, draft.dedupe_key),
        ).fetchone()
        if known is not None:
            return int(known[0]), False
    _check_recipient(db, draft.recipient)
    if draft.in_reply_to:
        _check_reply(db, draft)
    inserted = db.execute(
        "INSERT INTO message (sender, recipient, kind, queued, urgent, in_reply_to, dedupe_key) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            draft.sender,
            draft.recipient,
            draft.kind,
            _now(),
            draft.urgent,
            draft.in_reply_to,
            draft.dedupe_key,
        ),
    )
    message_id = int(inserted.lastrowid or 0)
    db.execute("INSERT INTO body VALUES (?, ?)", (message_id, draft.body))
    return message_id, True


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
    db: sqlite3.Connection, *, recipient: str, limit: int, without: Collection[int]
) -> list[Message]:
    _check_recipient(db, recipient)
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM message JOIN body USING (id) "  # noqa: S608 - constants only
        "WHERE recipient = ? AND acknowledged IS NULL "
        "AND message.id NOT IN (SELECT value FROM json_each(?)) ORDER BY message.id LIMIT ?",
        (recipient, _ids(without), limit),
    )
    # For the first time it is no redelivery.
    messages = [_message(row, State.LEASED, redeliveries=row[6]) for row in _bounded(rows)]
    db.execute(
        "UPDATE message SET deliveries = deliveries + 1 "
        "WHERE id IN (SELECT value FROM json_each(?))",
        (_ids([message.id for message in messages]),),
    )
    return messages


def _acknowledge(
    db: sqlite3.Connection, *, recipient: str, ids: Sequence[int], unreceived: bool
) -> Acknowledged:
    rows = db.execute(
        "SELECT id, deliveries, acknowledged FROM message "
        "WHERE recipient = ? AND id IN (SELECT value FROM json_each(?))",
        (recipient, _ids(ids)),
    ).fetchall()
    refused = [i for i, deliveries, done in rows if not (deliveries or done or unreceived)]
    done = [i for i, _, acknowledged in rows if acknowledged is None and i not in refused]
    db.execute(
        "UPDATE message SET acknowledged = ? WHERE id IN (SELECT value FROM json_each(?))",
        (_now(), _ids(done)),
    )
    return Acknowledged(done, refused, sorted(set(ids) - {row[0] for row in rows}))


def _unregister(db: sqlite3.Connection, *, name: str) -> None:
    if db.execute("DELETE FROM agent WHERE name = ?", (name,)).rowcount == 0:
        raise NotFound(f"The agent {name[:64]!r} is not registered; `hivectl list` shows them.")


def _page(
    db: sqlite3.Connection,
    wanted: Filter,
    limit: int,
    party: str | None,
    leased: Collection[int],
) -> list[Message]:
    sides = ["recipient = :party", "sender = :party"] if party else ["TRUE"]
    # Each side alone walks an index backwards and stops; `a OR b` would sort all that match.
    found = " UNION ".join(_matching(side, wanted) for side in sides)
    parameters = {
        **wanted.model_dump(exclude_none=True),
        "party": party,
        "limit": limit,
        "leased": _ids(leased),
    }
    # No id is greater than sqlite's integers.
    for bound in {"before", "after"} & parameters.keys():
        parameters[bound] = min(parameters[bound], 2**63 - 1)
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM ({found}) AS found "  # noqa: S608 - constants only
        "JOIN message USING (id) JOIN body USING (id) ORDER BY message.id DESC LIMIT :limit",
        parameters,
    )
    newest = [_message(row, _state(row, leased)) for row in _bounded(rows)]
    return newest[::-1]


_CONDITIONS: Final = {
    "to": "recipient = :to",
    "sender": "sender = :sender",
    "kind": "kind = :kind",
    "before": "id < :before",
    "after": "id > :after",
}
_STATES: Final = {
    State.QUEUED: "acknowledged IS NULL AND id NOT IN (SELECT value FROM json_each(:leased))",
    State.LEASED: "acknowledged IS NULL AND id IN (SELECT value FROM json_each(:leased))",
    State.ACKNOWLEDGED: "acknowledged IS NOT NULL",
}


def _matching(side: str, wanted: Filter) -> str:
    conditions = [side]
    conditions += [_CONDITIONS[key] for key in _CONDITIONS if getattr(wanted, key) is not None]
    if wanted.state is not None:
        conditions.append(_STATES[wanted.state])
    where = " AND ".join(conditions)
    newest = f"SELECT id FROM message WHERE {where} ORDER BY id DESC LIMIT :limit"  # noqa: S608
    return f"SELECT * FROM ({newest})"  # noqa: S608 - in brackets, for UNION has no limits inside


def _bounded(rows: sqlite3.Cursor) -> list[Sequence[Any]]:
    """The first rows, until their texts are about PAGE_BYTES; at least one if there is one."""
    taken: list[Sequence[Any]] = []
    size = 0
    for row in rows:
        size += len(row[4].encode())
        if taken and size > PAGE_BYTES:
            break
        taken.append(row)
    rows.close()
    return taken


def _state(row: Sequence[Any], leased: Collection[int]) -> State:
    if row[9]:
        return State.ACKNOWLEDGED
    return State.LEASED if row[0] in leased else State.QUEUED


def _message(row: Sequence[Any], state: State, redeliveries: int | None = None) -> Message:
    message_id, sender, recipient, kind, text, queued, deliveries, urgent, reply, _ = row
    if redeliveries is None:
        # The hand-out that is still going on, or that led to the end, is no redelivery.
        redeliveries = max(0, deliveries - (state is not State.QUEUED))
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
    )
