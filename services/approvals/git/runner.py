"""git, run so that no repository can make it do anything but what it was asked for.

It sees no configuration but ours (`gitconfig`) and none of our environment; it has limits on
memory, processor, file size and time; and it is ended with all that it started.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from wire.errors import Timeout, Unavailable

SECONDS: Final = 20.0
"""How long git may take unless told otherwise."""
OUTPUT: Final = 2**20
"""Bytes it may print unless told otherwise."""

_WORDS: Final = 300
"""Characters of its complaint that are kept."""
_GRACE: Final = 2.0
"""Seconds between the request to end, at which git removes its lock files, and the kill."""
_CHUNK: Final = 2**16

_LIMITS: Final = (
    "prlimit",
    f"--as={512 * 2**20}",
    f"--fsize={256 * 2**20}",
    "--cpu=20",
    "--core=0",
    "--nofile=1024",
)


class GitFailed(Unavailable):
    """git ended with an error; the text is its last complaint, one printable line."""


class Ended(NamedTuple):
    """How a git command ended. `cut`: it was ended because it printed more than it may."""

    status: int
    output: bytes
    words: str
    cut: bool


async def git(
    repository: Path,
    *arguments: str,
    stdin: bytes = b"",
    seconds: float = SECONDS,
    limit: int = OUTPUT,
) -> bytes:
    """What `git ARGUMENTS` prints, in the repository whose git directory is `repository`.

    Raises GitFailed when it fails or prints more than `limit` bytes, Timeout when it takes
    longer than `seconds`.
    """
    ended = await run(repository, *arguments, stdin=stdin, seconds=seconds, limit=limit)
    if ended.cut:
        raise GitFailed(f"git {_verb(arguments)} prints more than {limit} bytes")
    if ended.status:
        raise GitFailed(ended.words or f"git {_verb(arguments)} ended with {ended.status}")
    return ended.output


async def resolve(repository: Path, name: str) -> str | None:
    """The commit that `name` is; None when there is none. Raises GitFailed, Timeout."""
    ended = await run(
        repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"
    )
    if ended.status not in (0, 1):
        raise GitFailed(ended.words)
    return None if ended.status else ended.output.decode().strip()


async def run(
    repository: Path,
    *arguments: str,
    stdin: bytes = b"",
    seconds: float = SECONDS,
    limit: int = OUTPUT,
) -> Ended:
    """As `git`, but answers with which status it ended, and whether it was cut.

    Cancelled, it leaves no process behind. Raises GitFailed when it cannot be started or a signal
    ends it, Timeout.
    """
    process = await _started(repository, arguments)
    over = False
    try:
        async with asyncio.timeout(seconds):
            ended = await communicate(process, stdin, limit)
        over = not ended.cut
    except TimeoutError:
        raise Timeout(
            f"git {_verb(arguments)} on {repository.name} did not end within {seconds:g} s."
        ) from None
    finally:
        if not over:
            await _end(process)
    if ended.status < 0:
        raise GitFailed(f"git {_verb(arguments)} was ended by {_name(-ended.status)}")
    return ended


async def _started(repository: Path, arguments: Sequence[str]) -> asyncio.subprocess.Process:
    try:
        return await asyncio.create_subprocess_exec(
            *_LIMITS,
            "git",
            f"--git-dir={repository}",
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd="/",
            env=_environment(),
            # Others read what we keep: the manager in its container, the builds.
            umask=0o022,
            # A group of its own, by which it is ended with its children.
            start_new_session=True,
        )
    except OSError as error:
        raise GitFailed(f"git cannot be started: {error.strerror}") from error


async def communicate(process: asyncio.subprocess.Process, stdin: bytes, limit: int) -> Ended:
    """Feed `stdin` to a git, and return how it ended; stop at more than `limit` bytes of output."""
    complaints = asyncio.create_task(_tail(process.stderr))
    feeding = asyncio.create_task(_feed(process.stdin, stdin))
    try:
        output = await _head(process.stdout, limit + 1)
        if len(output) > limit:
            return Ended(0, output[:limit], "", cut=True)
        words = await complaints
        await feeding
        return Ended(await process.wait(), output, _last_line(words), cut=False)
    finally:
        for task in (complaints, feeding):
            task.cancel()
        await asyncio.gather(complaints, feeding, return_exceptions=True)


async def _feed(stream: asyncio.StreamWriter | None, data: bytes) -> None:
    if stream is None:
        return
    # It may end without reading all of it, and says why elsewhere.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        stream.write(data)
        await stream.drain()
    stream.close()


async def _head(stream: asyncio.StreamReader | None, size: int) -> bytes:
    """The first `size` bytes, or all when there are less."""
    data = bytearray()
    while stream and (chunk := await stream.read(min(_CHUNK, size - len(data)))):
        data += chunk
    return bytes(data)


async def _tail(stream: asyncio.StreamReader | None) -> bytes:
    """The end of what is printed, read to the end so that the printer does not wait."""
    data = b""
    while stream and (chunk := await stream.read(_CHUNK)):
        data = (data + chunk)[-_CHUNK:]
    return data


async def _end(process: asyncio.subprocess.Process) -> None:
    """See that git and its children are gone, also when our own task is cancelled meanwhile.

    git itself may be gone already, and a child still hold its pipes.
    """
    ending = asyncio.create_task(_kill(process))
    try:
        await asyncio.shield(ending)
    except asyncio.CancelledError:
        await asyncio.wait((ending,))
        raise


async def _kill(process: asyncio.subprocess.Process) -> None:
    _signal(process.pid, signal.SIGTERM)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_GRACE):
            await _gone(process)
    _signal(process.pid, signal.SIGKILL)
    await _gone(process)


async def _gone(process: asyncio.subprocess.Process) -> None:
    """Wait for its end. asyncio hears of that only when its pipes are read to the end."""
    await asyncio.gather(_tail(process.stdout), _tail(process.stderr))
    await process.wait()


def _signal(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)


def _environment() -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": "/nonexistent",
        "LC_ALL": "C.UTF-8",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": str(Path(__file__).with_name("gitconfig")),
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_PAGER": "cat",
        "GIT_EDITOR": "false",
        # Later versions may choose others for what they make.
        "GIT_DEFAULT_HASH": "sha1",
        "GIT_DEFAULT_REF_FORMAT": "files",
    }


def _name(number: int) -> str:
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


def _verb(arguments: Sequence[str]) -> str:
    return next((a for a in arguments if not a.startswith("-") and "=" not in a), "")


def _last_line(data: bytes) -> str:
    """What git complains of. It may quote what a stranger wrote: no control characters."""
    lines = [line for line in data.decode(errors="replace").splitlines() if line.strip()]
    told = [line for line in lines if line.startswith(("fatal: ", "error: "))] or lines[-1:]
    words = told[0].removeprefix("fatal: ").removeprefix("error: ") if told else ""
    return "".join(c if c.isprintable() else "?" for c in words.strip())[:_WORDS]
