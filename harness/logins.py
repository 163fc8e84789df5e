"""The logins that the operator begins on the agent's page: at most one at a time.

A login is a process of its own, `python -m harness.login`. It prints the address of a page; the
operator opens the page, and enters the code that it shows. The code goes to that process alone, and
is neither logged nor stored. Claude Code stores the credentials, and the turn loop watches them.
"""

import asyncio
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from harness.claude.cgroup import Cgroup
from harness.lines import one_line

PROGRAM: Final = (sys.executable, "-P", "-m", "harness.login")

GROUP: Final = "login"
"""The control group of a login, which is killed at the end of the login."""

MAX_OUTPUT: Final = 64 * 1024
MAX_ADDRESS: Final = 4096
MAX_SAID: Final = 300
END: Final = "Begin a new one."

_ADDRESS: Final = re.compile(rb"https:[^\s]*+(?=\s)")


class LoginError(Exception):
    """A login has failed; the text tells the operator why."""


@dataclass(frozen=True)
class Limits:
    """The time limits of a login, in seconds."""

    address: float = 60.0
    """Until the login has named its page."""
    end: float = 120.0
    """From the code to the end of the login."""
    whole: float = 1800.0
    """For all of it: the operator may never come back."""
    kill: float = 5.0
    """For its end, when it is killed: what it has started may hold its output."""


@dataclass(frozen=True)
class Page:
    """The page of a login."""

    login: int = 0
    address: str = ""


class Logins:
    """The logins, of which at most one runs.

    Each has a number, so that a code for an earlier login is not entered into a later one.
    """

    def __init__(
        self,
        agent: str,
        group: Cgroup | None = None,
        program: Sequence[str] = PROGRAM,
        limits: Limits | None = None,
    ) -> None:
        """Make the logins of an agent.

        Args:
            agent: the agent's name.
            group: the control group of logins.
            program: the command line of a login; tests give their own.
            limits: the time limits.
        """
        self._agent = agent
        self._group = group
        self._program = program
        self._limits = limits or Limits()
        self._login: _Login | None = None

    async def begin(self, number: int) -> Page:
        """Return the page of the login that runs; if none does, begin the login `number`.

        Raises:
            LoginError: the login names no page in time.
        """
        login = self._login
        if login is None or login.over.is_set():
            login = self._login = _Login(number, self._program, self._group, self._limits)
        try:
            async with asyncio.timeout(self._limits.address):
                await login.named.wait()
        except TimeoutError:
            await login.end(f"The login printed no address within {self._limits.address:.0f} s.")
        if not login.address:
            raise LoginError(login.failure or "This login is over.")
        return Page(login.number, login.address)

    async def enter(self, number: int, code: str) -> str:
        """Enter a code, wait for the end of the login, and return a sentence.

        Raises:
            LoginError: the login has failed or is over, or a code was entered before.
        """
        login = self._running(number)
        if login.has_code:
            raise LoginError("A code was entered already: wait until it is checked.")
        await login.enter(code)
        try:
            async with asyncio.timeout(self._limits.end):
                await login.over.wait()
        except TimeoutError:
            await login.end(f"The login did not end within {self._limits.end:.0f} s.")
        if login.failure:
            raise LoginError(login.failure.replace(code, "[code]"))
        return f"{self._agent} is logged in."

    async def cancel(self, number: int) -> str:
        """End a login, and return a sentence.

        Raises:
            LoginError: the login is over.
        """
        login = self._running(number)
        await login.end(f"The login was cancelled. {END}")
        return "The login was cancelled."

    async def close(self) -> None:
        """End the login that runs."""
        if self._login is not None:
            await self._login.end("The harness has stopped.")

    def _running(self, number: int) -> "_Login":
        login = self._login
        if login is None or login.number != number or login.over.is_set():
            raise LoginError(f"This login is over. {END}")
        return login


class _Login:
    """One login; it begins at once."""

    def __init__(
        self, number: int, program: Sequence[str], group: Cgroup | None, limits: Limits
    ) -> None:
        self.number = number
        self.address = ""
        self.failure = ""
        """Why the login has failed; known when it is over."""
        self.has_code = False
        self.named = asyncio.Event()
        """The address is known, or the login is over."""
        self.over = asyncio.Event()
        self._group = group
        self._limits = limits
        self._process: Process | None = None
        self._pipe: asyncio.ReadTransport | None = None
        self._output = b""
        self._task = asyncio.create_task(self._run(program), name=f"login {number}")
        self._task.add_done_callback(self._ended)

    async def enter(self, code: str) -> None:
        """Give the code to the login."""
        self.has_code = True
        self._output = b""
        stdin = self._process.stdin if self._process else None
        with suppress(OSError):  # it has just ended: the end of its output says why
            if stdin is not None:
                stdin.write(code.encode() + b"\n")
                await stdin.drain()
                stdin.close()

    async def end(self, reason: str) -> None:
        """End the login, and wait for its end; `reason` is why, if nothing else has ended it."""
        if not self.over.is_set():
            self.failure = self.failure or reason
            self._task.cancel()
            await self.over.wait()

    def _ended(self, task: asyncio.Task[str]) -> None:
        if not task.cancelled():  # otherwise `end` has set the failure
            self.failure = task.result()
        self.named.set()
        self.over.set()

    async def _run(self, program: Sequence[str]) -> str:
        """Run the login to its end; return why it has failed, or nothing."""
        try:
            async with asyncio.timeout(self._limits.whole):
                return await self._outcome(program)
        except TimeoutError:
            return f"Nobody entered a code within {self._limits.whole / 60:.0f} minutes. {END}"
        except OSError as exc:
            return f"The login could not be started: {exc.strerror}."
        finally:
            await self._kill()

    async def _outcome(self, program: Sequence[str]) -> str:
        """Read the output to its end; return why the login has failed, or nothing."""
        output = await self._start(program)
        while chunk := await output.read(4096):
            self._output = (self._output + chunk)[-MAX_OUTPUT:]
            if not self.address and (found := _ADDRESS.search(self._output)):
                self.address = found[0][:MAX_ADDRESS].decode("ascii", "replace")
                self._output = self._output[found.end() :]
                self.named.set()
        assert self._process is not None  # noqa: S101 - it was started
        status = await self._process.wait()
        if not self.address:
            return f"The login printed no address: {self._said()}"
        return f"The login failed: {self._said()}" if status else ""

    async def _start(self, program: Sequence[str]) -> asyncio.StreamReader:
        """Start the login; return its output."""
        # Not PIPE: only this end can be closed while something else holds the other one.
        read, write = os.pipe()
        output = asyncio.StreamReader()
        try:
            self._pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
                lambda: asyncio.StreamReaderProtocol(output), os.fdopen(read, "rb", buffering=0)
            )
            # A session of its own: a signal to its group reaches all that it starts.
            self._process = await asyncio.create_subprocess_exec(
                *program, stdin=PIPE, stdout=write, stderr=STDOUT, start_new_session=True
            )
        finally:
            os.close(write)
        if self._group is not None:
            self._group.add(self._process.pid)
        return output

    async def _kill(self) -> None:
        if self._pipe is not None:
            self._pipe.close()
        process = self._process
        if process is None:
            return
        assert process.stdin is not None  # noqa: S101 - a pipe, as asked for
        process.stdin.close()
        if self._group is not None:
            self._group.kill()
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._limits.kill):
                await process.wait()
                with suppress(OSError):
                    await process.stdin.wait_closed()

    def _said(self) -> str:
        text = self._output.decode(errors="replace").rpartition("prompted >")[2]
        return one_line(text, MAX_SAID) or "it printed nothing"
