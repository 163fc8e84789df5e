"""The one place that changes a request: each change is on disk before anybody hears of it."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from services.approvals.model import IN_PROGRESS, TRANSITIONS, Approval
from services.approvals.store import Requests, Store
from wire import names
from wire.errors import Conflict, LimitExceeded, NotFound
from wire.records.approvals import ApprovalKind, ApprovalState

log = logging.getLogger(__name__)

HOUR: Final = 3_600_000_000
"""In microseconds."""


def _now() -> int:
    return time.time_ns() // 1000


class Ledger:
    """The requests. Only the ledger writes them; everybody else reads `requests`.

    A method that changes a request raises Unavailable, with nothing changed, when the disk does not
    take the change.
    """

    on_change: Callable[[Approval], None]
    """Called after each change that is on disk; the interface sends signals from it."""

    def __init__(self, store: Store, *, max_pending: int, requests_per_hour: int) -> None:
        """Make one.

        Args:
            max_pending: how many requests may wait for the operator at once.
            requests_per_hour: how many the manager may make within an hour: the commit of each
                stays on the disk.
        """
        self.on_change = lambda approval: None
        self.requests: Final[Requests] = store
        self.changed = asyncio.Event()
        """Set when there may be work to do for the requests."""
        self.changed.set()
        self.clock: Callable[[], int] = _now
        self._store = store
        self._max_pending = max_pending
        self._requests_per_hour = requests_per_hour
        self._refused: dict[object, int] = {}
        """The times of the manager's attempts that have not become a request."""

    # Limits

    def check_limits(self, by: str, agent: str = "") -> None:
        """Check that `by` may make another request.

        Args:
            agent: the agent whose pending request would be superseded; empty: none would be.

        Raises:
            LimitExceeded: too many requests wait, or the manager has asked too often.
            Conflict: the manager's request would supersede one of the operator's.
        """
        older = self.requests.pending(agent) if agent else None
        if older is None and self.requests.count(ApprovalState.PENDING) >= self._max_pending:
            raise LimitExceeded(
                f"{self._max_pending} requests are pending, which is the maximum "
                "(approvals.max_pending in hyperhive.toml); the operator must resolve some first."
            )
        if older and by == names.MANAGER and older.requested_by != by:
            raise Conflict(
                f"Request {older.id} for {agent}, made by the {older.requested_by}, is pending; "
                "wait until it is resolved."
            )
        self._check_pace(by, 0)

    @contextmanager
    def attempt(self, by: str, agent: str) -> Iterator[None]:
        """Wrap an attempt of `by` to make a request for `agent`; raise as `check_limits`.

        A refused attempt also counts towards the hourly limit: its commit may be on the disk by
        then, and nothing removes it from there.
        """
        self.check_limits(by, agent)
        now, this = self.clock(), object()
        self._refused = {key: at for key, at in self._refused.items() if at >= now - HOUR}
        self._check_pace(by, len(self._refused))
        if by == names.MANAGER:
            self._refused[this] = now
        yield
        self._refused.pop(this, None)

    def _check_pace(self, by: str, refused: int) -> None:
        recent = self.requests.count_since(by, self.clock() - HOUR) + refused
        if by == names.MANAGER and recent >= self._requests_per_hour:
            raise LimitExceeded(
                f"{recent} requests were made within an hour, which is the maximum "
                "(approvals.requests_per_hour in hyperhive.toml); wait before you make another one."
            )

    # Reading

    def get(self, number: int) -> Approval:
        """Return the request with that id.

        Raises:
            NotFound: there is none.
        """
        approval = self.requests.get(number)
        if approval is None:
            raise NotFound(
                f"There is no request {number}; `hivectl pending --all` lists all requests."
            )
        return approval

    def pending(self, number: int) -> Approval:
        """Return the request with that id, which waits for the operator.

        Raises:
            NotFound: there is none.
            Conflict: it has been resolved.
        """
        approval = self.get(number)
        if approval.state is not ApprovalState.PENDING:
            raise Conflict(
                f"Request {number} for {approval.agent} is already {approval.state}"
                f"{self._hint(approval)}"
            )
        return approval

    def _hint(self, approval: Approval) -> str:
        """Return the end of the sentence about a request that does not wait any more."""
        if approval.state in IN_PROGRESS:
            return f"; `hivectl status {approval.agent}` shows its job."
        if approval.state is not ApprovalState.SUPERSEDED:
            return "."
        newer = self.requests.pending(approval.agent)
        if newer is None:
            return f": {approval.note}"
        shown = f"`hivectl diff {newer.id}` shows it"
        return f": {approval.note} Request {newer.id} is pending: {shown}."

    # Changes

    def add(self, kind: ApprovalKind, agent: str, commit: str, reason: str, by: str) -> Approval:
        """Add a pending request; it supersedes a pending one of the same agent.

        Raises as `check_limits`.
        """
        self.check_limits(by, agent)
        older = self.requests.pending(agent)
        number = self._store.add(kind, agent, commit, reason, by, self.clock())
        if older:
            self._announce(older.id)
        self._announce(number)
        return self.get(number)

    def approve(self, number: int, base: str, *, now: bool) -> None:
        """Store the operator's approval, given while the commit `base` was deployed.

        Raises:
            NotFound: there is no such request.
            Conflict: it has been resolved.
        """
        self.pending(number)
        self._store.approve(number, base, now, self.clock())
        self._announce(number)

    def hurry(self, number: int) -> None:
        """Keep that the job of the request does not wait for the end of a turn."""
        self._store.set_now(number)

    def move(
        self, number: int, new: ApprovalState, note: str = "", *, notified: bool = False
    ) -> Approval:
        """Change the state of a request; return the request as it is then.

        Args:
            notified: whether the manager knows, so that it need not be notified.

        Raises:
            NotFound: there is no such request.
            Conflict: the table of the states has no such transition.
        """
        approval = self.get(number)
        if new not in TRANSITIONS[approval.state]:
            raise Conflict(f"Request {number} is {approval.state}; it cannot be {new}.")
        self._store.move(number, approval.state, new, note, self.clock(), notified=notified)
        # A client that hears of `deployed` finds it in the repositories: see `recorded`.
        if new is not ApprovalState.DEPLOYED:
            self._announce(number)
        else:
            self.changed.set()
        return self.get(number)

    def set_commit(self, number: int, commit: str) -> Approval:
        """Give a request of a version without commits its commit; return the request."""
        self._store.set_commit(number, commit)
        return self.get(number)

    def recorded(self, approval: Approval) -> None:
        """Keep that git records the request in the state that `approval` has."""
        self._store.set_recorded(approval.id, approval.state)
        if approval.state is ApprovalState.DEPLOYED:
            self._announce(approval.id)

    def record_again(self) -> None:
        """Have the open requests recorded in git once more: somebody may have changed it."""
        self._store.clear_recorded()

    def notified(self, number: int) -> None:
        """Keep that the manager has been notified of the end of the request."""
        self._store.set_notified(number)

    def _announce(self, number: int) -> None:
        approval = self.get(number)
        log.info(
            "request %d for %s is %s",
            number,
            approval.agent,
            approval.state,
            extra={"HIVE_AGENT": approval.agent},
        )
        self.on_change(approval)
        self.changed.set()
