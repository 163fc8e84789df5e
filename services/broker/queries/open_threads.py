"""The open threads: everything that somebody still waits for."""

import sqlite3
from collections.abc import Callable, Collection
from functools import partial
from typing import Final, Protocol

from services.broker.messages import queue
from services.broker.storage.database import Database
from wire.errors import HiveError
from wire.principal import Kind, Principal
from wire.records.broker import MessageState, QuestionState, ReminderState, Thread

MAX_ROWS: Final = 200
"""The most threads of each kind; the newest are listed."""
SHOWN: Final = 200
"""The most characters of a text."""


class PendingRequests(Protocol):
    """The requests that wait for the operator's approval."""

    async def pending(self, limit: int) -> list[Thread]:
        """Return the pending requests, oldest first, within seconds.

        Raises:
            HiveError: approvals cannot be asked.
        """


class OpenThreads:
    """Open questions, messages, reminders and requests, in one list."""

    def __init__(
        self, database: Database, leased: Callable[[], Collection[int]], requests: PendingRequests
    ) -> None:
        """`leased` returns the ids of the messages that are leased now."""
        self._database = database
        self._leased = leased
        self._requests = requests

    async def open(self, who: Principal) -> list[Thread]:
        """List the open threads of `who`; of everybody for the manager and the operator.

        The manager and the operator also get the requests that wait for approval, or a thread of
        the kind `unavailable` that says why these are not known. Of each kind the newest 200 are
        listed, oldest first, each with the first 200 characters of its text; of the messages to one
        agent the 200 that it gets next.

        Raises:
            Unavailable: the store could not be read.
        """
        everything = who.is_operator or who.kind is Kind.MANAGER
        party = None if everything else who.voice
        found = partial(_open, party=party, leased=frozenset(self._leased()))
        threads = await self._database.read(found)
        if everything:
            threads += await self._pending()
        return threads

    async def _pending(self) -> list[Thread]:
        try:
            return await self._requests.pending(MAX_ROWS)
        except HiveError as error:
            text = f"The requests that wait for approval are unknown: {error}"
            return [Thread(kind="unavailable", text=text[:SHOWN])]


# Each SELECT returns the fields of a Thread but its kind, newest first; {where} says whose.
_QUESTIONS: Final = f"""
    SELECT id, asker AS sender, recipient, substr(text, 1, {SHOWN}) AS text, asked AS since,
        coalesce(due, 0) AS due, state
    FROM question
    WHERE state = '{QuestionState.OPEN}' AND {{where}} ORDER BY id DESC LIMIT {MAX_ROWS}
"""  # noqa: S608 - constants only
_REMINDERS: Final = f"""
    SELECT id, '' AS sender, owner AS recipient,
        substr(iif(body = '', file, body), 1, {SHOWN}) AS text, created AS since, due, state
    FROM reminder
    WHERE state = '{ReminderState.PENDING}' AND {{where}} ORDER BY id DESC LIMIT {MAX_ROWS}
"""  # noqa: S608 - constants only
_MESSAGES: Final = f"""
    SELECT id, sender, recipient, substr(body.text, 1, {SHOWN}) AS text, queued AS since,
        0 AS due, '' AS state
    FROM message JOIN body USING (id)
    WHERE acknowledged IS NULL AND parked IS {{parked}} AND {{where}}
    ORDER BY id DESC LIMIT {MAX_ROWS}
"""  # noqa: S608 - constants only
_WAITING: Final = _MESSAGES.replace("{parked}", "NULL")
# The messages that come next, so that those of one sender do not hide the others.
_NEXT: Final = _WAITING.replace("FROM message", "FROM message INDEXED BY message_round").replace(
    "ORDER BY id DESC", f"ORDER BY {queue.ORDER}"
)
_DEAD: Final = _MESSAGES.replace("{parked}", "NOT NULL")


def _open(db: sqlite3.Connection, *, party: str | None, leased: Collection[int]) -> list[Thread]:
    def found(kind: str, select: str, *sides: str) -> list[Thread]:
        """Return threads with the party on one of the `sides`; all threads without a party."""
        threads: dict[int, Thread] = {}
        for where in (f"{side} = :party" for side in sides) if party else ("TRUE",):
            for row in db.execute(select.format(where=where), {"party": party}):
                threads[row["id"]] = Thread(kind, **row)
        return [threads[number] for number in sorted(threads)[-MAX_ROWS:]]

    def state(message: Thread) -> MessageState:
        return MessageState.LEASED if message.id in leased else MessageState.QUEUED

    waiting = found("message", _NEXT if party else _WAITING, "recipient")
    dead = found("dead-letter", _DEAD, "recipient")
    return [
        *found("question", _QUESTIONS, "asker", "recipient"),
        *(message._replace(state=state(message)) for message in waiting),
        *(letter._replace(state=MessageState.DEAD) for letter in dead),
        *found("reminder", _REMINDERS, "owner"),
    ]
