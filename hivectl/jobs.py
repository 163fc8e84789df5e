"""Commands that start jobs: their options, the wait for the ends, and the results.

The bus is imported only when a command runs; see `hivectl.session`.
"""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import click

from hivectl.arguments.types import seconds
from hivectl.exit_codes import CommandError, Exit
from hivectl.output.terminal import Output

if TYPE_CHECKING:
    from hivectl.clients.hive import Hive
    from hivectl.clients.jobs import EndedJobs
    from hivectl.output.json_forms import Json
    from wire.clients.lifecycle import AgentClient
    from wire.records.lifecycle import JobRemoved

Callback = TypeVar("Callback", bound=Callable[..., object])

JOB_SECONDS: Final = 120

PATTERNS: Final = "NAME may be a pattern such as 'b*'; the agents are handled at the same time."
"""The sentence about the names of commands that take several."""


def job_options(command: Callback, default: float = JOB_SECONDS) -> Callback:
    """Add the options of every command that starts a job; `default` is the timeout in seconds."""
    command = click.option(
        "--timeout",
        type=seconds,
        default=default,
        show_default=True,
        metavar="SECONDS",
        help="Stop waiting after SECONDS; the job continues.",
    )(command)
    return click.option(
        "--no-wait", is_flag=True, help="Print the job's ID and return; do not wait for its end."
    )(command)


async def job_done(
    ended: "EndedJobs", path: str, announce: Callable[[], None], timeout: float
) -> "JobRemoved":
    """Wait for the end of a job, and return it; see `EndedJobs.end_of` for `announce`.

    Raises:
        CommandError: the job failed or was cancelled.
    """
    job = await ended.end_of(path, announce, timeout)
    if job.result != "done":
        # The note of a failed build continues with the end of its log.
        sentence, _, details = job.note.partition("\n")
        raise CommandError(
            Exit.FAILED, f"{job.verb} of {job.agent} {job.result}: {sentence}", details
        )
    return job


async def follow(
    hive: "Hive",
    output: Output,
    start: Callable[[], Awaitable[str]],
    doing: str,
    *,
    no_wait: bool,
    timeout: float,
) -> None:
    """Start a job, wait for its end unless `no_wait`, and print its result.

    Args:
        start: starts the job and returns its path.
        doing: the sentence that is shown before the lines of the job, or when it takes long.
        timeout: how long to wait, in seconds.

    Raises:
        CommandError: the job failed or was cancelled.
    """
    if no_wait:
        path = await start()
        number = int(path.rpartition("/")[2])
        output.done({"job": number, "path": path}, [f"job {number} accepted"])
        return
    async with hive.jobs.watch(output.job_lines) as ended:
        path = await start()
        job = await job_done(ended, path, lambda: output.progress(f"{doing} …"), timeout)
    output.done(_value(job), _lines(job, output))


async def follow_each(
    hive: "Hive",
    output: Output,
    patterns: Sequence[str],
    start: Callable[["AgentClient"], Awaitable[str]],
    doing: str,
    *,
    no_wait: bool,
    timeout: float,
) -> None:
    """Start a job for each of several agents, wait for all ends, and print the results.

    Args:
        patterns: the names of the agents, or patterns of names.
        start: starts the job of an agent and returns its path.
        doing: the word for the job, such as `starting`.
        timeout: how long to wait for each job, in seconds.

    Raises:
        CommandError: a job could not be started, failed or was cancelled. The others went on.
    """
    if len(patterns) == 1 and patterns[0].isascii() and not set(patterns[0]) & set("*?["):
        name = patterns[0]
        await follow(
            *(hive, output, lambda: hive.agents.call(name, start), f"{doing} {name}"),
            no_wait=no_wait,
            timeout=timeout,
        )
        return
    names = [agent.name for agent in await hive.agents.select(patterns)]
    each = _Each(hive, output, start, doing, timeout=timeout)
    results = await asyncio.gather(
        *(each.started(name) if no_wait else each.ended(name) for name in names)
    )
    output.done([result.value for result in results], [one for r in results for one in r.lines])
    failed = [name for name, result in zip(names, results, strict=True) if result.error]
    for result in results:
        if result.error and len(failed) > 1:
            output.explain([str(result.error)], always=True)
    if len(failed) == 1:
        raise next(result.error for result in results if result.error)
    if failed:
        raise CommandError(Exit.FAILED, f"{len(failed)} of {len(names)} agents: {doing} failed.")


class _Result(NamedTuple):
    """The result of one job of several."""

    value: "Json"
    lines: list[str]
    error: Exception | None = None


class _Each:
    """Jobs of several agents."""

    def __init__(
        self,
        hive: "Hive",
        output: Output,
        start: Callable[["AgentClient"], Awaitable[str]],
        doing: str,
        *,
        timeout: float,
    ) -> None:
        self._hive = hive
        self._output = output
        self._start = start
        self._doing = doing
        self._timeout = timeout

    async def started(self, name: str) -> _Result:
        """Start a job."""
        from wire.errors import HiveError

        try:
            path = await self._hive.agents.call(name, self._start)
        except HiveError as error:
            return _failure(name, error)
        number = int(path.rpartition("/")[2])
        return _Result(
            {"agent": name, "job": number, "path": path}, [f"{name}: job {number} accepted"]
        )

    async def ended(self, name: str) -> _Result:
        """Start a job, and wait for its end."""
        from wire.errors import HiveError

        doing = f"{self._doing} {name} …"
        try:
            async with self._hive.jobs.watch(self._output.job_lines) as ended:
                path = await self._hive.agents.call(name, self._start)
                announce = functools.partial(self._output.progress, doing)
                job = await job_done(ended, path, announce, self._timeout)
        except (HiveError, CommandError) as error:
            return _failure(name, error)
        return _Result(_value(job), _lines(job, self._output))


def _failure(name: str, error: Exception) -> _Result:
    return _Result({"agent": name, "error": str(error)}, [], error)


def _value(job: "JobRemoved") -> "dict[str, Json]":
    """Return the JSON form of a job that has ended."""
    return {
        "job": job.id,
        "agent": job.agent,
        "verb": job.verb,
        "result": job.result,
        "changes": _changes(job),
    }


def _lines(job: "JobRemoved", output: Output) -> list[str]:
    changes = [output.paint(f"  {change}", "") for change in _changes(job)]
    return [f"{job.agent}: {job.verb} {job.result}", *changes]


def _changes(job: "JobRemoved") -> list[str]:
    return job.note.split("; ") if job.note else []
