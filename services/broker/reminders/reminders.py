"""The rules of reminders: messages that an agent or the operator gets later."""

import posixpath
import sqlite3
from collections.abc import Mapping
from functools import partial
from typing import Final

from pydantic import Field

from services.broker.deadlines.clock import SECOND, Deadline, Moment, in_words
from services.broker.deadlines.deadlines import Deadlines
from services.broker.events import Announcer
from services.broker.limits.limits import Limits
from services.broker.reminders import store
from services.broker.reminders.reminder import TRANSITIONS, NewReminder
from services.broker.storage.database import LAST_ID, MAX_UINT64, Database
from services.broker.writes import Writes
from services.options import Options
from wire.errors import Conflict, InvalidArgument, NotFound
from wire.principal import Principal
from wire.records.broker import Reminder, ReminderFilter, ReminderState, RemindOptions

MAX_PAGE: Final = 1000
MAX_FILE: Final = 1024
"""The most bytes of a path."""

_YEAR: Final = 365 * 24 * 3600
_HORIZON: Final = 10 * _YEAR
"""Seconds. A time that is further away is a mistake, such as milliseconds in place of seconds."""
_FILES: Final = "/state/"

_OPTIONS: Final = Options(
    RemindOptions,
    "option of Remind",
    after_s=Field(ge=1, le=_YEAR),
    file=Field(min_length=1),
    dedupe_key=Field(min_length=1, max_length=128),
)
_FILTER: Final = Options(
    ReminderFilter,
    "filter of ListReminders",
    before=Field(ge=0, le=MAX_UINT64),
    after=Field(ge=0, le=MAX_UINT64),
)


class Reminders:
    """Messages that agents and the operator send to themselves, and get when they are due.

    Every method may also raise Unavailable: the store could not be used, and nothing was changed.
    """

    table = store.TABLE

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

    async def remind(
        self, who: Principal, due: int, body: str, options: Mapping[str, object]
    ) -> int:
        """Store a reminder; return its id once it is on disk.

        If the caller has used the dedupe key before, return the id of that time.

        Args:
            who: an agent or the operator, who gets the message.
            due: microseconds since 1970, in the next ten years; 0 with the option `after_s`.
            body: the text of the message; may be empty with the option `file`.
            options: see RemindOptions.

        Raises:
            InvalidArgument: an argument is out of its bounds, or the time has passed.
            LimitExceeded: the text is too large, or the caller sends too much in an hour, or has
                too many pending reminders.
        """
        chosen = _OPTIONS.parse(options)
        file = chosen.file or ""
        check_file(who, file)
        if not (body.strip() or file):
            raise InvalidArgument("The reminder is empty; give it a body, or a file.")
        moment = self._deadlines.now()
        deadline = _deadline(moment, due, chosen.after_s)
        self._limits.spend(who, body if body.strip() else file)
        new = NewReminder(who.voice, body, file, moment.wall, deadline, chosen.dedupe_key)
        return await self._writes.carry_out(self._remind(new))

    async def cancel(self, who: Principal, reminder_id: int) -> None:
        """Cancel a pending reminder. If it is cancelled already, nothing changes.

        Raises:
            Conflict: it was delivered.
            NotFound: the caller has no such reminder; the operator may cancel all.
        """
        owner = None if who.is_operator else who.voice
        moment = self._deadlines.now()
        await self._writes.carry_out(self._cancel(reminder_id, owner, moment))

    async def list(
        self, who: Principal, wanted: Mapping[str, object], limit: int
    ) -> list[Reminder]:
        """Return the newest `limit` reminders (1 to 1000) that match, oldest first.

        An agent sees its own, the operator all. One answer has about 4 MiB of text at most; get
        the rest with `before`.

        Raises:
            InvalidArgument: the limit is out of its bounds, or there is no such filter.
        """
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidArgument(f"{limit} is not a valid limit: use 1 to {MAX_PAGE}.")
        asked = _FILTER.parse(wanted)
        if not who.is_operator:
            if asked.owner not in (None, who.voice):
                return []
            asked = asked._replace(owner=who.voice)
        return await self._database.read(partial(store.page, wanted=asked, limit=limit))

    async def count(self, who: Principal) -> int:
        """Count the caller's pending reminders; everybody's for the operator."""
        owner = None if who.is_operator else who.voice
        return await self._database.read(partial(store.count, owner=owner))

    async def fall_due(self, moment: Moment) -> None:
        """Deliver reminders: see HasDeadlines."""
        await self._writes.carry_out(self._deliver(moment))

    async def _remind(self, new: NewReminder) -> int:
        number, is_new = await self._database.write(partial(self._store, new=new))
        if is_new:
            self._deadlines.added(new.deadline)
            self._announcer.listener.reminder_added(new.owner, number)
        return number

    async def _cancel(self, number: int, owner: str | None, moment: Moment) -> None:
        job = partial(_cancel, number=number, owner=owner, moment=moment)
        if cancelled := await self._database.write(job):
            self._announcer.listener.reminder_cancelled(cancelled.owner, cancelled.id)

    def _store(self, db: sqlite3.Connection, *, new: NewReminder) -> tuple[int, bool]:
        known = store.known(db, new.owner, new.dedupe_key)
        if known is not None:
            return known, False
        # Not before: a repeated call gets its id, even if the reminder is due meanwhile.
        if new.deadline.due <= new.created:
            raise InvalidArgument(
                f"{in_words(new.deadline.due)} has passed: it is {in_words(new.created)} now. "
                "Give a later time (due is in microseconds), or the option after_s."
            )
        return store.add(db, new, self._max_pending), True

    async def _deliver(self, moment: Moment) -> None:
        for done in await self._database.write(partial(store.deliver, moment=moment)):
            self._announcer.announce([done.message])
            self._announcer.listener.reminder_due(
                done.reminder.owner, done.reminder.id, done.message.id
            )


