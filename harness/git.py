"""git, as the harness runs it between turns: no hook of a repository runs, and no git hangs."""

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

TIMEOUT: Final = 120.0
"""Seconds that a git command may take by default."""

_SETTINGS: Final = ("core.hooksPath=/dev/null", "core.fsmonitor=false", "gc.auto=0")
_CONFIGURED: Final = tuple(word for setting in _SETTINGS for word in ("-c", setting))
_VARIABLES: Final = {"GIT_TERMINAL_PROMPT": "0", "GIT_EDITOR": "false", "LC_ALL": "C.UTF-8"}
_MESSAGE: Final = 500
"""Characters of the message of a git that failed."""


class GitError(Exception):
    """git failed; the text is its message, on one line."""


class Ended(NamedTuple):
    """The end of a git command."""

    status: int
    output: str
    message: str
    """The errors that it printed, on one line."""


async def git(*arguments: str, fails: Sequence[int] = (), seconds: float = TIMEOUT) -> str:
    """Run git; return its output, or an empty string for an exit status in `fails`.

    Raises:
        GitError: git ended with another status, or took longer than `seconds`.
    """
    ended = await run(*arguments, seconds=seconds)
    if ended.status in fails:
        return ""
    if ended.status:
        raise GitError(ended.message or "git failed")
    return ended.output


async def run(
    *arguments: str, seconds: float = TIMEOUT, variables: Mapping[str, str] | None = None
) -> Ended:
    """Run git; return how it ended. The programs that git has started end with it.

    Args:
        arguments: the command and its options.
        seconds: the time limit, at which git is killed.
        variables: variables that git gets in addition.

    Raises:
        GitError: git took longer than `seconds`, or cannot be started.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            "git",
            *_CONFIGURED,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, **_VARIABLES, **(variables or {})},
            start_new_session=True,
        )
    except OSError as error:
        raise GitError(f"git cannot be started: {error.strerror}") from None
    except ValueError as error:  # a NUL, or half a surrogate pair, in an argument
        raise GitError(f"git cannot be started: {error}") from None
    try:
        async with asyncio.timeout(seconds):
            out, err = await process.communicate()
    except TimeoutError:
        raise GitError(f"git {_verb(arguments)} took longer than {seconds:g} s") from None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # git may have ended before its programs
        await process.wait()
    message = " ".join(err.decode(errors="replace").split())[:_MESSAGE]
    return Ended(process.returncode or 0, out.decode(errors="replace"), message)


def _verb(arguments: Sequence[str]) -> str:
    """Return the command of git among its arguments: the first that belongs to no option."""
    before = ("", *arguments)
    words = (
        word
        for option, word in zip(before, arguments, strict=False)
        if option not in ("-C", "-c") and not word.startswith("-")
    )
    return next(words, "")
