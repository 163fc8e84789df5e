"""What was said: pages of messages and questions, newest last."""

import sqlite3
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Annotated, Any, Final

from pydantic import Field

from services.broker import rows
from services.broker.arguments import Arguments, parse
from services.broker.database import Database, as_list
from services.broker.lives import Lives
from services.broker.message import Message, State
from services.broker.question import Question
from wire.errors import InvalidArgument
from wire.principal import Principal

MAX_PAGE: Final = 1000


class Filter(Arguments):
    """The filter of ListMessages; `before` and `after` are ids and exclude themselves."""

    to: str | None = None
    sender: Annotated[str | None, Field(alias="from")] = None
    kind: str | None = None
    # Text on the bus, so not strictly an instance of the enumeration.
    state: Annotated[State | None, Field(strict=False)] = None
    before: Annotated[int, Field(ge=0, le=2**64 - 1)] | None = None
    after: Annotated[int, Field(ge=0, le=2**64 - 1)] | None = None


class History:
    """Reads what the others have written."""

    def __init__(
        self,
        database: Database,
        leased: Callable[[], Collection[int]],
        lives: Lives | None = None,
    ) -> None:
        """`leased` answers the ids of the messages that somebody holds now."""
        self._database = database
        self._leased = leased
        self._lives = lives or Lives()

    async def list_messages(
        self, who: Principal, wanted: Mapping[str, Any], limit: int
    ) -> list[Message]:
        """The newest `limit` messages (1 to 1000) that match, oldest first.

        An agent sees those to or from itself, the operator all. More than 4 MiB of text do not
        come at once: ask on with `before`.

        Raises:
            InvalidArgument: the limit is out of its bounds, or there is no such filter.
        """
        _check_limit(limit)
        parsed = parse(Filter, wanted, "filter of ListMessages")
        party = who.name if who.is_agent else None
        page = partial(_page, wanted=parsed, limit=limit, party=party, leased=self._leased())
        return [self._lives.place(message) for message in await self._database.read(page)]

    async def list_questions(
        self, who: Principal, wanted: Mapping[str, Any], limit: int
    ) -> list[Question]:
        """The newest `limit` questions (1 to 1000) that match, oldest first."""
        raise NotImplementedError


def _check_limit(limit: int) -> None:
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidArgument(f"limit is {limit}; it may be 1 to {MAX_PAGE}.")


def _page(
    db: sqlite3.Connection,
    *,
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
        "leased": as_list(leased),
    }
    # No id is greater than sqlite's integers.
    for bound in {"before", "after"} & parameters.keys():
        parameters[bound] = min(parameters[bound], 2**63 - 1)
    newest_first = db.execute(
        f"SELECT {rows.COLUMNS} FROM ({found}) AS found "  # noqa: S608 - constants only
        "JOIN message USING (id) JOIN body USING (id) ORDER BY message.id DESC LIMIT :limit",
        parameters,
    )
    newest = [rows.listed(row, leased) for row in rows.bounded(newest_first)]
    return newest[::-1]


_CONDITIONS: Final = {
    "to": "recipient = :to",
    "sender": "sender = :sender",
    "kind": "kind = :kind",
    "before": "id < :before",
    "after": "id > :after",
}
_OPEN: Final = "acknowledged IS NULL AND parked IS NULL"
_AND_HELD: Final = " AND id IN (SELECT value FROM json_each(:leased))"
_AND_NOT_HELD: Final = " AND id NOT IN (SELECT value FROM json_each(:leased))"
_STATES: Final = {
    State.QUEUED: _OPEN + _AND_NOT_HELD,
    State.LEASED: _OPEN + _AND_HELD,
    State.ACKNOWLEDGED: "acknowledged IS NOT NULL AND parked IS NULL",
    State.DEAD: "acknowledged IS NULL AND parked IS NOT NULL",
    State.DROPPED: "acknowledged IS NOT NULL AND parked IS NOT NULL",
}


def _matching(side: str, wanted: Filter) -> str:
    conditions = [side]
    conditions += [_CONDITIONS[key] for key in _CONDITIONS if getattr(wanted, key) is not None]
    if wanted.state is not None:
        conditions.append(_STATES[wanted.state])
    where = " AND ".join(conditions)
    newest = f"SELECT id FROM message WHERE {where} ORDER BY id DESC LIMIT :limit"  # noqa: S608
    return f"SELECT * FROM ({newest})"  # noqa: S608 - in brackets, for UNION has no limits inside
