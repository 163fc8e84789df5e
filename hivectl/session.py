"""From a click command to a coroutine with a connected hive.

The bus is imported only when a command runs, so that `--help` and the completion of options stay
quick.
"""

import asyncio
import functools
import signal
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

import click

from hivectl.arguments.types import seconds
from hivectl.exit_codes import CommandError, Exit
from hivectl.output.terminal import Output

if TYPE_CHECKING:
    from hivectl.clients.hive import Hive
    from hivectl.clients.jobs import EndedJobs
    from wire.records.lifecycle import JobRemoved

P = ParamSpec("P")
Callback = TypeVar("Callback", bound=Callable[..., object])

JOB_SECONDS = 120


def hive_command(
    body: Callable[Concatenate["Hive", Output, P], Coroutine[None, None, None]],
) -> Callable[P, None]:
    """Make a click callback of a coroutine that takes a connected hive and an output.

    The command also gets the option `--json`.
    """

    @functools.wraps(body)
    def command(*args: P.args, **kwargs: P.kwargs) -> None:
        output = Output(as_json=bool(kwargs.pop("as_json")))

        async def run() -> None:
            from hivectl.clients.hive import Hive

            # The loop's own handler wakes the loop; that of asyncio.run is not called before the
            # next event if Ctrl-C comes just before the loop begins to wait.
            if task := asyncio.current_task():
                asyncio.get_running_loop().add_signal_handler(signal.SIGINT, task.cancel)
            async with Hive.connect() as hive:
                await body(hive, output, *args, **kwargs)

        try:
            asyncio.run(run())
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None

    return json_option(command)


def json_option(command: Callback, printed: str = "JSON") -> Callback:
    """Add the option `--json`; `printed` is what it prints."""
    option = click.option("--json", "as_json", is_flag=True, help=f"Print {printed}, for programs.")
    return option(command)


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
    ended: "EndedJobs", path: str, slow: Callable[[], None], timeout: float
) -> "JobRemoved":
    """Wait for the end of a job, and return it; `slow` is called if it takes long.

    Raises:
        CommandError: the job failed or was cancelled.
    """
    job = await ended.end_of(path, slow, timeout)
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
        doing: the sentence that is shown when the job takes long.
        timeout: how long to wait, in seconds.

    Raises:
        CommandError: the job failed or was cancelled.
    """
    if no_wait:
        path = await start()
        number = int(path.rpartition("/")[2])
        output.show({"job": number, "path": path}, [f"job {number} accepted"])
        return
    async with hive.jobs.watch() as ended:
        path = await start()
        job = await job_done(ended, path, lambda: output.progress(f"{doing} …"), timeout)
    changes = job.note.split("; ") if job.note else []
    output.show(
        {
            "job": job.id,
            "agent": job.agent,
            "verb": job.verb,
            "result": job.result,
            "changes": changes,
        },
        [
            f"{job.agent}: {job.verb} {job.result}",
            *(output.paint(f"  {change}", "") for change in changes),
        ],
    )
