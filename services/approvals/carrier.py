"""Carries out what the operator has approved, and keeps up with what happens to the agents.

One task does all of it. It looks at what is on disk and at what lifecycle says, does what is
missing between the two, and waits for the next change. So it does not matter where an earlier life
of this process was ended.
"""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Protocol

from services.approvals.books import Books
from services.approvals.ledger import Ledger
from services.approvals.model import Approval, Kind, State
from services.approvals.teller import Teller
from wire.errors import Conflict, HiveError, Stopping, Timeout, Unavailable

log = logging.getLogger(__name__)

PATIENCE: Final = 20.0
"""Seconds that Approve waits for the job, when something else is being done to the agent."""
MAX_NOTE: Final = 16 * 1024
"""Characters of what lifecycle says of a failure that are kept: its beginning, and its end."""

_AWAY: Final = (Unavailable, Stopping, Timeout)
"""Errors that say nothing about the order, only that the other service could not be asked."""
_TRIES: Final = 3
"""How often something else may have been begun, and have ended, just when a job was ordered."""

VERBS: Final = {Kind.SPAWN: "spawn", Kind.APPLY: "deploy", Kind.REVERT: "deploy"}
"""What lifecycle calls the job that carries out each kind."""
_COMINGS: Final = frozenset({"spawn", "destroy", "purge"})
"""Jobs after which there are other agents than before."""


@dataclass(frozen=True, slots=True)
class Task:
    """A job of lifecycle's that goes on."""

    verb: str
    path: str


@dataclass(frozen=True, slots=True)
class Swarm:
    """What lifecycle says there is."""

    agents: Mapping[str, str] = field(default_factory=dict)
    """The commit that each agent has deployed; empty when it never was."""
    tasks: Mapping[str, Task] = field(default_factory=dict)
    """What is being done to an agent."""


class Lifecycle(Protocol):
    """What we need from lifecycle. What is answered with an error is raised."""

    async def swarm(self) -> Swarm:
        """The agents that there are."""

    async def running(self) -> bool:
        """Whether it is there, without starting it: that would start the containers."""

    async def tombstones(self) -> frozenset[str]:
        """The destroyed agents of which something is kept."""

    async def spawn(self, agent: str, commit: str) -> str:
        """Order a new agent with that configuration; returns the job's path."""

    async def deploy(self, agent: str, commit: str, *, now: bool) -> str:
        """Order another configuration; returns the job's path."""

    async def hurry(self, job: str) -> None:
        """Have that job wait for no turn."""


