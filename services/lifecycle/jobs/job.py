"""One job: its verb, its states and the data that is stored with it."""

from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from wire.records.lifecycle import JobState, JobVerb

PARTICIPLES: Final[Mapping[JobVerb, str]] = {
    JobVerb.SPAWN: "spawned",
    JobVerb.DESTROY: "destroyed",
    JobVerb.PURGE: "purged",
    JobVerb.START: "started",
    JobVerb.STOP: "stopped",
    JobVerb.KILL: "killed",
    JobVerb.RESTART: "restarted",
    JobVerb.REBUILD: "rebuilt",
    JobVerb.UPDATE: "updated",
    JobVerb.SLEEP: "put to sleep",
    JobVerb.DEPLOY: "deployed",
}


MAX_OUTPUT: Final = 200
"""The most lines of a job's output that are kept."""


class CutShortError(Exception):
    """The host stops in the middle of a job; the next lifecycle continues the job."""


@dataclass
class Job:
    """An operation on one agent that takes time.

    `arguments` is plain data that is stored with the job: the request, and everything that the
    work must know to continue after an interruption. Two requests are the same when their `verb`
    and their `wanted` are equal.
    """

    agent: str
    verb: JobVerb
    wanted: tuple[object, ...] = ()
    arguments: dict[str, object] = field(default_factory=dict)
    number: int = 0
    state: JobState = JobState.WAITING
    final: bool = False
    """Whether the job is past the point where it can be undone."""
    waits: bool = False
    """Whether the job only waits, possibly for long. A stopping service does not wait for it."""

    awaits_turn: bool = False
    """Whether the job waits for the end of a turn. A hostile agent never ends its turn."""

    output: deque[str] = field(default_factory=lambda: deque(maxlen=MAX_OUTPUT), compare=False)
    """The newest lines about the job: its steps, and what its build prints."""
    on_output: Callable[[list[str]], None] = field(default=lambda lines: None, compare=False)
    """Called with further lines of the output."""

    def tell(self, lines: list[str]) -> None:
        """Add lines to the output."""
        self.output.extend(lines)
        self.on_output(lines)

    @property
    def cancelling(self) -> bool:
        """Whether the job is being undone."""
        return self.state is JobState.CANCELLING

    @property
    def refusal(self) -> str:
        """The sentence for an order that has to wait for the end of the job."""
        words = f"{self.agent} is being {PARTICIPLES[self.verb]} (job {self.number})"
        if self.awaits_turn:
            return (
                f"{words}, which waits for the end of its turn. `hivectl cancel-job "
                f"{self.number}` cancels that at once; then try again."
            )
        return f"{words}; try again when it has ended."


Work = Callable[[Job], Awaitable[str]]
"""Does a job and returns a one-line note about its changes, or an empty string. It may be called
again for a job that was interrupted at any point."""
