"""The steps of an import that root does on the host: the tool that copies, and the old container.

The tool is a module of lifecycle. It runs isolated (-I), so that root imports nothing from its
working directory.
"""

import asyncio
import fcntl
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from hivectl.exit_codes import BY_ERROR, CommandError, Exit

TOOL: Final = [sys.executable, "-I", "-m", "services.lifecycle.nixos_import"]
STOP_SECONDS: Final = 180.0
MAX_LINE: Final = 4 * 1024 * 1024
"""Bytes of a line of the tool."""

AGENTS: Final = Path("/var/lib/hyperhive/agents")
"""The directory that is locked during an import."""

Told = Callable[[int, int], None]
"""Is called with the entries and the bytes that were copied."""


class Tool:
    """The tool, for one agent."""

    def __init__(self, name: str, options: Mapping[str, Path | None], moved: Sequence[Any]) -> None:
        """Prepare to run it.

        Args:
            name: the agent; empty for `list`.
            options: the directories that the operator has given, by their options.
            moved: pairs of an old path and a new one.
        """
        self._name = [name] if name else []
        self._options = [f"--{key}={path}" for key, path in options.items() if path]
        for old, new in moved:
            self._options += ["--moved", old, new]

    async def run(self, verb: str, told: Told = lambda _entries, _bytes: None) -> Any:
        """Run a step; return its result.

        When cancelled, it ends the tool first.

        Raises:
            CommandError: the step failed; the sentence is the tool's.
        """
        process = await _started([*TOOL, verb, *self._name, *self._options])
        try:
            said = asyncio.create_task(_all(process.stderr))
            result = await _result(process.stdout, told)
            status, sentence = await process.wait(), await said
        finally:
            await _end(process)
        if status:
            code = Exit(status) if status in BY_ERROR.values() else Exit.FAILED
            raise CommandError(
                code, sentence or f"The import exited with status {status} and no message."
            )
        return result


@contextmanager
def alone() -> Iterator[None]:
    """Let no other import run while the context is entered.

    Raises:
        CommandError: another import runs, or the hive has no directory of agents.
    """
    try:
        folder = os.open(AGENTS, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise CommandError(
            Exit.UNAVAILABLE, f"{AGENTS} cannot be opened: {error.strerror}. Start the hive first."
        ) from error
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise CommandError(
            Exit.CONFLICT, "Another `hivectl import-nixos` runs; wait for its end."
        ) from error
    finally:
        os.close(folder)


async def _started(command: Sequence[str]) -> Process:
    """Start the tool; end it in order when cancelled meanwhile: asyncio itself would kill it."""
    starting = asyncio.create_task(
        asyncio.create_subprocess_exec(
            *command,
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=PIPE,
            limit=MAX_LINE,
            # Ctrl-C ends hivectl, which ends the tool.
            start_new_session=True,
        )
    )
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        await _end(await starting)
        raise


async def _result(stream: asyncio.StreamReader | None, told: Told) -> Any:
    result = None
    while stream and (line := await stream.readline()):
        message = json.loads(line)
        if progress := message.get("progress"):
            told(progress["entries"], progress["bytes"])
        result = message.get("result", result)
    return result


async def _all(stream: asyncio.StreamReader | None) -> str:
    return (await stream.read()).decode(errors="replace").strip() if stream else ""


async def _end(process: Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGINT)  # at which the tool removes an unfinished copy
        await asyncio.shield(process.wait())


def container_unit(machine: str) -> str:
    """Return the unit in which nixos-container runs a container."""
    return f"container@{machine}.service"


async def is_running(machine: str) -> bool:
    """Return whether a container of nixos-container runs, or is about to.

    Raises:
        CommandError: systemd cannot be asked.
    """
    state = await _systemctl("show", "--property=ActiveState", "--value", container_unit(machine))
    return state not in ("inactive", "failed")


async def stop(machine: str) -> None:
    """Stop a container of nixos-container.

    Raises:
        CommandError: it could not be stopped.
    """
    await _systemctl("stop", container_unit(machine))


async def _systemctl(*arguments: str) -> str:
    try:
        process = await asyncio.create_subprocess_exec(
            *("systemctl", *arguments), stdin=DEVNULL, stdout=PIPE, stderr=PIPE
        )
        try:
            async with asyncio.timeout(STOP_SECONDS):
                out, err = await process.communicate()
        finally:
            await _end(process)
    except (OSError, TimeoutError) as error:
        raise CommandError(
            Exit.FAILED, f"systemctl {' '.join(arguments)} failed: {error or 'it took too long'}."
        ) from error
    if process.returncode:
        said = " ".join(err.decode(errors="replace").split())
        raise CommandError(Exit.FAILED, f"systemctl {' '.join(arguments)} failed: {said}")
    return out.decode().strip()
