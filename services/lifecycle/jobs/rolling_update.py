"""Who is updated next, after Hyperhive itself: stale agents, one after the other, each at rest."""

import logging
import time
from collections.abc import Callable
from typing import Final

from services.lifecycle.agents.agent import Agent, State, TurnState
from services.lifecycle.agents.roster import Roster
from services.lifecycle.jobs.job import Job, Result
from services.lifecycle.notices.notice import Notice, notices
from wire import names

log = logging.getLogger(__name__)

UPDATE_FAILED: Final = "update-failed"


class RollingUpdate:
    """Owns no task and no timer: it looks again when an agent changes or a job ends.

    The next one is updated when the last one has reported from its new container. So a version
    that does not work takes one agent down, not all of them.
    """

    def __init__(
        self,
        roster: Roster,
        order: Callable[[str], Job],
        busy: Callable[[str], bool],
        tell: Callable[[Notice], None],
    ) -> None:
        """`order` orders the update of an agent; `busy`: whether a job is being done to one."""
        self._roster = roster
        self._order = order
        self._busy = busy
        self._tell = tell
        self._waiting: set[str] = set()
        self._trial = ""  # who was updated last, until it has reported
        self._job = 0
        self._stopped = False

    def begin(self) -> list[str]:
        """Update whoever is stale, from now on; answers who that is.

        One that is already waiting keeps waiting; one that has failed is left out: it becomes
        current when it is started.
        """
        self._waiting = {agent.name for agent in self._roster.agents.values() if _concerned(agent)}
        stale = sorted(self._waiting)
        self._look()
        return stale

    def stop(self) -> None:
        """Order no update any more; who is stale then is found on the next start."""
        self._stopped = True

    def agent_changed(self, agent: Agent, changed: frozenset[str]) -> None:
        """Something of `agent` is new: it, or the next one, may be at rest now."""
        if changed & {"turn_state", "unit_status", "stale"}:
            self._look()

    def job_ended(self, job: Job, result: Result, note: str) -> None:
        """Nothing is being done to an agent any more."""
        if job.number == self._job:
            self._job = 0
            if result is Result.FAILED:
                self._fail(job.agent, note)
            elif result is Result.CANCELLED:
                self._waiting.discard(job.agent)
        self._look()

    def _look(self) -> None:
        if self._stopped or self._job or not self._settled():
            return
        for name in sorted(self._waiting, key=lambda name: (name == names.MANAGER, name)):
            agent = self._roster.agents.get(name)
            if agent is None or not _concerned(agent):
                self._waiting.discard(name)
            elif at_rest(agent) and not self._busy(name):
                self._trial = name
                self._job = self._order(name).number
                return

    def _settled(self) -> bool:
        """Whether the one that was updated last works, or is none of ours any more."""
        agent = self._roster.agents.get(self._trial)
        if agent and agent.state is State.FAILED and self._waiting:
            self._fail(agent.name, "its container does not come up again.")
        elif agent and agent.state not in _AT_AN_END and agent.turn_state is TurnState.OFFLINE:
            return False
        self._trial = ""
        return True

    def _fail(self, name: str, why: str) -> None:
        self._waiting.discard(name)
        left = ", ".join(sorted(self._waiting))
        self._waiting.clear()
        agent = self._roster.agents.get(name)
        text = f"The update of {name} failed: {why}"
        if agent:
            text += f" It is {agent.state} now."
        if left:
            text += f" So these are not updated: {left}; `hivectl update-all` goes on with them."
        log.error(text, extra={"HIVE_AGENT": name})
        key = f"{UPDATE_FAILED}:{name}:{time.time_ns()}"
        for notice in notices(UPDATE_FAILED, text, key, (names.MANAGER, names.OPERATOR)):
            self._tell(notice)


_AT_AN_END: Final = (State.STOPPED, State.SLEEPING, State.FAILED)


def at_rest(agent: Agent) -> bool:
    """Whether a restart of `agent` interrupts no turn. What has reported nothing may be in one."""
    if agent.state is State.RUNNING:
        return agent.turn_state not in (TurnState.OFFLINE, TurnState.THINKING)
    return agent.state in (State.STOPPED, State.SLEEPING)


def _concerned(agent: Agent) -> bool:
    return agent.stale and agent.state is not State.FAILED