def _deadline(moment: Moment, due: int, after_s: int | None) -> Deadline:
    if (due == 0) == (after_s is None):
        raise InvalidArgument("Give either a time (due), or due 0 and the option after_s.")
    if after_s is not None:
        return moment.after(after_s)
    if not 0 < due <= moment.wall + _HORIZON * SECOND:
        raise InvalidArgument(
            f"{due} is not a valid due: give microseconds since 1970, in the next ten years."
        )
    return Deadline(due)


def check_file(who: Principal, file: str) -> None:
    """Check a path as a text: the file is opened in the container alone, when it is due.

    Raises:
        InvalidArgument: the path is not a normal path below /state, or `who` is not an agent.
    """
    if not file:
        return
    if not who.is_agent:
        raise InvalidArgument("Only an agent's reminder can name a file; give a body instead.")
    if (
        not file.startswith(_FILES)
        or posixpath.normpath(file) != file
        or len(file.encode()) > MAX_FILE
        or not file.isprintable()
    ):
        raise InvalidArgument(
            f"{file[:64]!r} is not a valid file: use a path below {_FILES[:-1]}, such as "
            "/state/notes.md, "
            f"without `..`, `//` or control characters, of {MAX_FILE} bytes at most."
        )


def _cancel(
    db: sqlite3.Connection, *, number: int, owner: str | None, moment: Moment
) -> Reminder | None:
    """Cancel a reminder and return it; return None when it is cancelled already."""
    found = store.get(db, min(number, LAST_ID))
    if owner not in (None, found.owner):
        raise NotFound(f"There is no reminder {number} of {owner}.")
    if found.state is ReminderState.CANCELLED:
        return None
    if ReminderState.CANCELLED not in TRANSITIONS[found.state]:
        raise Conflict(f"Reminder {number} has already been delivered, as message {found.message}.")
    store.cancel(db, number, moment)
    return found
