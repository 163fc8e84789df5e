"""When an agent falls asleep, and what wakes it.

One that is asleep is stopped only until somebody needs it: until there is a message for it.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Final

from services.lifecycle.agents.agent import Agent, State, TurnState
from services.lifecycle.agents.roster import Roster
from services.lifecycle.broker import Broker
from services.lifecycle.jobs.job import Job, Verb
from services.lifecycle.notices.notice import Notice, notices
from wire import names
from wire.errors import HiveError

log = logging.getLogger(__name__)

WAKE_FAILED: Final = "wake-failed"


class AutoSleep:
    """Owns one timer, for who falls asleep next, and a task that asks the broker when told to.

    No message is missed: who is put to sleep is listened for before the broker is asked, and what
    comes while a job is being done to an agent is looked at when that has ended.
    """

    def __init__(
        self,
        roster: Roster,
        broker: Broker,
        after: Callable[[str], float],
        order: Callable[[Verb, str], object],
        busy: Callable[[str], bool],
    ) -> None:
        """`after`: for how many seconds an agent is idle until it falls asleep; 0: it never does.

        `order` orders a job; `busy`: whether one is being done to an agent.
        """
        self._roster = roster
        self._broker = broker
        self._after = after
        self._order = order
        self._busy = busy
        self._due: dict[str, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._called: set[str] = set()
        self._look = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopped = False

    async def start(self) -> None:
        """Begin, when the agents are known; who has got messages meanwhile is woken soon."""
        for agent in [agent for agent in self._roster.agents.values() if agent.asleep]:
            await self.listen(agent.name)
            self._seen(agent)
        self._task = asyncio.create_task(self._ask(), name="who-is-needed")
        self.look()

    async def stop(self) -> None:
        """End: no job is ordered any more. Who is needed then is found on the next start."""
        self._stopped = True
        if self._timer:
            self._timer.cancel()
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    # Falling asleep

    def agent_changed(self, agent: Agent, changed: frozenset[str]) -> None:
        """Something of `agent` is new: begin, or end, to count how long it is idle."""
        if not changed & {"turn_state", "unit_status"}:
            return
        self._seen(agent)
        after = self._after(agent.name)
        if not (after and _idle(agent)):
            self._due.pop(agent.name, None)
        elif agent.name not in self._due:
            self._due[agent.name] = asyncio.get_running_loop().time() + after
        self._wind()

    async def may_sleep(self, agent: Agent) -> bool:
        """Whether `agent` is idle and nothing waits for it. It is listened for from now on.

        Raises Unavailable when the broker cannot be asked.
        """
        await self.listen(agent.name)
        waiting = await self._broker.waiting()
        return agent.name not in waiting and _idle(agent)

    def _wind(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = None
        if self._due:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(min(self._due.values()), self._fall)

    def _fall(self) -> None:
        now = asyncio.get_running_loop().time()
        for name in [name for name, due in self._due.items() if due <= now]:
            # Who does not fall asleep, for a message that waits, gets as long again.
            self._due[name] = now + self._after(name)
            if not self._busy(name):
                self._order(Verb.SLEEP, name)
        self._wind()

    # Waking

    async def listen(self, name: str) -> None:
        """From now on hear of messages for `name`."""
        await self._broker.listen(name, lambda: self.needed(name))

    async def forget(self, name: str) -> None:
        """There is no agent `name` any more."""
        self._due.pop(name, None)
        self._called.discard(name)
        await self._broker.ignore(name)

    def needed(self, name: str) -> None:
        """There is a message for `name`."""
        if self._stopped:
            return
        if self._busy(name):
            self._called.add(name)
        elif name in self._roster.agents and self._roster.agents[name].asleep:
            self._order(Verb.START, name)

    def job_ended(self, name: str) -> None:
        """Nothing is being done to `name` any more."""
        if name in self._called:
            self._called.discard(name)
            self.needed(name)

    def look(self) -> None:
        """Ask the broker who has messages: it is there again, or somebody has fallen asleep."""
        self._look.set()

    def _seen(self, agent: Agent) -> None:
        """One that was started past us, with machinectl say, is awake."""
        if agent.asleep and agent.unit_status.up and not self._busy(agent.name):
            self._roster.want(agent, enabled=agent.enabled)

    async def _ask(self) -> None:
        while True:
            await self._look.wait()
            self._look.clear()
            if not any(agent.asleep for agent in self._roster.agents.values()):
                continue
            try:
                for name in sorted(await self._broker.waiting()):
                    self.needed(name)
            except HiveError as error:
                # Asked again when the broker's name has an owner.
                log.warning("who is needed is not known: %s", error)
            except Exception:
                log.exception("who is needed was not found out")


def _idle(agent: Agent) -> bool:
    return agent.state is State.RUNNING and agent.turn_state is TurnState.IDLE


def wake_notices(job: Job, failure: Exception) -> list[Notice]:
    """What is told when an agent that was asleep does not start."""
    text = (
        f"{job.agent} was asleep and could not be started: {failure} Its messages wait; it stays "
        f"stopped until it is started (hivectl start {job.agent})."
    )
    recipients = [names.MANAGER] if job.agent != names.MANAGER else []
    key = f"{WAKE_FAILED}:{job.agent}:{job.number}"
    return notices(WAKE_FAILED, text, key, [*recipients, names.OPERATOR])
