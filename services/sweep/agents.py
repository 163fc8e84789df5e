"""The part that runs as root: it starts a process for each agent, with the uid of that agent.

Root opens nothing that an agent can change. It passes on a descriptor of `state`, whose parent
belongs to root, and reads a few lines of the process's answer, in which nothing is parsed.
"""

import os
import select
import signal
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from services.sweep.files import Outcome, sweep
from wire import names
from wire.text import escaping

UIDS: Final = range(0x1000_0000, 0x3000_0000)
"""The uids of all agents; lifecycle gives each a range of them."""
SECONDS: Final = 60.0
"""The time for one agent."""

UNPREPARED: Final = (
    "is not swept, because its directory does not let the agent's group pass: "
    "`systemctl restart hive-lifecycle` corrects that"
)

MAX_ANSWER: Final = 2000
"""Bytes of the answer of a process."""

_DONE, _LEFT_ALONE = 0, 3
_ENTRY: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True)
class Report:
    """The outcome for one agent.

    Attributes:
        lines: Sentences about it; none if there was nothing to do.
        left_alone: Whether the files could not be swept as the agent has left them.
        failed: Whether the fault is on this side.
    """

    lines: tuple[str, ...] = ()
    left_alone: bool = False
    failed: bool = False


class Sweeper:
    """The sweep of all agents."""

    def __init__(
        self,
        agents: Path,
        seconds: float = SECONDS,
        uids: range = UIDS,
        work: Callable[[], Outcome] = sweep,
    ) -> None:
        """Prepare the sweep.

        Args:
            agents: the directory of the agents' directories, which belongs to root.
            seconds: the time for one agent.
            uids: the uids that agents can have.
            work: is called in the process of each agent, in its `state`.
        """
        self._agents = agents
        self._seconds = seconds
        self._uids = uids
        self._work = work

    def run(self) -> Iterator[tuple[str, Report]]:
        """Sweep the files of each agent; yield its name and the outcome."""
        agents = os.open(self._agents, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for name in sorted(os.listdir(agents)):  # noqa: PTH208 - by descriptor
                if names.is_agent_name(name):
                    yield name, self._sweep(agents, name)
        finally:
            os.close(agents)

    def _sweep(self, agents: int, name: str) -> Report:
        opened: list[int] = []
        try:
            opened.append(os.open(name, _ENTRY, dir_fd=agents))
            opened.append(os.open("state", _ENTRY, dir_fd=opened[0]))
            own, owner = os.fstat(opened[0]), os.fstat(opened[1]).st_uid
            if own.st_uid != 0 or not own.st_mode & stat.S_IXGRP:
                # An earlier version has made it. Lifecycle corrects all of them when it starts.
                return Report((UNPREPARED,), left_alone=True)
            for number in (owner, own.st_gid):
                if number not in self._uids:
                    return Report((f"belongs to uid {number}, not to an agent",), failed=True)
            return self._as_agent(owner, own.st_gid, opened[1])
        except FileNotFoundError:
            return Report()  # it is just being made or destroyed
        except OSError as error:
            return Report((f"cannot be swept: {error}",), failed=True)
        finally:
            for descriptor in opened:
                os.close(descriptor)

    def _as_agent(self, uid: int, gid: int, state: int) -> Report:
        end = time.monotonic() + self._seconds
        answer, out = os.pipe()
        child = os.fork()
        if child == 0:
            self._child(uid, gid, state, out)
        os.close(out)
        process = os.pidfd_open(child)
        try:
            text = _read(answer, end)
            in_time = bool(select.select([process], [], [], max(end - time.monotonic(), 0))[0])
        finally:
            os.close(answer)
            os.close(process)
            # It may be stuck in a pipe that the agent has put there, or be the agent's by now.
            os.kill(child, signal.SIGKILL)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if not in_time:
            return Report(("took too long and was stopped",), left_alone=True)
        lines = tuple(escaping.literal(line, one_line=True) for line in text.splitlines()[:10])
        # No fault of this side: the agent's files may exhaust memory or break sqlite, and an agent
        # must not be able to make the unit fail.
        if status not in (_DONE, _LEFT_ALONE):
            lines = (*lines, f"the process ended with status {status}")
        return Report(lines, left_alone=status != _DONE)

    def _child(self, uid: int, gid: int, state: int, out: int) -> NoReturn:
        """Become the agent, sweep, answer and exit."""
        status = 1
        try:
            out = _become(uid, gid, state, out)
            outcome = self._work()
            os.write(out, "\n".join(outcome.lines).encode(errors="replace")[:MAX_ANSWER])
            status = _LEFT_ALONE if outcome.left_alone else _DONE
        except BaseException as error:
            os.write(out, f"{type(error).__name__}: {error}".encode(errors="replace")[:MAX_ANSWER])
        finally:
            os._exit(status)


def _become(uid: int, gid: int, state: int, out: int) -> int:
    """Take on the agent's uid, without any privilege, in its `state`; return the new `out`."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    # The kernel takes all capabilities with the last uid of root.
    os.setresuid(uid, uid, uid)
    os.fchdir(state)
    # A file that is rewritten takes its space where the agent's files are.
    os.environ["SQLITE_TMPDIR"] = "."
    os.dup2(out, 3)
    os.closerange(4, os.sysconf("SC_OPEN_MAX"))
    return 3


def _read(answer: int, end: float) -> str:
    """Return the answer of a process; what has come when its time is over."""
    data = b""
    while len(data) < MAX_ANSWER:
        ready, _, _ = select.select([answer], [], [], max(end - time.monotonic(), 0))
        if not ready or not (chunk := os.read(answer, MAX_ANSWER - len(data))):
            break
        data += chunk
    return data.decode(errors="replace")
