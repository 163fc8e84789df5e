"""The rules of approvals: who waits for what, and what happens after a yes or a no.

An approval is written to disk before anything is done about it, and the manager's message is
owed until the broker has it. So this process may end at any point: `run` picks up what is open.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NamedTuple, Protocol

from services.approvals.model import TRANSITIONS, Approval, Kind, State
from services.approvals.store import Store
from wire import names
from wire.errors import (
    AlreadyExists,
    Conflict,
    HiveError,
    InvalidArgument,
    LimitExceeded,
    NotFound,
    Stopping,
    Timeout,
    Unavailable,
)

log = logging.getLogger(__name__)

MAX_TEXT: Final = 4000
"""Characters in a reason or a note."""

TOO_MUCH: Final = 60.0
"""After how many seconds the broker is asked again when it was sent too much in this hour."""
_AWAY: Final = (Unavailable, Stopping, Timeout)
"""Errors that say nothing about the order, only that the other service could not be asked."""


class Swarm(NamedTuple):
    """The agents that lifecycle knows, and those it is spawning right now."""

    agents: frozenset[str]
    spawning: frozenset[str]


class Lifecycle(Protocol):
    """What we need from lifecycle."""

    async def swarm(self) -> Swarm:
        """The agents that there are."""

    async def spawn(self, agent: str) -> str:
        """Order a new agent; returns the job's path. Raises what lifecycle answers."""


class Broker(Protocol):
    """What we need from the broker."""

    async def tell_manager(self, body: str, dedupe_key: str) -> None:
        """Send the manager a message; twice with one key is once."""


def _now() -> int:
    return time.time_ns() // 1000


