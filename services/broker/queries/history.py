"""What was said: pages of messages and questions, newest last."""

import asyncio
import sqlite3
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any, Final, TypeVar

from services.broker.arguments import parse
from services.broker.messages.invocations import Invocations
from services.broker.messages.message import Message
from services.broker.queries import pages
from services.broker.queries.filters import MessageFilter, QuestionFilter
from services.broker.questions.question import Question
from services.broker.storage.database import Database
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
        parsed = parse(MessageFilter, wanted, "filter of ListMessages")
        page = partial(
            pages.messages, wanted=parsed, limit=limit, party=_party(who), leased=self._leased()
        )
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
        page = partial(pages.questions, wanted=parsed, limit=limit, party=_party(who))
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
