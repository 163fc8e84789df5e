"""One job: its verb, its states and the data that is stored with it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final


class Verb(StrEnum):
    """The operation of a job on its agent."""

    SPAWN = "spawn"
    DESTROY = "destroy"
    PURGE = "purge"
    START = "start"
    STOP = "stop"
    RESTART = "restart"
    REBUILD = "rebuild"
    UPDATE = "update"
    SLEEP = "sleep"
    DEPLOY = "deploy"


PARTICIPLES: Final[Mapping[Verb, str]] = {
    Verb.SPAWN: "spawned",
    Verb.DESTROY: "destroyed",
    Verb.PURGE: "purged",
    Verb.START: "started",
    Verb.STOP: "stopped",
    Verb.RESTART: "restarted",
    Verb.REBUILD: "rebuilt",
    Verb.UPDATE: "updated",
    Verb.SLEEP: "put to sleep",
    Verb.DEPLOY: "deployed",
}


class CutShortError(Exception):
    """The host stops in the middle of a job; the next lifecycle continues the job."""


class JobState(StrEnum):
    """The progress of a job. A job that has ended has a Result instead."""

    WAITING = "waiting"
    RUNNING = "running"
    CANCELLING = "cancelling"


class Result(StrEnum):
    """The way in which a job ended."""

    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass
class Job:
    """An operation on one agent that takes time.

    `arguments` is plain data that is stored with the job: the request, and everything that the
    work must know to continue after an interruption. Two requests are the same when their `verb`
    and their `wanted` are equal.
    """

    agent: str
    verb: Verb
    wanted: tuple[object, ...] = ()
    arguments: dict[str, object] = field(default_factory=dict)
    number: int = 0
    state: JobState = JobState.WAITING
    final: bool = False
    """Whether the job is past the point where it can be undone."""
    waits: bool = False
    """Whether the job only waits, possibly for long. A stopping service does not wait for it."""

    @property
    def cancelling(self) -> bool:
        """Whether the job is being undone."""
        return self.state is JobState.CANCELLING


Work = Callable[[Job], Awaitable[str]]
"""Does a job and returns a one-line note about its changes, or an empty string. It may be called
again for a job that was interrupted at any point."""
