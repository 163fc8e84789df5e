"""git, run so that a repository cannot make it do anything but the given command.

git reads only our configuration (`gitconfig`) and gets none of our environment. It has limits on
memory, processor time, file size and time, and is ended together with all its children.
"""

import asyncio
import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from services.quarantine.confinement import Confinement
from wire.errors import Timeout, Unavailable
from wire.text.escaping import prose

SECONDS: Final = 20.0
"""Seconds that git may take by default."""
OUTPUT: Final = 2**20
"""Bytes that git may print by default."""

_MESSAGE: Final = 300
"""Characters of git's error message that are kept."""
_GRACE: Final = 2.0
"""Seconds between SIGTERM, at which git removes its lock files, and SIGKILL."""
_CHUNK: Final = 2**16

_LINE: Final = re.compile(rb"[\r\n]")
_LONGEST_LINE: Final = 500


class Limits(NamedTuple):
    """The limits of git and of each program that it starts."""

    memory: int
    """Bytes of address space."""
    file: int
    """Bytes of the largest file that git may write."""
    processor: int
    """Seconds of processor time."""

    def command(self) -> tuple[str, ...]:
        """Return the beginning of a command line that sets these limits."""
        sizes = f"--as={self.memory}", f"--fsize={self.file}", f"--cpu={self.processor}"
        return ("prlimit", *sizes, "--core=0", "--nofile=1024")


HOSTILE: Final = Limits(memory=512 * 2**20, file=256 * 2**20, processor=20)
"""The limits of a git that reads what a hostile agent has written."""


class Conditions(NamedTuple):
    """The conditions under which git runs, besides those that hold for each git."""

    limits: Limits = HOSTILE
    environment: Mapping[str, str] = {}
    """Variables that git gets in addition, or in place of ours."""
    confined: bool = True
    """Whether the confinement of the service holds for it; see `confine`."""


class GitFailed(Unavailable):
    """git failed; the text is its error message, one printable line."""


class Ended(NamedTuple):
    """The end of a git command."""

    status: int
    output: bytes
    message: str
    """The error message: one printable line, or empty."""
    cut: bool
    """Whether git was ended because it printed more than the limit."""
    complaints: str = ""
    """The end of all that git printed as errors, with line breaks; untrusted text."""


_confinement: Confinement | None = None


def confine(confinement: Confinement | None) -> None:
    """Confine each git that this process starts from now on, unless its conditions say otherwise.

    None: none is confined, as in a service that has neither a network nor a secret. The confinement
    before is closed.
    """
    global _confinement
    if _confinement is not None:
        _confinement.close()
    _confinement = confinement


async def git(
    repository: Path,
    *arguments: str,
    stdin: bytes = b"",
    seconds: float = SECONDS,
    limit: int = OUTPUT,
    conditions: Conditions | None = None,
) -> bytes:
    """Run `git ARGUMENTS` and return its output.

    Args:
        repository: the git directory.
        arguments: the command and its options.
        stdin: the input of git.
        seconds: the time limit.
        limit: the most bytes of output.
        conditions: None: those of a git that reads what a hostile agent has written.

    Raises:
        GitFailed: git failed, or printed more than `limit` bytes.
        Timeout: git took longer than `seconds`.
    """
    ended = await run(
        repository,
        *arguments,
        stdin=stdin,
        seconds=seconds,
        limit=limit,
        conditions=conditions,
    )
    if ended.cut:
        raise GitFailed(f"git {_verb(arguments)} prints more than {limit} bytes")
    if ended.status:
        raise GitFailed(
            ended.message or f"git {_verb(arguments)} exited with status {ended.status}"
        )
    return ended.output


async def resolve(repository: Path, name: str) -> str | None:
    """Return the commit that `name` points to; None: there is none.

    Raises GitFailed and Timeout.
    """
    ended = await run(
        repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"
    )
    if ended.status not in (0, 1):
        raise GitFailed(ended.message)
    return None if ended.status else ended.output.decode().strip()


async def run(
    repository: Path,
    *arguments: str,
    stdin: bytes = b"",
    seconds: float = SECONDS,
    limit: int = OUTPUT,
    conditions: Conditions | None = None,
    heard: Callable[[str], None] | None = None,
) -> Ended:
    """Run `git ARGUMENTS` as `git` does, and return its status, too.

    When cancelled, it leaves no process behind.

    Args:
        repository, arguments, stdin, seconds, limit, conditions: as for `git`.
        heard: called with each line that git prints as an error or as its progress; untrusted text.

    Raises:
        GitFailed: git could not be started, or a signal ended it.
        Timeout: git took longer than `seconds`.
    """
    process = await _started(repository, arguments, conditions or Conditions())
    over = False
    try:
        async with asyncio.timeout(seconds):
            ended = await communicate(process, stdin, limit, heard)
        over = not ended.cut
    except TimeoutError:
        raise Timeout(
            f"git {_verb(arguments)} on {repository.name} did not end within {seconds:g} s."
        ) from None
    finally:
        if not over:
            await _end(process)
    if ended.status < 0:
        raise GitFailed(f"git {_verb(arguments)} was killed by {_name(-ended.status)}")
    return ended


