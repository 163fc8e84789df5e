"""The notices: one for an agent and a topic. Each says how things stand, and ends with its cause.

This module does not know D-Bus.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from services.dashboard.state import shown
from services.dashboard.state.tables import Row, Table, Tables
from wire.records.lifecycle import (
    AgentProperties,
    AgentState,
    Crashed,
    JobRemoved,
    JobResult,
    JobVerb,
)

MAX_NOTICES: Final = 10
"""The notices at a time; the oldest ones make room."""

EPISODE_US: Final = 600_000_000
"""The microseconds after a crash in which another one counts with it."""


class Topic(StrEnum):
    """The subject of a notice; an agent has one notice of each."""

    CRASH = "crash"
    """Its container ended without having been stopped."""
    JOB = "job"
    """A job on it failed."""
    INBOX = "inbox"
    """It has sent the operator more messages than the page shows."""
    DEAD = "dead"
    """More of its messages are dead letters than the page shows."""


class Level(StrEnum):
    """The gravity of the present."""

    BAD = "bad"
    NOTE = "note"
    """It is over, or nothing has to be done at once."""


RECOVERED: Final = frozenset({AgentState.RUNNING, AgentState.PAUSED, AgentState.SLEEPING})
"""The states of an agent whose crash is over."""

REPAIRS: Final = frozenset(JobVerb) - {JobVerb.SLEEP}
"""The jobs whose success ends what was reported about the agent before."""


@dataclass(frozen=True)
class Notice:
    """An event, from which the text for the present state is made."""

    agent: str
    topic: Topic
    at: int
    """When it happened last, in microseconds since 1970."""
    what: str
    verb: str = ""
    times: int = 1


def _key(topic: Topic, agent: str) -> str:
    return f"{topic} {agent}"


class Notices:
    """The notices of the pages."""

    def __init__(self, tables: Tables, now_us: Callable[[], int]) -> None:
        self._tables = tables
        self._now_us = now_us
        self._notices: dict[str, Notice] = {}
        self._states: dict[str, AgentState] = {}

    # Events

    def add_crash(self, name: str, crash: Crashed) -> None:
        """Note that an agent's container ended without having been stopped."""
        now, before = self._now_us(), self._notices.get(_key(Topic.CRASH, name))
        times = before.times + 1 if before and now - before.at < EPISODE_US else 1
        is_clean = crash.result == "success"
        what = "" if is_clean else f"{crash.result}, status {crash.status}"
        self._add(Notice(name, Topic.CRASH, now, what, times=times))

    def end_job(self, job: JobRemoved) -> None:
        """Note the end of a job: a failure begins a notice, a success ends those of its agent."""
        if job.result == JobResult.FAILED:
            sentence = job.note.partition("\n")[0].rstrip()  # the log of a failed build follows
            what = sentence or "no reason given"
            self._add(Notice(job.agent, Topic.JOB, self._now_us(), what, job.verb))
        elif job.result == JobResult.DONE and job.verb in REPAIRS:
            self._end({_key(Topic.JOB, job.agent), _key(Topic.CRASH, job.agent)})

    def add_cut(self, sender: str, text: str, *, dead: bool) -> None:
        """Note that more messages of a sender wait than the page shows."""
        topic = Topic.DEAD if dead else Topic.INBOX
        if _key(topic, sender) not in self._notices:
            self._add(Notice(sender, topic, self._now_us(), text))

    def end_cut(self, sender: str, *, dead: bool) -> None:
        """Note that the page shows all messages of a sender that wait."""
        self._end({_key(Topic.DEAD if dead else Topic.INBOX, sender)})

    # How things stand

    def replace_agents(self, agents: Collection[AgentProperties]) -> None:
        """Note the states of all agents; the notices of others end."""
        gone = self._states.keys() - {agent.name for agent in agents}
        for agent in agents:
            self.put_agent(agent)
        for name in gone:
            self.remove_agent(name)

    def put_agent(self, agent: AgentProperties) -> None:
        """Note the state of an agent."""
        if self._states.get(agent.name) == agent.state:
            return
        self._states[agent.name] = agent.state
        for topic in (Topic.CRASH, Topic.JOB):
            if notice := self._notices.get(_key(topic, agent.name)):
                self._show(notice)

    def remove_agent(self, name: str) -> None:
        """End the notices of an agent that was destroyed."""
        self._states.pop(name, None)
        self._end({_key(topic, name) for topic in (Topic.CRASH, Topic.JOB)})

    # Rows

    def _add(self, notice: Notice) -> None:
        self._notices[_key(notice.topic, notice.agent)] = notice
        self._show(notice)
        by_age = sorted(self._notices.items(), key=lambda item: item[1].at)
        self._end({key for key, _ in by_age[: max(0, len(by_age) - MAX_NOTICES)]})

    def _end(self, keys: Collection[str]) -> None:
        for key in keys:
            self._notices.pop(key, None)
        self._tables.update(Table.NOTICES, remove=set(keys))

    def _show(self, notice: Notice) -> None:
        text, level = self._worded(notice)
        row: Row = {
            "agent": notice.agent,
            "topic": notice.topic,
            "level": level,
            "text": shown.message(text),
            "times": notice.times,
            "at": notice.at,
        }
        self._tables.update(Table.NOTICES, put={_key(notice.topic, notice.agent): row})

    def _worded(self, notice: Notice) -> tuple[str, Level]:
        """Return the notice in words for the present state of its agent."""
        name, state = notice.agent, self._states.get(notice.agent)
        match notice.topic:
            case Topic.CRASH:
                return self._crash_worded(notice, state)
            case Topic.JOB:
                now = f" It is {state} now." if state else ""
                end = "" if notice.what.endswith((".", "!", "?")) else "."
                return f"Could not {notice.verb} {name}: {notice.what}{end}{now}", Level.BAD
            case _:
                return notice.what, Level.NOTE

    def _crash_worded(self, notice: Notice, state: AgentState | None) -> tuple[str, Level]:
        times = f" {notice.times} times" if notice.times > 1 else ""
        last = "last: " if times else ""
        crashed = f"{notice.agent} crashed{times} ({last}{notice.what})"
        if not notice.what:
            crashed = f"{notice.agent} was powered off{times}, but not by the hive"
        if state is AgentState.FAILED:
            remedy = "Look at its log, then start it."
            return f"{crashed}, and is not started again. {remedy}", Level.BAD
        if state in RECOVERED:
            return f"{crashed}. It is {state} again.", Level.NOTE
        return f"{crashed}. It is {state or 'gone'}.", Level.BAD
