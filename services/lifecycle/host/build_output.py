"""The output of a unit while it runs, from the host's journal."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

from wire.text.escaping import prose

log = logging.getLogger(__name__)

Tell = Callable[[list[str]], None]
"""Is called with further lines of an output, oldest first."""

PATIENCE: Final = 1.0
"""Seconds. Most builds end earlier, and need no journalctl."""
PACE: Final = 0.25
"""The seconds between two readings: each becomes one signal."""
MAX_LINE: Final = 500
"""The most characters of one line; the rest is cut off."""
_CHUNK: Final = 2**16


@contextlib.asynccontextmanager
async def followed(unit: str, tell: Tell) -> AsyncIterator[None]:
    """Call `tell` with what the processes of `unit` write to the journal, within the context."""
    task = asyncio.create_task(_follow(unit, time.time(), tell), name=f"follow-{unit}")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait((task,))


async def _follow(unit: str, since: float, tell: Tell) -> None:
    # Most builds have ended by then, and this task with them.
    await asyncio.sleep(PATIENCE)
    try:
        await read_lines(command(unit, since), tell)
    except OSError as error:
        log.warning("cannot follow the output of %s: %s", unit, error)


def command(unit: str, since: float) -> list[str]:
    """Return the command that prints the messages of a unit's processes, and goes on with new ones.

    journald itself adds the field that is matched: nobody can forge it.
    """
    return [
        *("journalctl", "--quiet", "--follow", "--no-tail", "--output=cat", "--system"),
        *(f"--since=@{since:.0f}", f"_SYSTEMD_UNIT={unit}"),
    ]


async def read_lines(arguments: Sequence[str], tell: Tell) -> None:
    """Call `tell` with the lines that a program prints; end the program when cancelled."""
    program = await asyncio.create_subprocess_exec(
        *arguments, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
    )
    stdout = program.stdout
    begun = b""
    try:
        while stdout and (chunk := await stdout.read(_CHUNK)):
            *lines, begun = (begun + chunk).split(b"\n")
            if lines:
                tell([_shown(line) for line in lines])
            begun = begun[:_CHUNK]
            # What is printed meanwhile becomes one signal, not one for each line.
            await asyncio.sleep(PACE)
    finally:
        with contextlib.suppress(ProcessLookupError):
            program.kill()
        await program.wait()


def _shown(line: bytes) -> str:
    return prose(line.decode(errors="replace")[:MAX_LINE], one_line=True)
