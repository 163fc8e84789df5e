"""What was said: pages of messages and questions, newest last."""

import asyncio
import sqlite3
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Annotated, Any, Final, TypeVar

from pydantic import Field

from services.broker.arguments import LAST_ID, Arguments, parse
from services.broker.messages import message, rows
from services.broker.messages.invocations import Invocations
from services.broker.messages.message import Message
from services.broker.queries.search import query
from services.broker.questions import question
from services.broker.questions import store as question_store
from services.broker.questions.question import Question
from services.broker.storage.database import Database, as_list
from services.broker.storage.time_range import ids_in_range
from services.broker.storage.writer import Job
from wire import names
from wire.errors import InvalidArgument, LimitExceeded
from wire.principal import Principal

T = TypeVar("T")

MAX_PAGE: Final = 1000
MAX_SECONDS: Final = 2.0
"""How long one read may take; nobody else reads meanwhile."""
_LOOK_EVERY: Final = 1000
"""How many steps of sqlite's machine go by between two looks at the clock."""

_Id = Annotated[int, Field(ge=0, le=2**64 - 1)]
_Time = Annotated[int, Field(ge=-(2**63), le=LAST_ID)]


class Page(Arguments):
    """What the filters have in common.

    `agent` is on either side. `before` and `after` are ids and exclude themselves. Times are
    microseconds since 1970; `since` includes itself, `until` does not. `text`: see search.py.
    """

    to: str | None = None
    sender: Annotated[str | None, Field(alias="from")] = None
    agent: str | None = None
    text: str | None = None
    before: _Id | None = None
    after: _Id | None = None
    since: _Time | None = None
    until: _Time | None = None


class Filter(Page):
    """The filter of ListMessages."""

    kind: str | None = None
    # Text on the bus, so not strictly an instance of the enumeration.
    state: Annotated[message.State | None, Field(strict=False)] = None


class QuestionFilter(Page):
    """The filter of ListQuestions."""

    state: Annotated[question.State | None, Field(strict=False)] = None


class History:
    """Reads what the others have written."""

    def __init__(
        self,
        database: Database,
        leased: Callable[[], Collection[int]],
        invocations: Invocations | None = None,
    ) -> None:
        """`leased` answers the ids of the messages that somebody holds now."""
        self._database = database
        self._leased = leased
        self._invocations = invocations or Invocations()
        # One read of each caller at a time: who asks for much waits for itself.
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def list_messages(
        self, who: Principal, wanted: Mapping[str, Any], limit: int
    ) -> list[Message]:
        """The newest `limit` messages (1 to 1000) that match, oldest first.

        An agent sees those to or from itself, the operator all; the service notify
        those to or from the operator. More than 4 MiB of text do not
        come at once: ask on with `before`.

        Raises:
            InvalidArgument: the limit is out of its bounds, or a filter is not valid.
            LimitExceeded: it took longer than MAX_SECONDS.
        """
        _check_limit(limit)
        parsed = parse(Filter, wanted, "filter of ListMessages")
        page = partial(_page, wanted=parsed, limit=limit, party=_party(who), leased=self._leased())
        return [self._invocations.mark_earlier(found) for found in await self._read(who, page)]

    async def list_questions(
        self, who: Principal, wanted: Mapping[str, Any], limit: int
    ) -> list[Question]:
        """The newest `limit` questions (1 to 1000) that match, oldest first.

        An agent sees what it has asked or was asked, the operator all; the service
        notify what the operator has asked or was asked. More than 4 MiB of text do
        not come at once: ask on with `before`.

        Raises:
            InvalidArgument: the limit is out of its bounds, or a filter is not valid.
            LimitExceeded: it took longer than MAX_SECONDS.
        """
        _check_limit(limit)
        parsed = parse(QuestionFilter, wanted, "filter of ListQuestions")
        page = partial(_questions, wanted=parsed, limit=limit, party=_party(who))
        return await self._read(who, page)

    async def _read(self, who: Principal, job: Job[T]) -> T:
        async with self._turns[who.voice]:
            return await self._database.read(limited(job))


def limited(job: Job[T], seconds: float = MAX_SECONDS) -> Job[T]:
    """`job`, ended with LimitExceeded after `seconds`."""

    def bounded(db: sqlite3.Connection) -> T:
        end = time.monotonic() + seconds
        db.set_progress_handler(lambda: time.monotonic() > end, _LOOK_EVERY)
        try:
            return job(db)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
                raise
            raise LimitExceeded(
                f"This takes longer than {seconds:g} s and was given up; look for rarer or longer "
                "words, or narrow it with since, until, agent, from or to."
            ) from None
        finally:
            db.set_progress_handler(None, 0)

    return bounded


def _check_limit(limit: int) -> None:
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidArgument(f"limit is {limit}; it may be 1 to {MAX_PAGE}.")


def _party(who: Principal) -> str | None:
    """Whose messages alone `who` may see; None: everybody's."""
    if who.is_operator:
        return None
    # The one service that may ask tells the operator's phone.
    return who.name if who.is_agent else names.OPERATOR