class Carrier:
    """The room's own work. `run` is its task."""

    def __init__(self, ledger: Ledger, books: Books, lifecycle: Lifecycle, teller: Teller) -> None:
        self._ledger = ledger
        self._books = books
        self._lifecycle = lifecycle
        self._teller = teller
        self._ordered: dict[int, str | None] = {}
        """The job of each request that has one; None while lifecycle has not answered yet."""
        self._early: dict[str, tuple[str, str]] = {}
        """How jobs have ended while the reply to an order was awaited."""
        self._waiting: dict[int, asyncio.Future[str]] = {}
        """Who wants to know the job of a request."""
        self._strangers = True
        """Whether there may be agents that have come or gone without us."""

    async def job_of(self, number: int) -> str:
        """The job that carries out an approved request, as soon as it is ordered.

        Raises what lifecycle answers (the request has failed then), and Unavailable when it
        cannot be ordered soon: the yes stands.
        """
        known = self._ordered.get(number)
        if known:
            return known
        waiting: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting[number] = waiting
        self._ledger.work.set()
        try:
            async with asyncio.timeout(PATIENCE):
                return await waiting
        except TimeoutError:
            raise Unavailable(
                f"Request {number} is approved, and is carried out as soon as nothing else is "
                "being done to its agent."
            ) from None
        finally:
            del self._waiting[number]

    async def hurry(self, approval: Approval) -> str:
        """Have what was approved wait for no turn; its job. Raises as `job_of`, and NotFound when
        that has just ended.
        """
        self._ledger.store.set_now(approval.id)
        job = await self.job_of(approval.id)
        if approval.kind is not Kind.SPAWN:
            await self._lifecycle.hurry(job)
        return job

    def job_removed(self, job: str, agent: str, verb: str, result: str, note: str) -> None:
        """Lifecycle tells how a job has ended."""
        if verb in _COMINGS:
            self._strangers = True
        for approval in self._ledger.store.going(agent):
            known = self._ordered.get(approval.id, "")
            if verb == VERBS[approval.kind] and known == job:
                self._ended(approval, result, note)
            elif known is None:
                self._early[job] = (result, note)  # ours, or somebody else's: its reply will tell
        self._ledger.work.set()

    def neighbour_changed(self, *, lifecycle: bool = False, lost: bool = False) -> None:
        """A neighbour came or went; what a lifecycle that is lost had begun is looked at anew."""
        if lifecycle:
            self._strangers = True
            if lost:
                self._ordered.clear()
        self._ledger.work.set()

    async def run(self) -> None:
        """Do what there is to do at each change, until cancelled.

        Wakes for changes only. What a missing neighbour prevents is tried again when it is back;
        what the broker refuses because it was sent too much, by the clock: nothing tells of that.
        """
        patience: float | None = None
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await self._ledger.work.wait()
            self._ledger.work.clear()
            patience = await self.step()

    async def step(self) -> float | None:
        """Do what can be done now; returns after how many seconds to try again, None: at a change.

        Never raises a HiveError: what it prevents is tried again.
        """
        await self._books.catch_up_later()
        if swarm := await self._look():
            for approval in self._left():
                await self._advance(approval, swarm)
            if self._strangers:
                await self._meet()
        await self._books.catch_up_later()
        return await self._teller.tell()

    def _left(self) -> list[Approval]:
        """What was approved and has no job."""
        return [a for a in self._ledger.store.going() if a.id not in self._ordered]

    async def _look(self) -> Swarm | None:
        """What lifecycle says there is; None when that matters to nobody, or cannot be asked.

        One that does not run is started only for somebody who waits; when it comes, it tells.
        """
        left = self._left()
        try:
            matters = bool(left) or self._strangers
            if matters and (self._waiting or await self._lifecycle.running()):
                return await self._lifecycle.swarm()
        except HiveError as error:
            log.warning("Lifecycle cannot be asked: %s", error)
            for approval in left:
                self._answer(approval.id, _later(approval, error))
        return None

    async def _advance(self, approval: Approval, swarm: Swarm) -> None:
        """Bring an approved request as far as it can be brought now."""
        agent = approval.agent
        task = swarm.tasks.get(agent)
        if task and task.verb != VERBS[approval.kind]:
            return  # it is told when that ends
        try:
            if approval.state is State.APPROVED:
                approval = self._ledger.move(approval.id, State.BUILDING)
            if task:  # ordered by an earlier life of ours
                self._ordered[approval.id] = task.path
                self._answer(approval.id, task.path)
            elif swarm.agents.get(agent) == approval.commit:
                # It ended while we were away. Also where neither has a commit: it was approved and
                # begun when there were no configurations.
                self._end(approval, State.DEPLOYED)
            else:
                await self._order(approval)
        except HiveError as error:
            log.warning("Request %d waits: %s", approval.id, error)
            self._answer(approval.id, _later(approval, error))

    async def _order(self, approval: Approval) -> None:
        """Raises HiveError when that says nothing about the request; then it is tried again."""
        if not approval.commit:
            async with self._books.changing:
                commit = await self._books.first(approval.agent, None)
            self._ledger.store.set_commit(approval.id, commit)
            approval = self._ledger.get(approval.id)
        await self._books.prepare(approval)
        try:
            job = await self._job(approval)
        except _AWAY:
            raise
        except HiveError as error:
            self._end(approval, State.FAILED, str(error))
            self._answer(approval.id, error)
        else:
            if job:
                self._answer(approval.id, job)

    async def _job(self, approval: Approval) -> str | None:
        """Order the job; None when something else was begun meanwhile, whose end is told."""
        agent, commit = approval.agent, approval.commit
        for attempt in range(1, _TRIES + 1):
            self._ordered[approval.id] = None
            self._early.clear()
            try:
                if approval.kind is Kind.SPAWN:
                    job = await self._lifecycle.spawn(agent, commit)
                else:
                    job = await self._lifecycle.deploy(agent, commit, now=approval.now)
            except Conflict:
                if agent in (await self._lifecycle.swarm()).tasks:
                    return None
                if attempt == _TRIES:
                    raise
            else:
                if approval.id in self._ordered:
                    self._ordered[approval.id] = job
                if early := self._early.get(job):
                    self._ended(approval, *early)
                return job
            finally:
                if self._ordered.get(approval.id, "") is None:
                    del self._ordered[approval.id]
        raise AssertionError("the last attempt returns or raises")

    def _ended(self, approval: Approval, result: str, note: str) -> None:
        """Lifecycle has told how the request's job has ended."""
        done = result == "done"
        self._end(approval, State.DEPLOYED if done else State.FAILED, note or result)

    def _end(self, approval: Approval, state: State, note: str = "") -> None:
        """The job of a request that is `building` has ended."""
        self._ordered.pop(approval.id, None)
        kept = "" if state is State.DEPLOYED else _shortened(note)
        try:
            self._ledger.move(approval.id, state, kept)
        except HiveError as error:
            # The next look finds out what it has come to, from what lifecycle says is deployed.
            log.error("The end of request %d cannot be kept: %s", approval.id, error)

    def _answer(self, number: int, outcome: str | HiveError) -> None:
        waiting = self._waiting.get(number)
        if waiting is None or waiting.done():
            return
        if isinstance(outcome, str):
            waiting.set_result(outcome)
        else:
            waiting.set_exception(outcome)

    async def _meet(self) -> None:
        """Adopt who came without us, and forget who went for good."""
        self._strangers = False  # whoever comes or goes from here on is looked at once more
        try:
            await self._books.catch_up()
            swarm = await self._lifecycle.swarm()
            # Whose request is being carried out is no stranger.
            going = {approval.agent for approval in self._ledger.store.going()}
            for agent in await self._books.unknown(swarm.agents.keys() - going):
                task = swarm.tasks.get(agent)
                if task is None or task.verb != "spawn":  # else its end is told
                    await self._books.adopt(agent)
            for agent in await self._gone(swarm):
                await self._books.forget(agent)
            for approval in self._ledger.store.find(state=State.PENDING):
                if approval.kind is not Kind.SPAWN and approval.agent not in swarm.agents:
                    self._ledger.move(
                        approval.id, State.WITHDRAWN, f"{approval.agent} was destroyed."
                    )
        except HiveError as error:
            self._strangers = True
            log.warning("Who came and who went is looked at again later: %s", error)

    async def _gone(self, swarm: Swarm) -> list[str]:
        """Of whom nothing is left: they were not in `swarm`, nothing is kept of them, and they did
        not come back between these two questions.
        """
        gone = await self._books.known() - swarm.agents.keys()
        if gone:
            gone -= await self._lifecycle.tombstones()
        if gone:
            gone -= (await self._lifecycle.swarm()).agents.keys()
        return [] if self._strangers else sorted(gone)


def _shortened(note: str) -> str:
    """`note`; of a long one its first line and its end, where a build says what is wrong."""
    if len(note) <= MAX_NOTE:
        return note
    first = note.split("\n", 1)[0][:1000]
    return f"{first}\n...{note[len(first) + 4 - MAX_NOTE :]}"


def _later(approval: Approval, error: HiveError) -> Unavailable:
    return Unavailable(
        f"Request {approval.id} is approved, and is carried out as soon as it can be: {error}"
    )
