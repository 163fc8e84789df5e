"""The rules of reminders: what an agent or the operator wants to be told later."""

import posixpath
import sqlite3
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Final

from pydantic import Field

from services.broker.arguments import LAST_ID, Arguments, parse
from services.broker.deadlines.clock import SECOND, Deadline, Moment, in_words
from services.broker.deadlines.deadlines import Deadlines
from services.broker.events import Announcer
from services.broker.limits.limits import Limits
from services.broker.reminders import reminder
from services.broker.reminders import store as reminder_store
from services.broker.reminders.reminder import TRANSITIONS, Reminder, State
from services.broker.reminders.store import NewReminder
from services.broker.storage.database import Database
from services.broker.writes import Writes
from wire.errors import Conflict, InvalidArgument, NotFound
from wire.names import SYSTEM
from wire.principal import Principal

MAX_PAGE: Final = 1000
MAX_FILE: Final = 1024
"""Bytes of a path."""

_YEAR: Final = 365 * 24 * 3600
_HORIZON: Final = 10 * _YEAR
"""Seconds; what is due later was meant otherwise."""
_FILES: Final = "/state/"


class RemindOptions(Arguments):
    """The options of Remind."""

    after_s: Annotated[int, Field(ge=1, le=_YEAR)] | None = None
    file: Annotated[str, Field(min_length=1)] | None = None
    dedupe_key: Annotated[str, Field(min_length=1, max_length=128)] | None = None


class Filter(Arguments):
    """The filter of ListReminders; `before` and `after` are ids and exclude themselves."""

    owner: str | None = None
    # Text on the bus, so not strictly an instance of the enumeration.
    state: Annotated[State | None, Field(strict=False)] = None
    before: Annotated[int, Field(ge=0, le=2**64 - 1)] | None = None
    after: Annotated[int, Field(ge=0, le=2**64 - 1)] | None = None


