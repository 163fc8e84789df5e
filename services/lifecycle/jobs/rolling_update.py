"""The rolling update after a new version of Hyperhive: one stale agent after the other."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from services.lifecycle.agents.agent import Agent
from services.lifecycle.agents.roster import Roster
from services.lifecycle.agents.turn import UNKNOWN
from services.lifecycle.jobs.job import Job
from services.lifecycle.notices.notice import Notice, notices
from wire import names
from wire.records.lifecycle import AgentState, JobResult

log = logging.getLogger(__name__)

UPDATE_FAILED: Final = "update-failed"

REPORT_SECONDS: Final = 300.0
"""Seconds in which an agent must report from its new container."""

_DOWN: Final = (AgentState.STOPPED, AgentState.SLEEPING, AgentState.FAILED)


class RollingUpdate:
    """Updates each stale agent when no turn of it would be interrupted.

    The next agent is updated when the last one has reported from its new container. So a version
    that does not work takes down one agent, not all of them. One that does not report ends the
    update, and the operator is told: otherwise a hostile agent would keep all others from it
    unnoticed. Owns no task, and one timer, for that report.
    """

    def __init__(
        self,
        roster: Roster,
        order: Callable[[str], Job],
        busy: Callable[[str], bool],
        tell: Callable[[Notice], None],
    ) -> None:
        """Do nothing before `begin`.

        Args:
            roster: the agents.
            order: orders the update of an agent.
            busy: returns whether an agent has a job.
            tell: sends a message.
        """
        self._roster = roster
        self._order = order
        self._busy = busy
        self._tell = tell
        self._waiting: set[str] = set()
        self._last = ""  # the agent that was updated last, until it has reported
        self._job = 0
        self._stopped = False
        self._late: asyncio.TimerHandle | None = None

    def begin(self) -> list[str]:
        """Update all agents that are stale now; return their names.

        Agents that wait already keep waiting. A `failed` agent is left out: its next start makes
        it current.
        """
        self._waiting = {agent.name for agent in self._roster.agents.values() if _concerned(agent)}
        stale = sorted(self._waiting)
        if not self._job:
            self._last = ""  # whoever asks again does not wait for its report any more
        self._continue()
        return stale

    def stop(self) -> None:
        """Order no more updates. The next start finds the agents that are still stale."""
        self._stopped = True
        self._forget_timer()

    def agent_changed(self, agent: Agent, changed: frozenset[str]) -> None:
        """Continue if `agent` may have come to rest, or may have reported."""
        if changed & {"turn_state", "in_turn", "unit_status", "stale", "reported"}:
            self._continue()

    def job_ended(self, job: Job, result: JobResult, note: str) -> None:
        """Continue after `job`, or give up if it was a failed update."""
        if job.number == self._job:
            self._job = 0
            if result is JobResult.FAILED:
                self._give_up(job.agent, note)
            elif result is JobResult.CANCELLED:
                self._waiting.discard(job.agent)
        self._continue()

    def _continue(self) -> None:
        if self._stopped or self._job or not self._last_works():
            return
        for name in sorted(self._waiting, key=lambda name: (name == names.MANAGER, name)):
            agent = self._roster.agents.get(name)
            if agent is None or not _concerned(agent):
                self._waiting.discard(name)
            elif at_rest(agent) and not self._busy(name):
                self._last = name
                self._job = self._order(name).number
                return

    def _last_works(self) -> bool:
        """Return whether the next agent may be updated: the last one works, or is gone."""
        agent = self._roster.agents.get(self._last)
        if agent and agent.state is AgentState.FAILED and self._waiting:
            self._give_up(agent.name, "its container keeps crashing.")
        elif agent and agent.state not in _DOWN and agent.turn_state in UNKNOWN:
            if self._waiting and self._late is None:
                self._late = asyncio.get_running_loop().call_later(REPORT_SECONDS, self._is_late)
            return False
        self._forget_timer()
        self._last = ""
        return True

    def _is_late(self) -> None:
        self._late = None
        if self._waiting and not self._job and not self._last_works():
            self._forget_timer()
            self._give_up(
                self._last, f"its harness has not reported within {REPORT_SECONDS:.0f} s."
            )

    def _forget_timer(self) -> None:
        if self._late:
            self._late.cancel()
        self._late = None

    def _give_up(self, name: str, why: str) -> None:
        self._waiting.discard(name)
        left = ", ".join(sorted(self._waiting))
        self._waiting.clear()
        agent = self._roster.agents.get(name)
        text = f"The update of {name} failed: {why}"
        if agent:
            text += f" It is {agent.state} now."
        if left:
            text += f" These agents were not updated: {left}; `hivectl update-all` updates them."
        log.error(text, extra={"HIVE_AGENT": name})
        key = f"{UPDATE_FAILED}:{name}:{time.time_ns()}"
        for notice in notices(UPDATE_FAILED, text, key, (names.MANAGER, names.OPERATOR)):
            self._tell(notice)


def at_rest(agent: Agent) -> bool:
    """Return whether a restart of `agent` interrupts no turn.

    An agent whose harness has not reported yet, or is away, may be in the middle of a turn.
    """
    if agent.state is AgentState.RUNNING:
        return agent.reported and not (agent.in_turn or agent.turn_state in UNKNOWN)
    return agent.state in (AgentState.STOPPED, AgentState.SLEEPING)


def _concerned(agent: Agent) -> bool:
    return agent.stale and agent.state is not AgentState.FAILED
