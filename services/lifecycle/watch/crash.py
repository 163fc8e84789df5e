"""When a container's end is a crash, and what the manager is told about it."""

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from services.lifecycle.agents.agent import State, UnitStatus
from services.lifecycle.agents.record import Record
from services.lifecycle.notices.notice import Notice, notices
from wire import names

KIND: Final = "container-crash"

RESTARTED: Final = "restarted"
"""The result of an end that was not seen (lifecycle was down): the container runs again."""

CLD_KILLED: Final = 2
CLD_DUMPED: Final = 3


@dataclass(frozen=True)
class Crash:
    """The end of a container that no job of ours explains."""

    name: str
    invocation: str
    result: str
    code: int
    status: int
    gave_up: bool = False

    @property
    def clean(self) -> bool:
        """Whether it was shut down in order: from the inside, or with systemctl or machinectl."""
        return self.result == "success" and not self.gave_up

    def notices(self, lines: Sequence[str] = ()) -> list[Notice]:
        """The messages about it: to the manager, and to the operator when only that one can help.

        One container's end has one key, however often it is sent. `lines`: what it logged last.
        """
        key = f"{KIND}:{self.name}:{self.invocation}" + (":gave-up" if self.gave_up else "")
        last = ["Its last lines:", *(f"  {line}" for line in lines)] if lines else []
        text = "\n".join([self.sentence, *last])
        recipients = [names.MANAGER]
        if self.gave_up or self.name == names.MANAGER:
            recipients.append(names.OPERATOR)
        return notices(KIND, text, key, recipients)

    @property
    def sentence(self) -> str:
        """What happened, and what follows."""
        if self.gave_up:
            return (
                f"The container of {self.name} does not come up again ({self._cause()}). "
                "It stays down until it is started."
            )
        if self.result == RESTARTED:
            return (
                f"The container of {self.name} ended and was started again while lifecycle was "
                f"down; the cause is in the journal (hivectl logs {self.name})."
            )
        if self.clean:
            return (
                f"The container of {self.name} was powered off, but not by a job of the hive "
                f"({self._cause()}). It stays down until it is started."
            )
        return (
            f"The container of {self.name} crashed ({self._cause()}). "
            "systemd starts it again unless it keeps crashing."
        )

    def _cause(self) -> str:
        if not self.code and not self.clean:
            # systemd has begun to end it, for it took too long or was too quiet.
            return f"result {self.result}"
        return f"result {self.result}, {self._end()}"

    def _end(self) -> str:
        if self.code in (CLD_KILLED, CLD_DUMPED):
            return f"killed by {signal_name(self.status)}"
        if (self.result, self.status) == ("exit-code", 1):
            # nspawn does not say which signal it was, nor whether it was one.
            return "exit status 1: its init was killed by a signal, or failed"
        return f"exit status {self.status}"


def signal_name(number: int) -> str:
    """SIGKILL for 9; `signal 99` for a number that has no name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def crash_of(record: Record, before: State, now: UnitStatus, *, job: bool) -> Crash | None:
    """The crash that `now` shows, or None.

    `before` is the state the container was in; `job`: whether a job of ours runs on it. A
    container that was seen READY and is gone, or runs as another invocation, crashed, unless a
    job of ours ended just that invocation. One that fails to come up again without a job (the
    restarts of systemd) has given up.
    """
    if record.seen and not (now.up and now.invocation == record.seen):
        if record.seen == record.excused or not now.settled:
            return None
        if now.invocation == record.seen:
            return Crash(record.name, record.seen, now.result, now.code, now.status)
        # systemd forgets a unit that ended in order; one that runs again had its cause overwritten.
        result = RESTARTED if now.invocation else "success"
        return Crash(record.name, record.seen, result, 0, 0)
    if now.state is State.FAILED and before is not State.FAILED and not job:
        return Crash(record.name, now.invocation, now.result, now.code, now.status, gave_up=True)
    return None