class Reminders:
    """Messages to oneself that come when they are due.

    Every method may also raise Unavailable: the store could not be used, nothing was changed.
    """

    table = reminder_store.TABLE

    def __init__(
        self,
        database: Database,
        deadlines: Deadlines,
        limits: Limits,
        announcer: Announcer,
        writes: Writes,
        *,
        max_pending: int,
    ) -> None:
        """`max_pending` is the most pending reminders of one owner."""
        self._database = database
        self._deadlines = deadlines
        self._limits = limits
        self._announcer = announcer
        self._writes = writes
        self._max_pending = max_pending
        deadlines.watch(self)

    async def remind(self, who: Principal, due: int, body: str, options: Mapping[str, Any]) -> int:
        """Store a reminder; returns its id once it is on disk.

        A dedupe key that the caller has used before answers the id it had then.

        Args:
            who: an agent or the operator, who gets the message.
            due: microseconds since 1970, in the next ten years; 0 with the option `after_s`.
            body: what it says; may be empty with the option `file`.
            options: see RemindOptions.

        Raises:
            InvalidArgument: an argument is out of its bounds, or has passed.
            LimitExceeded: too large, too much said in an hour, or too many pending.
        """
        chosen = parse(RemindOptions, options, "option of Remind")
        file = chosen.file or ""
        check_file(who, file)
        if not (body.strip() or file):
            raise InvalidArgument("The reminder says nothing; give it a body, or a file.")
        moment = self._deadlines.now()
        deadline = _deadline(moment, due, chosen.after_s)
        self._limits.spend(who, body if body.strip() else file)
        wish = NewReminder(who.voice, body, file, moment.wall, deadline, chosen.dedupe_key)
        return await self._writes.carry_out(self._remind(wish))

    async def cancel(self, who: Principal, reminder_id: int) -> None:
        """Take a pending reminder back. Cancelled already: nothing happens.

        Raises:
            Conflict: it was delivered.
            NotFound: there is no such reminder of the caller's; the operator has them all.
        """
        owner = None if who.is_operator else who.voice
        moment = self._deadlines.now()
        await self._database.write(partial(_cancel, number=reminder_id, owner=owner, moment=moment))

    async def list(self, who: Principal, wanted: Mapping[str, Any], limit: int) -> list[Reminder]:
        """The newest `limit` reminders (1 to 1000) that match, oldest first.

        An agent sees its own, the operator all. More than 4 MiB of text do not come at once: ask
        on with `before`.

        Raises:
            InvalidArgument: the limit is out of its bounds, or there is no such filter.
        """
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidArgument(f"limit is {limit}; it may be 1 to {MAX_PAGE}.")
        parsed = parse(Filter, wanted, "filter of ListReminders").model_dump(exclude_none=True)
        if not who.is_operator and parsed.setdefault("owner", who.voice) != who.voice:
            return []
        for bound in {"before", "after"} & parsed.keys():
            parsed[bound] = min(parsed[bound], LAST_ID)
        page = partial(reminder_store.page, wanted=parsed, limit=limit)
        return await self._database.read(page)

    async def count(self, who: Principal) -> int:
        """How many of the caller's are pending; for the operator, of everybody's."""
        owner = None if who.is_operator else who.voice
        return await self._database.read(partial(reminder_store.count, owner=owner))

    async def fall_due(self, moment: Moment) -> None:
        """See HasDeadlines."""
        await self._writes.carry_out(self._deliver(moment))

    async def _remind(self, wish: NewReminder) -> int:
        number, new = await self._database.write(partial(self._store, wish=wish))
        if new:
            self._deadlines.added(wish.deadline)
        return number

    def _store(self, db: sqlite3.Connection, *, wish: NewReminder) -> tuple[int, bool]:
        known = reminder_store.known(db, wish.owner, wish.dedupe_key)
        if known is not None:
            return known, False
        # Not earlier: who repeats a call gets its id, also when it has become due meanwhile.
        if wish.deadline.due <= wish.created:
            raise InvalidArgument(
                f"{in_words(wish.deadline.due)} has passed, it is {in_words(wish.created)}; "
                "give a later time (due is in microseconds), or the option after_s."
            )
        return reminder_store.add(db, wish, self._max_pending), True

    async def _deliver(self, moment: Moment) -> None:
        job = partial(reminder_store.deliver, moment=moment)
        for done in await self._database.write(job):
            self._announcer.queued(done.message, SYSTEM, done.owner, reminder.KIND)
            self._announcer.listener.reminder_due(done.owner, done.id, done.message)


def _deadline(moment: Moment, due: int, after_s: int | None) -> Deadline:
    if (due == 0) == (after_s is None):
        raise InvalidArgument("Give either a time (due), or due 0 and the option after_s.")
    if after_s is not None:
        return moment.after(after_s)
    if not 0 < due <= moment.wall + _HORIZON * SECOND:
        raise InvalidArgument(
            f"due is {due}, which is not in the next ten years; "
            "it is a time in microseconds since 1970."
        )
    return Deadline(due)


def check_file(who: Principal, file: str) -> None:
    """The path as a text: what is there is seen in the container alone, when it is due."""
    if not file:
        return
    if not who.is_agent:
        raise InvalidArgument("Only agents have files that a reminder can name; write a body.")
    if (
        not file.startswith(_FILES)
        or posixpath.normpath(file) != file
        or len(file.encode()) > MAX_FILE
        or not file.isprintable()
    ):
        raise InvalidArgument(
            f"file is a path below {_FILES[:-1]}, such as /state/notes.md: without `..`, `//` or "
            f"characters that do not print, at most {MAX_FILE} bytes."
        )


def _cancel(db: sqlite3.Connection, *, number: int, owner: str | None, moment: Moment) -> None:
    found = reminder_store.get(db, min(number, LAST_ID))
    if owner not in (None, found.owner):
        raise NotFound(f"There is no reminder {number} of {owner}.")
    if found.state is State.CANCELLED:
        return
    if State.CANCELLED not in TRANSITIONS[found.state]:
        raise Conflict(f"Reminder {number} was delivered already, as message {found.message}.")
    reminder_store.cancel(db, number, moment)
