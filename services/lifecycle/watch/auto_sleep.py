"""Automatic sleep: idle agents are stopped, and started again when there is a message for them."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Final

from services.lifecycle.agents.agent import Agent
from services.lifecycle.agents.roster import Roster
from services.lifecycle.broker import Broker
from services.lifecycle.jobs.job import Job
from services.lifecycle.notices.notice import Notice, notices
from services.tasks import Tasks
from wire import names
from wire.errors import HiveError
from wire.records.lifecycle import AgentState, JobResult, JobVerb, TurnState

log = logging.getLogger(__name__)

WAKE_FAILED: Final = "wake-failed"

_IDLE: Final = (TurnState.IDLE, TurnState.HELD)
"""The states in which no turn runs and none is tried again; a held agent is idle."""


class AutoSleep:
    """Owns one timer, for the next agent to fall asleep, and one task that asks the broker.

    No message is missed: lifecycle listens for messages to an agent before it asks the broker
    about that agent, and a message that comes during a job is handled when the job has ended.
    """

    def __init__(
        self,
        roster: Roster,
        broker: Broker,
        after: Callable[[str], float],
        order: Callable[[JobVerb, str], object],
        busy: Callable[[str], bool],
        may_wake: Callable[[str], bool],
    ) -> None:
        """Do nothing before `start`.

        Args:
            roster: the agents.
            broker: the source of news about messages.
            after: returns the seconds an agent is idle before it falls asleep; 0 for never.
            order: orders a job.
            busy: returns whether an agent has a job.
            may_wake: returns whether a message wakes an agent now. When that changes, or a hold
                ends, the owner calls `check_messages`.
        """
        self._roster = roster
        self._broker = broker
        self._after = after
        self._order = order
        self._busy = busy
        self._may_wake = may_wake
        self._due: dict[str, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._postponed: set[str] = set()
        self._ask = asyncio.Event()
        self._tasks = Tasks()
        self._stopped = False

    async def start(self) -> None:
        """Begin once the agents are known; wake agents that got messages in the meantime."""
        for agent in [agent for agent in self._roster.agents.values() if agent.asleep]:
            await self.listen(agent.name)
            self._note_external_start(agent)
        self._tasks.start_detached(self._run(), "auto-sleep")
        self.check_messages()

    async def stop(self) -> None:
        """Order no more jobs. The next start finds the agents that have messages."""
        self._stopped = True
        if self._timer:
            self._timer.cancel()
        await self._tasks.cancel()

    # Falling asleep

    @property
    def due(self) -> Mapping[str, float]:
        """The times, on the loop's clock, at which idle agents fall asleep."""
        return dict(self._due)

    @property
    def next_check(self) -> float | None:
        """The time, on the loop's clock, at which the timer fires; None when it is not set."""
        return self._timer.when() if self._timer else None

    def agent_changed(self, agent: Agent, changed: frozenset[str]) -> None:
        """Start or stop counting the time that `agent` is idle."""
        if not changed & {"turn_state", "unit_status"}:
            return
        self._note_external_start(agent)
        after = self._after(agent.name)
        if not (after and _idle(agent)):
            self._due.pop(agent.name, None)
        elif agent.name not in self._due:
            self._due[agent.name] = asyncio.get_running_loop().time() + after
        self._set_timer()

    async def may_sleep(self, agent: Agent) -> bool:
        """Return whether `agent` is idle and has no messages; listen for new ones from now on.

        Raises:
            Unavailable: the broker cannot be asked.
        """
        await self.listen(agent.name)
        waiting = await self._broker.waiting()
        return agent.name not in waiting and _idle(agent)

    def sleep_due(self, now: float) -> None:
        """Order the sleep of every agent that is due at `now`, on the loop's clock."""
        for name in [name for name, due in self._due.items() if due <= now]:
            # If the agent stays awake, for example because a message waits, it is tried again.
            self._due[name] = now + self._after(name)
            if not self._busy(name):
                self._order(JobVerb.SLEEP, name)
        self._set_timer()

    def _set_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = None
        if self._due:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(min(self._due.values()), lambda: self.sleep_due(loop.time()))

    # Waking

    async def listen(self, name: str) -> None:
        """Listen for messages to `name` from now on."""
        await self._broker.listen(name, lambda: self.message_queued(name))

    async def forget(self, name: str) -> None:
        """Forget an agent that does not exist any more."""
        self._due.pop(name, None)
        self._postponed.discard(name)
        await self._broker.ignore(name)

    def message_queued(self, name: str) -> None:
        """Wake `name` if it sleeps and gets the message, now or when its job has ended."""
        agent = self._roster.agents.get(name)
        if agent and agent.hold:
            self.check_messages()  # the broker knows which messages a held agent gets
        else:
            self._wake(name)

    def _wake(self, name: str) -> None:
        if self._stopped:
            return
        if self._busy(name):
            self._postponed.add(name)
        elif (
            name in self._roster.agents
            and self._roster.agents[name].asleep
            and self._may_wake(name)
        ):
            self._order(JobVerb.START, name)

    def job_ended(self, job: Job, _result: JobResult, _note: str) -> None:
        """Handle a message that came during `job`."""
        if job.agent in self._postponed:
            self._postponed.discard(job.agent)
            self.message_queued(job.agent)

    def check_messages(self) -> None:
        """Ask the broker, soon, which agents have messages."""
        self._ask.set()

    def _note_external_start(self, agent: Agent) -> None:
        """Note that a sleeping agent is awake: somebody started it, for example by machinectl."""
        if agent.asleep and agent.unit_status.up and not self._busy(agent.name):
            self._roster.set_wanted(agent, enabled=agent.enabled)

    async def _run(self) -> None:
        while True:
            await self._ask.wait()
            self._ask.clear()
            if not any(agent.asleep for agent in self._roster.agents.values()):
                continue
            try:
                for name in sorted(await self._broker.waiting()):
                    self._wake(name)
            except HiveError as error:
                # The broker is asked again when its name has an owner.
                log.warning("cannot ask the broker which agents have messages: %s", error)
            except Exception:
                log.exception("cannot wake agents that have messages")


def _idle(agent: Agent) -> bool:
    return agent.state is AgentState.RUNNING and agent.turn_state in _IDLE


def wake_notices(job: Job, failure: Exception) -> list[Notice]:
    """Return the messages about a sleeping agent that could not be started."""
    text = (
        f"{job.agent} was asleep and could not be started: {failure} Its messages wait until it "
        f"is started with `hivectl start {job.agent}`."
    )
    recipients = [names.MANAGER] if job.agent != names.MANAGER else []
    key = f"{WAKE_FAILED}:{job.agent}:{job.number}"
    return notices(WAKE_FAILED, text, key, [*recipients, names.OPERATOR])
