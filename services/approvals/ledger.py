"""The requests and their states: each change is on disk before anybody hears of it."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from services.approvals.model import GOING, TRANSITIONS, Approval, Kind, State
from services.approvals.store import Store
from wire import names
from wire.errors import Conflict, LimitExceeded, NotFound

log = logging.getLogger(__name__)

HOUR: Final = 3_600_000_000
"""In microseconds."""


def _now() -> int:
    return time.time_ns() // 1000


class Ledger:
    """What all parts of the room write their changes to."""

    on_change: Callable[[Approval], None]
    """Called after each change that is on disk; the interface makes signals of it."""

    def __init__(self, store: Store, *, max_pending: int, requests_per_hour: int) -> None:
        """`requests_per_hour` bounds what the manager asks for: all of it stays on the disk."""
        self.on_change = lambda approval: None
        self.store = store
        self.work = asyncio.Event()
        """Set when there may be something to be done about the requests."""
        self.work.set()
        self.clock: Callable[[], int] = _now
        self._max_pending = max_pending
        self._requests_per_hour = requests_per_hour
        self._tries: dict[object, int] = {}
        """When the manager tried what has become no request."""

    def check_room(self, by: str, agent: str = "") -> None:
        """See whether `by` may make another request, which supersedes a pending one of `agent`.

        Raises LimitExceeded when too many wait, or the manager has asked too often; Conflict when
        the manager's would supersede one of the operator's.
        """
        older = self.store.pending(agent) if agent else None
        if older is None and self.store.count(State.PENDING) >= self._max_pending:
            raise LimitExceeded(
                f"{self._max_pending} requests wait already; the operator has to resolve some."
            )
        if older and by == names.MANAGER and older.requested_by != by:
            raise Conflict(
                f"Request {older.id} for {agent} was made by the {older.requested_by}; wait for "
                "its end."
            )
        self._check_pace(by, 0)

    @contextmanager
    def trying(self, by: str, agent: str) -> Iterator[None]:
        """Around what may become a request for `agent`; raises as `check_room`.

        What is refused counts for the hour as well: its commit may be on the disk by then, where
        nothing removes it.
        """
        self.check_room(by, agent)
        now, this = self.clock(), object()
        self._tries = {key: at for key, at in self._tries.items() if at >= now - HOUR}
        self._check_pace(by, len(self._tries))
        if by == names.MANAGER:
            self._tries[this] = now
        yield
        self._tries.pop(this, None)

    def _check_pace(self, by: str, refused: int) -> None:
        recent = self.store.count_since(by, self.clock() - HOUR) + refused
        if by == names.MANAGER and recent >= self._requests_per_hour:
            raise LimitExceeded(
                f"{recent} requests were made within an hour; wait before you make another one."
            )

    def add(self, kind: Kind, agent: str, commit: str, reason: str, by: str) -> Approval:
        """Add a pending request; one of the same agent that is pending is superseded by it.

        Raises LimitExceeded as `check_room` does.
        """
        self.check_room(by, agent)
        older = self.store.pending(agent)
        number = self.store.add(kind, agent, commit, reason, by, self.clock())
        if older:
            self._announce(older.id)
        self._announce(number)
        return self.get(number)

    def get(self, number: int) -> Approval:
        """The request with that id; raises NotFound."""
        approval = self.store.get(number)
        if approval is None:
            raise NotFound(f"There is no request {number}; `hivectl pending` lists them.")
        return approval

    def pending(self, number: int) -> Approval:
        """The request with that id, which waits for the operator; raises NotFound, Conflict."""
        approval = self.get(number)
        if approval.state is not State.PENDING:
            going = approval.state in GOING
            how_far = f"; `hivectl status {approval.agent}` shows its job" if going else ""
            raise Conflict(
                f"Request {number} for {approval.agent} is {approval.state} already{how_far}."
            )
        return approval

    def approve(self, number: int, base: str, *, now: bool) -> None:
        """Keep the operator's yes; raises NotFound, Conflict."""
        self.pending(number)
        self.store.approve(number, base, now, self.clock())
        self._announce(number)

    def move(self, number: int, new: State, note: str = "", *, told: bool = False) -> Approval:
        """Change a request's state; returns it as it is then.

        `told`: the manager knows it. Raises NotFound, and Conflict where the table has no such way.
        """
        approval = self.get(number)
        if new not in TRANSITIONS[approval.state]:
            raise Conflict(f"Request {number} is {approval.state}; it cannot be {new}.")
        self.store.move(number, approval.state, new, note, self.clock(), told=told)
        # Who hears of `deployed` finds it in the repositories: they come first, see books.py.
        if new is not State.DEPLOYED:
            self._announce(number)
        else:
            self.work.set()
        return self.get(number)

    def marked(self, approval: Approval) -> None:
        """Git tells all there is to tell of `approval`, in the state it has there."""
        self.store.set_marked(approval.id, approval.state)
        if approval.state is State.DEPLOYED:
            self._announce(approval.id)

    def _announce(self, number: int) -> None:
        approval = self.get(number)
        log.info(
            "Request %d for %s is %s",
            number,
            approval.agent,
            approval.state,
            extra={"HIVE_AGENT": approval.agent},
        )
        self.on_change(approval)
        self.work.set()
