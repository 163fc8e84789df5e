"""Crashes: which ends of a container are one, and the messages about them."""

import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from services.lifecycle.agents.agent import UnitStatus
from services.lifecycle.agents.record import Record
from services.lifecycle.notices.notice import Notice, notices
from wire import names
from wire.records.lifecycle import AgentState

KIND: Final = "container-crash"
OPERATOR_SECONDS: Final = 600
"""The operator hears once in so many seconds that a container has crashed, or was given up."""

RESTARTED: Final = "restarted"
"""The result of an end that lifecycle did not see because it was down: the container runs again."""

CLD_KILLED: Final = 2
CLD_DUMPED: Final = 3


@dataclass(frozen=True)
class Crash:
    """The end of a container that no job explains."""

    name: str
    invocation: str
    result: str
    code: int
    status: int
    gave_up: bool = False
    """Whether systemd no longer tries to start the container again."""

    @property
    def clean(self) -> bool:
        """Whether the container was shut down in order, from the inside or by another tool."""
        return self.result == "success" and not self.gave_up

    def notices(self, lines: Sequence[str] = ()) -> list[Notice]:
        """Return the messages to the manager, and to the operator if only the operator can help.

        Repeated messages about one end have the same dedupe key. The operator gets at most six an
        hour about crashes of one container, and six about those that systemd gave up: a hostile
        container crashes as often as it likes.

        Args:
            lines: the container's last log lines.
        """
        key = f"{KIND}:{self.name}:{self.invocation}" + (":gave-up" if self.gave_up else "")
        last = ["Its last lines:", *(f"  {line}" for line in lines)] if lines else []
        text = "\n".join([self.sentence, *last])
        told = notices(KIND, text, key, [names.MANAGER])
        if self.gave_up or self.name == names.MANAGER:
            slot = int(time.time() // OPERATOR_SECONDS)
            rare = f"{KIND}:{self.name}:{slot}" + (":gave-up" if self.gave_up else "")
            told += notices(KIND, text, rare, [names.OPERATOR])
        return told

    @property
    def sentence(self) -> str:
        """The end and its consequence, in words."""
        if self.gave_up:
            return (
                f"The container of {self.name} keeps crashing ({self._cause()}), and systemd no "
                f"longer restarts it. Look at `hivectl logs {self.name}`, then start it."
            )
        if self.result == RESTARTED:
            return (
                f"The container of {self.name} ended and was started again while lifecycle was "
                f"down; `hivectl logs {self.name}` shows the cause."
            )
        if self.clean:
            return (
                f"The container of {self.name} was powered off, but not by the hive "
                f"({self._cause()}). It stays stopped until it is started."
            )
        return (
            f"The container of {self.name} crashed ({self._cause()}). "
            "systemd restarts it, unless it keeps crashing."
        )

    def _cause(self) -> str:
        if not self.code and not self.clean:
            # systemd has begun to stop it after a time limit; there is no exit status yet.
            return f"result {self.result}"
        return f"result {self.result}, {self._end()}"

    def _end(self) -> str:
        if self.code in (CLD_KILLED, CLD_DUMPED):
            return f"killed by {signal_name(self.status)}"
        if (self.result, self.status) == ("exit-code", 1):
            # nspawn reports neither the signal nor whether there was one.
            return "exit status 1: its init was killed by a signal, or failed"
        return f"exit status {self.status}"


def signal_name(number: int) -> str:
    """Return SIGKILL for 9, or `signal 99` for a number without a name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def crash_of(record: Record, before: AgentState, now: UnitStatus, *, job: bool) -> Crash | None:
    """Return the crash that a new status shows, or None.

    A container crashed if it was READY and now is not, or runs as another invocation, unless a
    job ended just that invocation. A container that fails to come up again without a job, by
    systemd's own restarts, has been given up.

    Args:
        record: the agent's record.
        before: the state before the new status.
        now: the new status.
        job: whether the agent has a job.
    """
    if record.seen and not (now.up and now.invocation == record.seen):
        if record.seen == record.excused or not now.settled:
            return None
        if now.invocation == record.seen:
            return Crash(record.name, record.seen, now.result, now.code, now.status)
        # systemd forgets a unit that ended in order; a restart has overwritten the cause.
        result = RESTARTED if now.invocation else "success"
        return Crash(record.name, record.seen, result, 0, 0)
    if now.state is AgentState.FAILED and before is not AgentState.FAILED and not job:
        return Crash(record.name, now.invocation, now.result, now.code, now.status, gave_up=True)
    return None
