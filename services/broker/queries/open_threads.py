"""What is open: everything that somebody still waits for."""

import sqlite3
from collections.abc import Callable, Collection
from functools import partial
from typing import Any, Final, Protocol

from services.broker.messages import message
from services.broker.questions import question
from services.broker.reminders import reminder
from services.broker.storage.database import Database
from wire.errors import HiveError
from wire.principal import Kind, Principal
from wire.types import U64

MAX_ROWS: Final = 200
"""The most of each kind, the newest."""
SHOWN: Final = 200
"""How much of a text, in characters."""

Row = dict[str, Any]


class PendingRequests(Protocol):
    """What waits for the operator's approval."""

    async def pending(self, limit: int) -> list[Row]:
        """The pending requests as rows, oldest first, soon. Raises HiveError."""


class OpenThreads:
    """Open questions, messages, reminders and requests, in one list."""

    def __init__(
        self, database: Database, leased: Callable[[], Collection[int]], requests: PendingRequests
    ) -> None:
        """`leased` answers the ids of the messages that somebody holds now."""
        self._database = database
        self._leased = leased
        self._requests = requests

    async def open(self, who: Principal) -> list[Row]:
        """What waits for `who`, and its questions; for the manager and the operator, of all.

        These two see also what waits for approval, or a row of the kind `unavailable` that says why
        not. A row has only the keys that apply to it: `kind`, `id`, `from`, `to`, `text` (200
        characters), `since` and `due` (microseconds since 1970), `state`. Of each kind there are
        the newest 200, oldest first.

        Raises:
            Unavailable: the store could not be read.
        """
        everything = who.is_operator or who.kind is Kind.MANAGER
        party = None if everything else who.voice
        found = partial(_open, party=party, leased=frozenset(self._leased()))
        rows = await self._database.read(found)
        if everything:
            rows += await self._pending()
        return rows

    async def _pending(self) -> list[Row]:
        try:
            return await self._requests.pending(MAX_ROWS)
        except HiveError as error:
            text = f"What waits for approval is not known: {error}"
            return [{"kind": "unavailable", "text": text[:SHOWN]}]


# Each gives (id, from, to, text, since, due, state), newest first; {where} says whose.
_QUESTIONS: Final = f"""
    SELECT id, asker, recipient, substr(text, 1, {SHOWN}), asked, due, state FROM question
    WHERE state = '{question.State.OPEN}' AND {{where}} ORDER BY id DESC LIMIT {MAX_ROWS}
"""  # noqa: S608 - constants only
_REMINDERS: Final = f"""
    SELECT id, '', owner, substr(iif(body = '', file, body), 1, {SHOWN}), created, due, state
    FROM reminder
    WHERE state = '{reminder.State.PENDING}' AND {{where}} ORDER BY id DESC LIMIT {MAX_ROWS}
"""  # noqa: S608 - constants only
_MESSAGES: Final = f"""
    SELECT id, sender, recipient, substr(body.text, 1, {SHOWN}), queued, 0, ''
    FROM message JOIN body USING (id)
    WHERE acknowledged IS NULL AND parked IS {{parked}} AND {{where}}
    ORDER BY id DESC LIMIT {MAX_ROWS}
"""  # noqa: S608 - constants only
_WAITING: Final = _MESSAGES.replace("{parked}", "NULL")
_DEAD: Final = _MESSAGES.replace("{parked}", "NOT NULL")


def _open(db: sqlite3.Connection, *, party: str | None, leased: Collection[int]) -> list[Row]:
    def found(kind: str, select: str, *sides: str) -> list[Row]:
        """Of the party's, on one of the `sides`; of everybody's when there is no party."""
        rows: dict[int, Row] = {}
        for where in (f"{side} = :party" for side in sides) if party else ("TRUE",):
            for number, *values in db.execute(select.format(where=where), {"party": party}):
                rows[number] = _row(kind, number, *values)
        return [rows[number] for number in sorted(rows)[-MAX_ROWS:]]

    waiting = found("message", _WAITING, "recipient")
    for row in waiting:
        held = row["id"].value in leased
        row["state"] = str(message.State.LEASED if held else message.State.QUEUED)
    dead = found("dead-letter", _DEAD, "recipient")
    for row in dead:
        row["state"] = str(message.State.DEAD)
    questions = found("question", _QUESTIONS, "asker", "recipient")
    return [*questions, *waiting, *dead, *found("reminder", _REMINDERS, "owner")]


def _row(
    kind: str, number: int, sender: str, to: str, text: str, since: int, due: int, state: str
) -> Row:
    row: Row = {"kind": kind, "id": U64(number), "from": sender, "to": to, "text": text}
    row |= {"since": since, "due": due, "state": state}
    return {key: value for key, value in row.items() if value}