def _page(
    db: sqlite3.Connection,
    *,
    wanted: Filter,
    limit: int,
    party: str | None,
    leased: Collection[int],
) -> list[Message]:
    parameters = _parameters(wanted, limit, party) | {"leased": as_list(leased)}
    if wanted.since is not None or wanted.until is not None:
        parameters["first"], parameters["end"] = ids_in_range(db, wanted.since, wanted.until)
    newest_first = db.execute(
        f"SELECT {rows.COLUMNS} FROM ({_found(_MESSAGES, wanted, party)}) AS found "  # noqa: S608
        "JOIN message USING (id) JOIN body USING (id) ORDER BY message.id DESC LIMIT :limit",
        parameters,
    )
    newest = [rows.listed(row, leased) for row in rows.bounded(newest_first)]
    return newest[::-1]


def _questions(
    db: sqlite3.Connection, *, wanted: QuestionFilter, limit: int, party: str | None
) -> list[Question]:
    newest_first = db.execute(
        f"SELECT {question_store.COLUMNS} "  # noqa: S608 - constants only
        f"FROM ({_found(_QUESTIONS, wanted, party)}) AS found "
        "JOIN question USING (id) ORDER BY question.id DESC LIMIT :limit",
        _parameters(wanted, limit, party),
    )
    newest = [question_store.question(row) for row in rows.bounded(newest_first, texts=(3, 4, 9))]
    return newest[::-1]


def _parameters(wanted: Page, limit: int, party: str | None) -> dict[str, Any]:
    given = wanted.model_dump(exclude_none=True)
    # No id is greater than sqlite's integers.
    given |= {bound: min(given[bound], LAST_ID) for bound in ("before", "after") if bound in given}
    if wanted.text is not None:
        given["text"] = query(wanted.text)
    return {**given, "limit": limit, "party": party}


@dataclass(frozen=True, slots=True)
class _Table:
    """What is listed: its name, who says it, and a condition for each filter."""

    name: str
    sender: str
    conditions: Mapping[str, str]


_SHARED: Final = {"to": "recipient = :to", "before": "{id} < :before", "after": "{id} > :after"}
_MESSAGES: Final = _Table(
    "message",
    "sender",
    {
        **_SHARED,
        "sender": "sender = :sender",
        "kind": "kind = :kind",
        "since": "{id} >= :first AND {id} < :end AND queued >= :since",
        "until": "{id} >= :first AND {id} < :end AND queued < :until",
    },
)
_QUESTIONS: Final = _Table(
    "question",
    "asker",
    {
        **_SHARED,
        "sender": "asker = :sender",
        "since": "asked >= :since",
        "until": "asked < :until",
    },
)
_OPEN: Final = "acknowledged IS NULL AND parked IS NULL"
_HELD: Final = "{id} IN (SELECT value FROM json_each(:leased))"
_NOT_HELD: Final = "{id} NOT IN (SELECT value FROM json_each(:leased))"
_STATES: Final[Mapping[str, str]] = {
    message.State.QUEUED: f"{_OPEN} AND {_NOT_HELD}",
    message.State.LEASED: f"{_OPEN} AND {_HELD}",
    message.State.ACKNOWLEDGED: "acknowledged IS NOT NULL AND parked IS NULL",
    message.State.DEAD: "acknowledged IS NULL AND parked IS NOT NULL",
    message.State.DROPPED: "acknowledged IS NOT NULL AND parked IS NOT NULL",
    **dict.fromkeys(question.State, "state = :state"),
}


def _found(table: _Table, wanted: Filter | QuestionFilter, party: str | None) -> str:
    """The SELECT of the ids of the newest rows that match."""
    asked = table.conditions
    conditions = [asked[key] for key in asked if getattr(wanted, key) is not None]
    if wanted.state is not None:
        conditions.append(_STATES[wanted.state])
    sides = _sides(table, wanted.agent, party)
    if wanted.text is None:
        # Each side alone walks an index backwards and stops; `a OR b` would sort all that match.
        return " UNION ".join(_walk(table.name, [*side, *conditions]) for side in sides)
    words = f"{table.name}_search"
    either = " OR ".join(f"({' AND '.join(side)})" for side in sides)
    where = " AND ".join([f"{words} MATCH :text", f"({either})", *conditions])
    # The index of words gives ids in order: rows are looked at until there are enough.
    return (
        f"SELECT {words}.rowid AS id FROM {words} "  # noqa: S608 - constants only
        f"CROSS JOIN {table.name} ON {table.name}.id = {words}.rowid "
        f"WHERE {where} ORDER BY {words}.rowid DESC LIMIT :limit"
    ).format(id=f"{words}.rowid")


def _sides(table: _Table, agent: str | None, party: str | None) -> list[tuple[str, str]]:
    """In which ways a row may have the agent asked for, and the one who asks, on its sides."""
    either = ("recipient", table.sender)
    agents = ["TRUE"] if agent is None else [f"{side} = :agent" for side in either]
    parties = ["TRUE"] if party is None else [f"{side} = :party" for side in either]
    return list(product(agents, parties))


def _walk(table: str, conditions: Sequence[str]) -> str:
    where = " AND ".join(conditions).format(id="id")
    newest = f"SELECT id FROM {table} WHERE {where} ORDER BY id DESC LIMIT :limit"  # noqa: S608
    return f"SELECT * FROM ({newest})"  # noqa: S608 - in brackets, for UNION has no limits inside
