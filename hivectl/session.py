"""From a click command to a coroutine with a connected hive.

Nothing here imports the bus before a command really runs, so that `--help` and shell
completion of options stay quick.
"""

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

import click

from hivectl.arguments.types import Seconds
from hivectl.exit_codes import CommandError, Exit
from hivectl.output.terminal import Output

if TYPE_CHECKING:
    from hivectl.clients.hive import Hive

P = ParamSpec("P")

JOB_SECONDS = 120


def hive_command(
    body: Callable[Concatenate["Hive", Output, P], Coroutine[Any, Any, None]],
) -> Callable[P, None]:
    """Make a click callback of a coroutine that wants a connected hive and an output.

    Adds `--json` to the command.
    """

    @functools.wraps(body)
    def command(*args: P.args, **kwargs: P.kwargs) -> None:
        output = Output(as_json=bool(kwargs.pop("as_json")))

        async def run() -> None:
            from hivectl.clients.hive import Hive

            async with Hive.connect() as hive:
                await body(hive, output, *args, **kwargs)

        asyncio.run(run())

    option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
    return option(command)


def job_options(command: Callable[..., Any], seconds: float = JOB_SECONDS) -> Callable[..., Any]:
    """Add the options of every command that starts a job; it is waited for `seconds`."""
    command = click.option(
        "--timeout",
        type=Seconds(),
        default=seconds,
        show_default=True,
        metavar="SECONDS",
        help="How long to wait for the job.",
    )(command)
    return click.option("--no-wait", is_flag=True, help="Return as soon as the job is accepted.")(
        command
    )


async def follow(
    hive: "Hive",
    output: Output,
    order: Callable[[], Coroutine[Any, Any, str]],
    doing: str,
    *,
    no_wait: bool,
    timeout: float,
) -> None:
    """Give the order, wait for its job unless `no_wait`, and print how it ended.

    `doing` is the progress sentence. Raises CommandError when the job did not end well.
    """
    if no_wait:
        path = await order()
        number = int(path.rpartition("/")[2])
        output.show({"job": number, "path": path}, [f"job {number} accepted"])
        return
    async with hive.lifecycle.jobs() as jobs:
        path = await order()
        job = await jobs.end_of(path, lambda: output.progress(f"{doing} …"), timeout)
    if job.result != "done":
        # A failed build's note goes on with the end of its log.
        sentence, _, details = job.note.partition("\n")
        raise CommandError(
            Exit.FAILED, f"{job.verb} of {job.agent} {job.result}: {sentence}", details
        )
    changes = job.note.split("; ") if job.note else []
    output.show(
        {
            "job": job.number,
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
