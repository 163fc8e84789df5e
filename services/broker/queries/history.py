"""The rules of the history: which pages of messages and questions a caller may read."""

import asyncio
import sqlite3
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any, Final, TypeVar

from pydantic import Field

from services.broker.messages.invocations import Invocations
from services.broker.queries import pages
from services.broker.storage.database import LAST_ID, MAX_UINT64, Database
from services.broker.storage.writer import Job
from services.options import Options
from wire import names
from wire.errors import InvalidArgument, LimitExceeded
from wire.principal import Principal
from wire.records.broker import Message, MessageFilter, Question, QuestionFilter

T = TypeVar("T")

MAX_PAGE: Final = 1000
MAX_SECONDS: Final = 2.0
"""The time limit of a read; nobody else reads meanwhile."""
_CHECK_EVERY: Final = 1000
"""The steps of sqlite's virtual machine between two checks of the time limit."""

_BOUNDS: Final[Mapping[str, Any]] = {  # of type Any in pydantic
    "before": Field(ge=0, le=MAX_UINT64),
    "after": Field(ge=0, le=MAX_UINT64),
    "thread": Field(ge=1, le=LAST_ID),
    "since": Field(ge=-(2**63), le=LAST_ID),
    "until": Field(ge=-(2**63), le=LAST_ID),
}
MESSAGE_FILTER: Final = Options(MessageFilter, "filter of ListMessages", **_BOUNDS)
QUESTION_FILTER: Final = Options(QuestionFilter, "filter of ListQuestions", **_BOUNDS)


class History:
    """All messages and questions, for reading.

    Agents see messages and questions to or from themselves, the operator sees all, and the services
    that may ask see those to or from the operator.
    """

    def __init__(
        self,
        database: Database,
        leased: Callable[[], Collection[int]],
        invocations: Invocations | None = None,
    ) -> None:
        """`leased` returns the ids of the messages that are leased now."""
        self._database = database
        self._leased = leased
        self._invocations = invocations or Invocations()
        # One read of each caller at a time, so that a caller of many waits only for itself.
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def list_messages(
        self, who: Principal, wanted: Mapping[str, object], limit: int
    ) -> list[Message]:
        """Return the newest `limit` messages (1 to 1000) that match, oldest first.

        One answer has about 4 MiB of text at most; get the rest with `before`.

        Raises:
            InvalidArgument: the limit is out of its bounds, or a filter is not valid.
            LimitExceeded: the read took longer than MAX_SECONDS.
        """
        _check_limit(limit)
        page = partial(
            pages.messages,
            wanted=MESSAGE_FILTER.parse(wanted),
            limit=limit,
            party=_party(who),
            leased=self._leased(),
        )
        return [self._invocations.mark_earlier(found) for found in await self._read(who, page)]

    async def list_questions(
        self, who: Principal, wanted: Mapping[str, object], limit: int
    ) -> list[Question]:
        """Return the newest `limit` questions (1 to 1000) that match, oldest first.

        One answer has about 4 MiB of text at most; get the rest with `before`.

        Raises:
            InvalidArgument: the limit is out of its bounds, or a filter is not valid.
            LimitExceeded: the read took longer than MAX_SECONDS.
        """
        _check_limit(limit)
        parsed = QUESTION_FILTER.parse(wanted)
        page = partial(pages.questions, wanted=parsed, limit=limit, party=_party(who))
        return await self._read(who, page)

    async def _read(self, who: Principal, job: Job[T]) -> T:
        async with self._turns[who.voice]:
            return await self._database.read(limited(job))


def limited(job: Job[T], seconds: float = MAX_SECONDS) -> Job[T]:
    """Return `job` with a time limit: after `seconds` it raises LimitExceeded."""

    def bounded(db: sqlite3.Connection) -> T:
        end = time.monotonic() + seconds
        db.set_progress_handler(lambda: time.monotonic() > end, _CHECK_EVERY)
        try:
            return job(db)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
                raise
            raise LimitExceeded(
                f"The search took longer than {seconds:g} s and was stopped; search for rarer or "
                "longer words, or narrow it with since, until, agent, from or to."
            ) from None
        finally:
            db.set_progress_handler(None, 0)

    return bounded


def _check_limit(limit: int) -> None:
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidArgument(f"{limit} is not a valid limit: use 1 to {MAX_PAGE}.")


def _party(who: Principal) -> str | None:
    """Return the sender or recipient of all that `who` may see; None for everybody's."""
    if who.is_operator:
        return None
    # Notify tells the operator's phone; the ledger looks for its own questions to the operator.
    return who.name if who.is_agent else names.OPERATOR
