"""Log an agent in: run Claude Code's login in the agent's container, and relay it to the operator.

The container may be hostile: its output does not reach the terminal, and the operator is warned
when the page's address does not belong to Anthropic.
"""

import asyncio
import re
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlsplit

from hivectl.exit_codes import CommandError, Exit
from hivectl.output.text import one_line

PYTHON: Final = "/usr/lib/hyperhive/bin/python"
HOSTS: Final = ("claude.com", "claude.ai", "anthropic.com")
"""The hosts (with their subdomains) whose pages may ask for a login."""

URL_SECONDS: Final = 60.0
END_SECONDS: Final = 120.0
MAX_OUTPUT: Final = 64 * 1024

_URL: Final = re.compile(rb"https://[!-~]+(?=\s)")


class Login:
    """A login in progress."""

    process: Process

    def __init__(self, process: Process) -> None:
        self.process = process
        self._output = b""

    async def address(self) -> str:
        """Return the address of the page to open.

        Raises:
            CommandError: the login prints no address within URL_SECONDS.
        """
        try:
            async with asyncio.timeout(URL_SECONDS):
                while not (found := _URL.search(self._output)):
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
        return found[0].decode()

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
        return one_line(text.strip())[:400] or "it printed nothing"


@asynccontextmanager
async def login(machine: str, run: Callable[..., list[str]] | None = None) -> AsyncIterator[Login]:
    """Start a login in the container `machine`; the end of the context ends the login.

    Args:
        machine: the machine name of the container.
        run: makes the command line of the login; tests give their own.

    Raises:
        CommandError: the login could not be started.
    """
    command = (run or _command)(machine)
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=PIPE, stdout=PIPE, stderr=STDOUT
        )
    except OSError as error:
        raise CommandError(
            Exit.UNAVAILABLE, f"{command[0]} could not be started: {error.strerror}."
        ) from error
    try:
        yield Login(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def is_known(address: str) -> bool:
    """Tell whether `address` is a page of Anthropic."""
    host = urlsplit(address).hostname or ""
    return any(host == known or host.endswith(f".{known}") for known in HOSTS)


def _command(machine: str) -> list[str]:
    # A transient unit in the container, which ends with the pipe.
    options = ["--pipe", "--wait", "--quiet", "--collect", "--setenv=HOME=/root"]
    return ["systemd-run", f"--machine={machine}", *options, PYTHON, "-P", "-m", "harness.login"]