class Approvals:
    """All requests, and the two neighbours that carry them out and tell of them."""

    on_change: Callable[[Approval], None]
    """Called after each change that is on disk; the interface makes signals of it."""

    def __init__(
        self,
        store: Store,
        lifecycle: Lifecycle,
        broker: Broker,
        *,
        max_pending: int,
        clock: Callable[[], int] = _now,
    ) -> None:
        self.on_change = lambda approval: None
        self._store = store
        self._lifecycle = lifecycle
        self._broker = broker
        self._max_pending = max_pending
        self._clock = clock
        self._ordered: dict[int, str | None] = {}
        """The job of each approved request; None while lifecycle has not answered yet."""
        self._work = asyncio.Event()
        self._work.set()

    async def request_spawn(self, requested_by: str, agent: str, reason: str) -> int:
        """Ask for a new agent; returns the request's id.

        Raises InvalidArgument for a name or a reason that is none, AlreadyExists for an agent
        that there is, Conflict for a name that another open request holds, LimitExceeded when
        too many requests wait, Unavailable when lifecycle cannot be asked.
        """
        _check_name(agent)
        _check_text("reason", reason, at_least=1)
        swarm = await self._lifecycle.swarm()
        if agent in swarm.agents:
            raise AlreadyExists(f"There is an agent {agent} already; choose another name.")
        # No await from here on: two callers must not both find the name free.
        if other := self._store.open_request(agent):
            raise Conflict(f"Request {other.id} for {agent} is {other.state}; wait for its end.")
        if self._store.count(State.PENDING) >= self._max_pending:
            raise LimitExceeded(
                f"{self._max_pending} requests wait already; the operator has to resolve some."
            )
        number = self._store.add(Kind.SPAWN, agent, reason, requested_by, self._clock())
        self._announce(number)
        return number

    async def approve(self, number: int) -> str:
        """Say yes, and order the agent; returns the job's path.

        Raises NotFound, Conflict when it is resolved already, Unavailable when lifecycle is
        away (the yes stands, and is carried out when it is back), and what lifecycle answers
        (the request has failed then).
        """
        return await self._order(self._move(self._pending(number), State.APPROVED))

    async def deny(self, number: int, note: str) -> None:
        """Say no. Raises NotFound, Conflict when it is resolved already, InvalidArgument."""
        _check_text("note", note, at_least=0)
        self._move(self._pending(number), State.DENIED, note)

    def find(
        self, *, state: State | None = None, agent: str | None = None, limit: int
    ) -> list[Approval]:
        """The newest `limit` requests that match, oldest first."""
        return self._store.find(state=state, agent=agent, limit=limit)

    def job_removed(self, job: str, agent: str, verb: str, result: str, error: str) -> None:
        """Lifecycle tells how a job has ended."""
        approval = self._store.open_request(agent)
        if verb != "spawn" or approval is None or approval.state is not State.APPROVED:
            return
        # A job may end before its order's reply is read: then its path is not known yet.
        if self._ordered.get(approval.id) not in (None, job):
            return
        match result:
            case "done":
                self._move(approval, State.SPAWNED)
            case "cancelled":
                # Lifecycle is stopping. The yes stands: it is ordered anew when it is back.
                self._ordered.pop(approval.id, None)
            case _:
                self._move(approval, State.FAILED, error or result)

    def neighbour_changed(self, *, lifecycle_lost: bool = False) -> None:
        """A neighbour came or went. Jobs end with their lifecycle, so they are ordered anew."""
        if lifecycle_lost:
            self._ordered.clear()
        self._work.set()

    async def run(self) -> None:
        """Carry out what is approved and tell the manager what he is owed, until cancelled.

        Wakes for changes only. What a missing neighbour prevents is tried again when it is back;
        what the broker refuses because it was sent too much, by the clock: nothing tells of that.
        """
        patience: float | None = None
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await self._work.wait()
            self._work.clear()
            try:
                await self._carry_out()
            except HiveError as error:
                log.warning("Approved requests wait, lifecycle does not answer: %s", error)
            patience = await self._tell_manager()

    async def _carry_out(self) -> None:
        """Bring approved requests that have no job of ours to their end."""
        left = [a for a in self._store.find(state=State.APPROVED) if a.id not in self._ordered]
        if not left:
            return
        swarm = await self._lifecycle.swarm()
        for approval in left:
            current = self._store.get(approval.id)
            if current is None or current.state is not State.APPROVED:
                continue  # its job ended while we asked
            if approval.agent in swarm.spawning:
                continue  # JobRemoved will tell
            if approval.agent in swarm.agents:
                self._move(approval, State.SPAWNED)
            elif approval.id not in self._ordered:
                try:
                    await self._order(approval)
                except HiveError as error:
                    log.warning("Request %d for %s: %s", approval.id, approval.agent, error)

    async def _order(self, approval: Approval) -> str:
        self._ordered[approval.id] = None
        try:
            job = await self._lifecycle.spawn(approval.agent)
        except _AWAY as error:
            self._ordered.pop(approval.id, None)
            raise Unavailable(
                f"Request {approval.id} is approved, and {approval.agent} is spawned as soon as "
                f"lifecycle is back: {error}"
            ) from error
        except HiveError as error:
            self._move(approval, State.FAILED, str(error))
            raise
        if approval.id in self._ordered:
            self._ordered[approval.id] = job
        return job

    async def _tell_manager(self) -> float | None:
        """Returns after how many seconds to try again; None: when something changes."""
        for approval in self._store.untold():
            try:
                await self._broker.tell_manager(_sentence(approval), f"approval-{approval.id}")
            except NotFound:
                pass  # there is no manager, so nobody is owed anything
            except HiveError as error:
                log.warning("The manager will hear of request %d later: %s", approval.id, error)
                return TOO_MUCH if isinstance(error, LimitExceeded) else None
            self._store.set_told(approval.id)
        return None

    def _pending(self, number: int) -> Approval:
        approval = self._store.get(number)
        if approval is None:
            raise NotFound(f"There is no request {number}; `hivectl pending` lists them.")
        if approval.state is not State.PENDING:
            raise Conflict(f"Request {number} for {approval.agent} is {approval.state} already.")
        return approval

    def _move(self, approval: Approval, new: State, note: str = "") -> Approval:
        """Change the state on disk and announce it; returns the approval as it is then."""
        if new not in TRANSITIONS[approval.state]:
            raise Conflict(f"Request {approval.id} is {approval.state}; it cannot be {new}.")
        moved = self._store.move(approval.id, approval.state, new, note, self._clock())
        if moved and not TRANSITIONS[new]:
            self._ordered.pop(approval.id, None)
            self._work.set()
        if moved:
            self._announce(approval.id)
        return self._store.get(approval.id) or approval

    def _announce(self, number: int) -> None:
        if approval := self._store.get(number):
            log.info(
                "Request %d for %s is %s",
                number,
                approval.agent,
                approval.state,
                extra={"HIVE_AGENT": approval.agent},
            )
            self.on_change(approval)


def _check_name(agent: str) -> None:
    if not names.AGENT_NAME.fullmatch(agent):
        raise InvalidArgument(
            f"{agent[:40]!r} is no name for an agent: it takes 1 to 9 of a-z, 0-9 and -, "
            "and begins with a letter."
        )
    if agent in names.RESERVED_NAMES:
        raise InvalidArgument(f"The name {agent} is reserved; choose another one.")


def _check_text(what: str, text: str, *, at_least: int) -> None:
    if not at_least <= len(text.strip()) or len(text) > MAX_TEXT:
        raise InvalidArgument(f"The {what} takes {at_least} to {MAX_TEXT} characters.")


def _sentence(approval: Approval) -> str:
    subject = f"The request {approval.id} to spawn {approval.agent}"
    match approval.state:
        case State.SPAWNED:
            return f"{subject} was approved, and {approval.agent} is there now."
        case State.FAILED:
            return f"{subject} was approved, but it failed: {approval.note}"
        case State.DENIED:
            return f"{subject} was denied" + (f": {approval.note}" if approval.note else ".")
        case State.PENDING | State.APPROVED:
            return f"{subject} is {approval.state}."
