"""Log an agent in: run Claude Code's login in the agent's container, and relay it to the operator.

The container may be hostile. Its output does not reach the terminal; only an address that is one of
Anthropic's login pages does, printed from its parts.
"""

import asyncio
import os
import re
import secrets
import select
import stat
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final, TextIO

from hivectl.exit_codes import CommandError, Exit
from hivectl.output.text import one_line
from wire.text.login_pages import UnknownPageError, known_page, without_addresses
from wire.text.urls import Url

PREFIX: Final = Path("/usr/lib/hyperhive")
"""The directory of Hyperhive in containers, except on NixOS."""
STORE: Final = Path("/nix/store")
"""The Nix store, which is the same in containers."""
URL_SECONDS: Final = 60.0
END_SECONDS: Final = 120.0
KILL_SECONDS: Final = 10.0
LONGEST_SECONDS: Final = 1800
"""Seconds after which the container itself ends a login."""
MAX_CODE: Final = 4096
MAX_OUTPUT: Final = 64 * 1024

_ADDRESS: Final = re.compile(rb"https:[^\s]*+(?=\s)")


class Login:
    """A login in progress."""

    process: Process

    def __init__(self, process: Process) -> None:
        self.process = process
        self._output = b""

    async def page(self) -> Url:
        """Return the address of the page to open.

        Raises:
            CommandError: the login prints no address within URL_SECONDS, or not a login page's.
        """
        try:
            async with asyncio.timeout(URL_SECONDS):
                while not (found := _ADDRESS.search(self._output)):
                    if not await self._more():
                        raise CommandError(
                            Exit.FAILED, f"The login printed no address: {self._said()}"
                        )
        except TimeoutError:
            raise CommandError(
                Exit.TIMEOUT,
                f"The login printed no address within {URL_SECONDS:.0f} s: {self._said()}",
            ) from None
        self._output = self._output[found.end() :]
        return _known_page(found[0].decode(errors="replace"))

    async def enter(self, code: str) -> None:
        """Enter the code that the page shows, and wait for the end of the login.

        Raises:
            CommandError: the login failed, or did not end within END_SECONDS.
        """
        assert self.process.stdin is not None  # noqa: S101 - a pipe, as asked for
        self._output = b""
        try:
            self.process.stdin.write(code.encode() + b"\n")
            await self.process.stdin.drain()
            self.process.stdin.close()
            async with asyncio.timeout(END_SECONDS):
                while await self._more():
                    pass
                status = await self.process.wait()
        except OSError:
            status = await self.process.wait()
        except TimeoutError:
            raise CommandError(
                Exit.TIMEOUT, f"The login did not end within {END_SECONDS:.0f} s."
            ) from None
        if status:
            raise CommandError(Exit.FAILED, f"The login failed: {self._said()}")

    async def _more(self) -> bool:
        assert self.process.stdout is not None  # noqa: S101 - a pipe, as asked for
        chunk = await self.process.stdout.read(4096)
        self._output = (self._output + chunk)[-MAX_OUTPUT:]
        return bool(chunk)

    def _said(self) -> str:
        text = self._output.decode(errors="replace").rpartition("prompted >")[2]
        return one_line(without_addresses(text))[:400] or "it printed nothing"


def python(prefix: Path | None = None) -> Path:
    """Return the path of Hyperhive's Python in containers.

    Args:
        prefix: the directory in which this program is installed; by default that of its Python.
    """
    # Not always the prefix of this program: a virtual environment may be mounted at PREFIX.
    own = prefix or Path(sys.prefix)
    return (own if own.is_relative_to(STORE) else PREFIX) / "bin/python"


@asynccontextmanager
async def login(
    machine: str,
    run: Callable[[str, str], list[str]] | None = None,
    end: Callable[[str, str], list[str]] | None = None,
) -> AsyncIterator[Login]:
    """Start a login in the container `machine`; the end of the context ends the login.

    Args:
        machine: the machine name of the container.
        run: makes the command line of the login in a unit; tests give their own.
        end: makes the command line that ends the unit.

    Raises:
        CommandError: the login could not be started.
    """
    unit = f"hive-login-{secrets.token_hex(4)}.service"
    command = (run or _command)(machine, unit)
    try:
        # Ctrl-C must not end systemd-run: the unit in the container would go on.
        process = await asyncio.create_subprocess_exec(
            *command, stdin=PIPE, stdout=PIPE, stderr=STDOUT, start_new_session=True
        )
    except OSError as error:
        raise CommandError(
            Exit.UNAVAILABLE, f"{command[0]} could not be started: {error.strerror}."
        ) from error
    try:
        yield Login(process)
    finally:
        if process.returncode is None:
            await _end((end or _end_command)(machine, unit))
            with suppress(ProcessLookupError):
                process.kill()
            # Without the unit, nobody holds the pipes any more: this waits for no time.
            with suppress(TimeoutError):
                async with asyncio.timeout(KILL_SECONDS):
                    await process.wait()


async def read_code(stream: TextIO | None) -> str:
    """Return the first line of `stream`; Ctrl-C ends the wait for it. Empty at its end."""
    if stream is None:
        return ""
    loop, number = asyncio.get_running_loop(), stream.fileno()
    read: asyncio.Future[None] = loop.create_future()
    text = b""

    def more() -> None:
        nonlocal text
        chunk = os.read(number, MAX_CODE)
        text += chunk
        if not (chunk and b"\n" not in text and len(text) < MAX_CODE) and not read.done():
            read.set_result(None)

    try:
        loop.add_reader(number, more)
    except PermissionError:  # a file, or a device such as /dev/null, is never waited for
        more()
    else:
        try:
            await read
        finally:
            loop.remove_reader(number)
    return text.decode(errors="replace").partition("\n")[0].strip()


def has_code(stream: TextIO | None) -> bool:
    """Return whether a code can come from `stream`: not at its end, as that of /dev/null is."""
    if stream is None:
        return False
    if stream.isatty():
        return True
    number = stream.fileno()
    if stat.S_ISREG(os.fstat(number).st_mode):
        return os.fstat(number).st_size > os.lseek(number, 0, os.SEEK_CUR)
    if stat.S_ISFIFO(os.fstat(number).st_mode) or stat.S_ISSOCK(os.fstat(number).st_mode):
        waiting = select.poll()
        waiting.register(number, select.POLLIN)
        events = dict(waiting.poll(0)).get(number, 0)
        return not events & select.POLLHUP or bool(events & select.POLLIN)
    return False


async def _end(command: list[str]) -> None:
    """End the unit of a login, whatever state it is in."""
    with suppress(OSError, TimeoutError):
        process = await asyncio.create_subprocess_exec(
            *command, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL, start_new_session=True
        )
        async with asyncio.timeout(KILL_SECONDS):
            await process.wait()


def _known_page(address: str) -> Url:
    try:
        return known_page(address)
    except UnknownPageError as error:
        raise CommandError(Exit.FAILED, str(error)) from error


def _command(machine: str, unit: str) -> list[str]:
    # A transient unit in the container. It goes on when systemd-run ends, so it has a name to end
    # it by, and a time limit for the case that this program is killed.
    options = ["--pipe", "--wait", "--quiet", "--collect", "--setenv=HOME=/root", f"--unit={unit}"]
    options += [f"--property=RuntimeMaxSec={LONGEST_SECONDS}", "--property=KillSignal=SIGKILL"]
    command = [str(python()), "-P", "-m", "harness.login"]
    return ["systemd-run", f"--machine={machine}", *options, *command]


def _end_command(machine: str, unit: str) -> list[str]:
    return ["systemctl", f"--machine={machine}", "stop", unit]