async def _started(
    repository: Path, arguments: Sequence[str], conditions: Conditions
) -> asyncio.subprocess.Process:
    """Start git, and end it again when cancelled meanwhile.

    asyncio itself would kill git alone, and wait for the children that hold its pipes.
    """
    starting = asyncio.create_task(_start(repository, arguments, conditions))
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        await _to_the_end(_abandon(starting))
        raise


async def _start(
    repository: Path, arguments: Sequence[str], conditions: Conditions
) -> asyncio.subprocess.Process:
    try:
        return await asyncio.create_subprocess_exec(
            *conditions.limits.command(),
            "git",
            f"--git-dir={repository}",
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd="/",
            env={**_environment(), **conditions.environment},
            # Other users read the repositories: the manager in its container, and builds.
            umask=0o022,
            # A process group of its own, to end git with its children.
            start_new_session=True,
            preexec_fn=_confinement.enter if _confinement and conditions.confined else None,
        )
    except OSError as error:
        raise GitFailed(f"git cannot be started: {error.strerror}") from error
    except subprocess.SubprocessError as error:
        raise GitFailed("git cannot be started: it could not be confined") from error


async def communicate(
    process: asyncio.subprocess.Process,
    stdin: bytes,
    limit: int,
    heard: Callable[[str], None] | None = None,
) -> Ended:
    """Feed `stdin` to a git, and return how it ended; stop at more than `limit` bytes of output."""
    complaints = asyncio.create_task(_tail(process.stderr, heard))
    feeding = asyncio.create_task(_feed(process.stdin, stdin))
    try:
        output = await _head(process.stdout, limit + 1)
        if len(output) > limit:
            return Ended(0, output[:limit], "", cut=True)
        message = await complaints
        await feeding
        said = message.decode(errors="replace")
        return Ended(await process.wait(), output, _message(message), cut=False, complaints=said)
    finally:
        for task in (complaints, feeding):
            task.cancel()
        await asyncio.gather(complaints, feeding, return_exceptions=True)


async def _feed(stream: asyncio.StreamWriter | None, data: bytes) -> None:
    if stream is None:
        return
    # git may end without reading all of its input; its message says why.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        stream.write(data)
        await stream.drain()
    stream.close()


async def _head(stream: asyncio.StreamReader | None, size: int) -> bytes:
    """Return the first `size` bytes, or all if there are fewer."""
    data = bytearray()
    while stream and (chunk := await stream.read(min(_CHUNK, size - len(data)))):
        data += chunk
    return bytes(data)


async def _tail(
    stream: asyncio.StreamReader | None, heard: Callable[[str], None] | None = None
) -> bytes:
    """Read to the end, so that the writer does not block; return the last bytes.

    Each line goes to `heard` when it is complete. git ends a line of progress with CR.
    """
    data, begun = b"", b""
    while stream and (chunk := await stream.read(_CHUNK)):
        data = (data + chunk)[-_CHUNK:]
        if heard:
            *lines, begun = _LINE.split(begun + chunk)
            begun = begun[:_LONGEST_LINE]
            for line in filter(None, lines):
                heard(line[:_LONGEST_LINE].decode(errors="replace"))
    return data


async def _end(process: asyncio.subprocess.Process) -> None:
    """End git and its children, also when our own task is cancelled meanwhile.

    git itself may be gone already while a child still holds its pipes.
    """
    await _to_the_end(_kill(process))


async def _abandon(starting: "asyncio.Task[asyncio.subprocess.Process]") -> None:
    with contextlib.suppress(GitFailed):
        await _kill(await starting)


async def _to_the_end(work: Coroutine[None, None, None]) -> None:
    """Do `work`, also when our own task is cancelled meanwhile."""
    ending = asyncio.create_task(work)
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
    """Wait for the end of git. asyncio learns of it only when the pipes are read to the end."""
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
        # Later versions may have other defaults for new repositories.
        "GIT_DEFAULT_HASH": "sha1",
        "GIT_DEFAULT_REF_FORMAT": "files",
    }


def _name(number: int) -> str:
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


def _verb(arguments: Sequence[str]) -> str:
    return next((a for a in arguments if not a.startswith("-") and "=" not in a), "")


def _message(data: bytes) -> str:
    """Return git's error message. It may quote a stranger's text, which is escaped."""
    lines = [line for line in data.decode(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("fatal: ", "error: "))] or lines[-1:]
    first = errors[0].removeprefix("fatal: ").removeprefix("error: ") if errors else ""
    return prose(first.strip(), one_line=True)[:_MESSAGE]
